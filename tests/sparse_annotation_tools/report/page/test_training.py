"""What is read from a results folder, whole or not."""

from __future__ import annotations

import json
from pathlib import Path

from sparse_annotation_tools.report.page.training import read_training

NAME = "nnUNetTrainerRADA__nnUNetPlans__3d_fullres"


def test_settings_and_the_curves_of_every_fold_are_read(tmp_path: Path) -> None:
    """The effective settings come from plans.json, curves from each fold; curves without any value are left out."""
    folder = tmp_path / NAME
    for fold in ("fold_0", "fold_all"):
        (folder / fold).mkdir(parents=True)
        (folder / fold / "curves.json").write_text(json.dumps({"beta": [0.1, None], "alpha": [None, None]}))
    section = {"config": {"seed": 3}, "encoder": "alpha-clip-tiny"}
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {"rada": section}}}))
    training = read_training(folder, "3d_fullres")
    assert training is not None
    assert training.trainer == "nnUNetTrainerRADA"
    assert training.config == {"seed": 3}
    assert training.encoder == "alpha-clip-tiny"
    assert training.folds == {"0": {"beta": [0.1, None]}, "all": {"beta": [0.1, None]}}


def test_a_training_that_has_just_begun_has_no_curves(tmp_path: Path) -> None:
    """A folder without plans, or with a broken file of curves, is no error."""
    assert read_training(tmp_path / NAME, "3d_fullres") is None
    (tmp_path / NAME / "fold_0").mkdir(parents=True)
    (tmp_path / NAME / "fold_0" / "curves.json").write_text("{")
    training = read_training(tmp_path / NAME, "3d_fullres")
    assert training is not None
    assert training.folds == {}
    assert training.config == {}
    assert training.encoder is None
