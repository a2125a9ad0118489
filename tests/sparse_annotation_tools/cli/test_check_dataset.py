"""Tests of the command `rada-check-dataset`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.cli.check_dataset import main
from sparse_annotation_tools.prompts import embed_dataset
from sparse_annotation_tools.prompts.options import EmbeddingOptions


@pytest.fixture
def folder(phantoms: Path, request_for: Any, make_quickly: Callable[..., Any]) -> Path:
    """A sound dataset with random embeddings."""
    request = request_for(phantoms)
    make_quickly(request, embed=lambda folder: embed_dataset(folder, EmbeddingOptions(encoder="random", seed=0)))
    return Path(request.folder)


def test_a_dataset_that_can_be_trained_on_ends_with_status_0(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Warnings included; each finding is one line, and an entry of the JSON file."""
    assert main(["-d", "101", "-o", str(tmp_path / "findings.json"), "-np", "1"]) == 0
    printed, progress = capsys.readouterr()
    content = json.loads((tmp_path / "findings.json").read_text())
    assert content["dataset"] == folder.name
    lines = printed.splitlines()
    assert len(lines) == len(content["findings"]) + 3  # the file that is written, the counts, and what comes next
    for line, finding in zip(lines, content["findings"], strict=False):
        assert line.startswith(finding["level"])
        assert finding["text"] in line
        assert finding["mend"] in line
    assert content["counts"]["warning"] == 1
    assert lines[-2].startswith(f"{folder.name}: 0 error, 1 warning, ")
    assert lines[-1].startswith("next: nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres")
    assert "type: nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres" in printed
    assert "checking cases: " in progress


def test_a_planned_dataset_is_ready_to_train(
    folder: Path, nnunet_folders: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line says so, in the words to type."""
    plans = {"transpose_forward": [0, 1, 2], "configurations": {"3d_fullres": {"spacing": [3, 2, 2]}}}
    plans["configurations"]["3d_fullres"]["data_identifier"] = "nnUNetPlans_3d_fullres"
    stored = nnunet_folders.preprocessed / folder.name / "nnUNetPlans_3d_fullres"
    stored.mkdir(parents=True)
    stored.with_name("nnUNetPlans.json").write_text(json.dumps(plans))
    for image in (folder / "imagesTr").iterdir():
        (stored / image.name.replace("_0000.nii.gz", ".pkl")).touch()
    assert main(["-d", "101", "-np", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: nnUNetv2_train 101 3d_fullres all -tr nnUNetTrainerRADA"
    (folder / "rada" / "prompts.safetensors").unlink()  # as --encoder none leaves it
    assert main(["-d", "101", "-np", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: nnUNetv2_train 101 3d_fullres all -tr nnUNetTrainerStock")


def test_a_dataset_that_would_go_wrong_ends_with_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The file is written all the same."""
    prompts = folder / "rada" / "prompts.safetensors"
    prompts.write_bytes(prompts.read_bytes()[:-10])
    assert main(["-d", folder.name, "-o", str(tmp_path / "findings.json"), "-np", "1"]) == 2
    printed, errors = capsys.readouterr()
    assert printed.count("\nerror ") == 1
    assert errors.splitlines()[-1].startswith("rada-check-dataset: error: 1 of the lines above start with error")
    assert json.loads((tmp_path / "findings.json").read_text())["counts"]["error"] == 1


@pytest.mark.parametrize(
    ("variable", "arguments", "status", "message"),
    [
        ("nnUNet_preprocessed", ["-d", "101"], 0, "nnUNet_preprocessed is not set"),
        ("nnUNet_raw", ["-d", "101"], 2, "nnUNet_raw is not set"),
        (None, ["-d", "7"], 2, "no Dataset007_* in"),
        (None, ["-d", "101", "-np", "0"], 2, "-np is 0, expected 1 or more"),
    ],
)
def test_what_is_not_set_or_not_there_is_said(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str | None,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    """In one line; without nnUNet_preprocessed the rest is checked."""
    if variable:
        monkeypatch.delenv(variable)
    assert main(arguments) == status
    printed, errors = capsys.readouterr()
    assert message in printed + errors
