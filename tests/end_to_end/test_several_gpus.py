"""The trainer as one of several processes, with gloo in place of NCCL: nnU-Net's own launcher needs GPUs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from end_to_end.workspace import CONFIG, DATASET, MODEL, Workspace

from nnunetv2_rada.data.side_volumes import SIDE_FOLDER

RANK = Path(__file__).with_name("gloo_rank.py")
SHORT = {**CONFIG, "num_iterations": 2, "iterations_per_epoch": 1, "gradient_clip": None}


def run_ranks(workspace: Workspace, folder: Path, world_size: int) -> list[dict[str, Any]]:
    """Run all processes of a group, or the one that stands for both; return what each of them left."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SHORT))
    environment = workspace.environment(
        RADA_CONFIG=str(folder / "config.json"), nnUNet_results=str(folder / "results"), nnUNet_n_proc_DA="0"
    )
    rendezvous = f"file://{folder}/rendezvous"
    outputs = [folder / f"{rank}.pt" for rank in range(max(1, world_size))]
    processes = [
        subprocess.Popen(
            [sys.executable, str(RANK), str(rank), str(world_size), rendezvous, str(output)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank, output in enumerate(outputs)
    ]  # fmt: skip
    printed = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(printed)
    return [torch.load(output, weights_only=False) for output in outputs]


@pytest.mark.end_to_end
def test_two_processes_train_one_model(workspace: Workspace, tmp_path: Path) -> None:
    """They step along the mean gradient of both batches, see other samples, and prepare the data once."""
    (alone,) = run_ranks(workspace, tmp_path / "alone", 0)
    (side,) = (workspace.root / "preprocessed" / DATASET).glob(f"*/{SIDE_FOLDER}")
    shutil.rmtree(side)
    first, second = run_ranks(workspace, tmp_path / "both", 2)
    assert (len(first["made"]), second["made"]) == (2, [])
    for name, expected in alone["gradients"].items():
        assert any(gradient.abs().max() > 0 for gradient in expected)
        for rank in (first, second):
            for got, wanted in zip(rank["gradients"][name], expected, strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    assert len(first["cases"]) == len(second["cases"]) == 2 * (SHORT["batch_labelled"] + SHORT["batch_unlabelled"])
    assert not any(torch.equal(*images) for images in zip(first["images"], second["images"], strict=True))
    parameters = [name for name in first["weights"] if "running" not in name and "num_batches" not in name]
    for name in parameters:
        assert torch.equal(first["weights"][name], second["weights"][name]), name
    assert (tmp_path / "both" / "results" / MODEL / "fold_0" / "checkpoint_final.pth").is_file()
