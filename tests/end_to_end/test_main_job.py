"""The main job through the stock commands, each in its own process, on generated phantoms of two classes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end.workspace import CONFIG, DATASET, MODEL, Workspace, checkpoint

from sparse_annotation_tools.files.volumes import read_volume
from sparse_annotation_tools.phantom import CLASS_NAMES

pytestmark = pytest.mark.end_to_end


def test_training_shows_and_stores_what_it_did(workspace: Workspace, trained: str) -> None:
    """The config is printed once, the honesty stamp is in the log, curves and config are beside the weights."""
    assert trained.count("RADA config:") == 1
    assert trained.count("This split has") < 5  # nnU-Net says it whenever it is asked for the split
    assert "encoder=random: carries no semantics" in trained
    fold = workspace.results / MODEL / "fold_0"
    curves = json.loads((fold / "curves.json").read_text())
    for name in ("beta", "alpha", "trusted", "loss/sagittal", "sup/coronal", "peer/axial", "dice/axial", "data_wait"):
        assert len(curves[name]) == 2, name
    assert (fold / "curves.png").stat().st_size > 1000
    stored = json.loads((fold.parent / "plans.json").read_text())["configurations"]["3d_fullres"]
    assert stored["rada"]["config"]["base_filters"] == 4
    assert all(side % 16 == 0 for side in stored["patch_size"])
    assert checkpoint(workspace.results)["rada"]["encoder"].startswith("encoder=random")


def test_final_validation_covers_labelled_cases_only(workspace: Workspace, trained: str) -> None:
    """Unlabelled scans have no truth to validate on."""
    splits = json.loads((workspace.root / "preprocessed" / DATASET / "splits_final.json").read_text())
    validated = {path.name for path in (workspace.results / MODEL / "fold_0" / "validation").glob("*.nii.gz")}
    assert validated == {f"{case}.nii.gz" for case in splits[0]["val"]}
    assert len(splits) == 2
    assert all(len(split["train"]) == 3 for split in splits)


def test_a_killed_training_goes_on_to_the_same_weights(workspace: Workspace, trained: str) -> None:
    """SIGKILL in the middle of an epoch, then --c: every loss and every weight is what the undisturbed run got.

    While the first training is at work, a second one in its folder is refused.
    """
    results = workspace.root / "killed"
    results.mkdir()
    latest = results / MODEL / "fold_0" / "checkpoint_latest.pth"
    often = workspace.root / "often.json"
    often.write_text(json.dumps({**CONFIG, "checkpoint_minutes": 1e-4}))  # after every iteration
    variables = workspace.environment(nnUNet_results=str(results), RADA_CONFIG=str(often))
    command = ["nnUNetv2_train", "901", "3d_fullres", "0", "-tr", "nnUNetTrainerRADA", "-device", "cpu"]
    with open(workspace.root / "killed.log", "w") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 300
        while not latest.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGSTOP)
        second = workspace.train("--c", nnUNet_results=str(results), status=2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert latest.is_file(), (workspace.root / "killed.log").read_text()
    assert f"is being written by process {process.pid}" in second
    assert not (latest.parent / "checkpoint_final.pth").exists()
    left = torch.load(latest, weights_only=False)
    assert left["current_epoch"] == 0
    assert 1 <= len(left["rada_epoch_outputs"]) < CONFIG["iterations_per_epoch"]
    workspace.train("--c", nnUNet_results=str(results))
    undisturbed, resumed = checkpoint(workspace.results), checkpoint(results)
    assert undisturbed["logging"]["train_losses"] == resumed["logging"]["train_losses"]
    assert undisturbed["logging"]["rada/loss/axial"] == resumed["logging"]["rada/loss/axial"]
    for name, weight in undisturbed["network_weights"].items():
        assert torch.equal(weight, resumed["network_weights"][name]), name


def test_prediction_needs_images_and_weights_alone(workspace: Workspace, trained: str, tmp_path: Path) -> None:
    """Without raw and preprocessed data, without prompts and encoders, stock nnUNetv2_predict segments new scans."""
    scans, output = workspace.root / "scans" / "test", tmp_path / "predictions"
    workspace.predict(output, "-c", "3d_fullres", "-f", "0", "-tr", "nnUNetTrainerRADA")
    for truth in sorted((scans / "labels").glob("*.nii.gz")):
        predicted = read_volume(output / truth.name).array
        assert predicted.shape == read_volume(truth).array.shape
        assert set(np.unique(predicted)) <= {0, 1, 2}
    workspace.run(
        "rada-evaluate", "-gt", f"{scans}/labels", "-pred", str(output), "-o", str(tmp_path / "scores.json"),
        "--labels", *CLASS_NAMES[:2],
    )  # fmt: skip
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["embeddings"] == "encoder=random: carries no semantics"
    assert set(scores["mean"]) == set(CLASS_NAMES[:2])
    assert len(scores["cases"]) == 2


def test_other_settings_in_a_used_results_folder_are_refused(workspace: Workspace, trained: str) -> None:
    """Without --c, a folder of another config is left alone: one line, status 2; --val still works."""
    other = workspace.root / "other.json"
    other.write_text(json.dumps({**CONFIG, "base_filters": 8}))
    printed = workspace.train(status=2, RADA_CONFIG=str(other))
    assert re.search(r"nnUNetTrainerRADA: error: .*base_filters 4 there, 8 now.* give --c", printed)
    assert "Traceback" not in printed
    workspace.train("--val", RADA_CONFIG="")


def test_missing_embeddings_stop_training_with_the_command_to_type(workspace: Workspace) -> None:
    """One line names the file and rada-embed."""
    raw, results = workspace.root / "raw_without_prompts", workspace.root / "results_without_prompts"
    shutil.copytree(workspace.root / "raw", raw)
    shutil.copytree(workspace.root / "preprocessed", workspace.root / "preprocessed_without_prompts")
    for prompts in workspace.root.glob("*_without_prompts/*/rada/prompts.safetensors"):
        prompts.unlink()
    printed = workspace.train(
        status=2, nnUNet_raw=str(raw), nnUNet_preprocessed=str(workspace.root / "preprocessed_without_prompts"),
        nnUNet_results=str(results),
    )  # fmt: skip
    assert "run rada-embed -d 901 --encoder" in printed
    assert "Traceback" not in printed


def test_other_embeddings_in_a_used_results_folder_are_refused(workspace: Workspace, trained: str) -> None:
    """A dataset that was encoded anew does not continue an old run, with or without --c; --val still works."""
    raw = workspace.root / "raw_encoded_anew"
    shutil.copytree(workspace.root / "raw", raw)
    preprocessed = workspace.root / "preprocessed_encoded_anew"
    shutil.copytree(workspace.root / "preprocessed", preprocessed)
    anew = {"nnUNet_raw": str(raw), "nnUNet_preprocessed": str(preprocessed)}
    workspace.run("rada-embed", "-d", "901", **anew)
    for more in ((), ("--c",)):
        printed = workspace.train(*more, status=2, **anew)
        assert re.search(r"error: .* other embeddings \(encoder=random.* there, alpha-clip-tiny .* now\)", printed)
        assert "Traceback" not in printed
    workspace.train("--val", **anew)


def test_an_unknown_setting_stops_training(workspace: Workspace, tmp_path: Path) -> None:
    """The known settings are listed."""
    (tmp_path / "config.json").write_text('{"base_filter": 8}')
    printed = workspace.train(status=2, RADA_CONFIG=str(tmp_path / "config.json"))
    assert "unknown setting base_filter" in printed
    assert "base_filters" in printed
    assert "Traceback" not in printed
