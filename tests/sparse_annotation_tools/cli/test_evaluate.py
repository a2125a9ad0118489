"""`rada-evaluate` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.cli.evaluate import main


def _write(path: Path, array: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Truth and predictions of two cases and two values, with one prediction too many."""
    truth, prediction = np.zeros((2, 10, 11, 12), dtype=np.uint8)
    truth[3:7, 3:7, 3:7], truth[8, 8, 8] = 1, 2
    prediction[3:7, 3:7, 4:8] = 1
    for case in ("a", "b"):
        _write(tmp_path / "gt" / f"{case}.nii.gz", truth)
        _write(tmp_path / "pred" / f"{case}.nii.gz", prediction)
    _write(tmp_path / "pred" / "surplus.nii.gz", prediction)
    return tmp_path / "gt", tmp_path / "pred"


def test_it_prints_a_table_and_writes_the_file(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Every case and class is a line, with mean and sd; names come from --labels; extra predictions are mentioned."""
    truth, prediction = folders
    result = truth.parent / "new" / "result.json"
    arguments = ["-gt", str(truth), "-pred", str(prediction), "-o", str(result), "-np", "1"]
    assert main([*arguments, "--labels", "atrium", "aorta"]) == 0
    lines = capsys.readouterr().out.splitlines()
    starts = [tuple(line.split()[:3]) for line in lines]
    for expected in [("a", "atrium", "0.7500"), ("b", "aorta", "0.0000"), ("mean", "atrium", "0.7500")]:
        assert expected in starts
    assert any("aorta: 2 cases" in line and "2 with an empty prediction" in line for line in lines)
    assert any("surplus.nii.gz" in line for line in lines)
    assert lines[-1].startswith(f"next: to see them, rada-figure -i IMAGES -gt {truth} ")
    content = json.loads(result.read_text())
    assert content["mean"]["atrium"]["dice"] == 0.75
    assert content["empty_predictions"] == 2


def test_names_may_come_from_a_dataset_json(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """--labels takes a file as well as names."""
    truth, prediction = folders
    description = truth.parent / "elsewhere.json"
    description.write_text(json.dumps({"labels": {"background": 0, "left": 1, "right": 2}}))
    assert main(["-gt", str(truth), "-pred", str(prediction), "--labels", str(description)]) == 0
    assert "right: 2 cases" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_status_2(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file is named, in whichever process it is met, and no result file is left."""
    truth, prediction = folders
    _write(prediction / "b.nii.gz", np.zeros((10, 11, 13), dtype=np.uint8))
    result = truth.parent / "result.json"
    assert main(["-gt", str(truth), "-pred", str(prediction), "-o", str(result), "-np", "2"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"rada-evaluate: error: {prediction / 'b.nii.gz'} lies on another grid")
    assert not result.exists()


def test_random_embeddings_are_stamped_on_the_scores(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Networks that random embeddings guided are marked in table and file, from the plans.json that nnU-Net leaves."""
    truth, prediction = folders
    result = truth.parent / "result.json"
    arguments = ["-gt", str(truth), "-pred", str(prediction), "-o", str(result), "-np", "1", "--labels", "a", "b"]
    assert main(arguments) == 0
    assert "predicted with embeddings" not in capsys.readouterr().out
    assert json.loads(result.read_text())["embeddings"] is None
    stamp = "encoder=random: carries no semantics"
    section = {"configurations": {"2d": {}, "3d_fullres": {"rada": {"encoder": stamp}}}}
    (prediction / "plans.json").write_text(json.dumps(section))
    assert main(arguments) == 0
    assert f"predicted with embeddings: {stamp}" in capsys.readouterr().out
    assert json.loads(result.read_text())["embeddings"] == stamp
