"""nnU-Net's own commands in this process, and the plans and models that they start from."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from reliability.place import CASE, DATASET

TRAINER, CONFIGURATION = "nnUNetTrainerRADA", "3d_fullres"
MODEL = f"{DATASET}/{TRAINER}__nnUNetPlans__{CONFIGURATION}"
SETTINGS_FILE = "work/settings.json"
SETTINGS = {
    "num_iterations": 2, "iterations_per_epoch": 2, "val_iterations_per_epoch": 1, "base_filters": 4,
    "stochastic_passes": 2, "max_patch_voxels": 16**3, "batch_labelled": 1, "batch_unlabelled": 1,
}  # fmt: skip


def train(argv: Sequence[str]) -> int:
    """Run nnUNetv2_train."""
    from nnunetv2.run.run_training import run_training_entry

    return _run("nnUNetv2_train", run_training_entry, argv)


def predict(argv: Sequence[str]) -> int:
    """Run nnUNetv2_predict."""
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point

    return _run("nnUNetv2_predict", predict_entry_point, argv)


def _run(name: str, main: Callable[[], None], argv: Sequence[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *argv])
        patch.setattr(torch, "set_num_threads", lambda number: None)  # it would hold for all tests after this one
        main()
    return 0


def plan(folder: Path) -> None:
    """Plan the dataset of a place; of preprocessed data there is a name, by which nnU-Net tells how they are stored."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset

    from sparse_annotation_tools.dataset.fingerprint import FILE_NAME, make_fingerprint, measure_case
    from sparse_annotation_tools.files.volumes import read_label, read_volume

    measures = []
    for image in sorted((folder / "raw" / DATASET / "imagesTr").iterdir()):
        label = read_label(image.parents[1] / "labelsTr" / image.name.replace("_0000", "")).array
        volume = read_volume(image)
        measures.append(measure_case([volume.array], volume.geometry.spacing_mm, label.astype("int16") % 2))
    planned = folder / "preprocessed" / DATASET
    planned.mkdir()
    (planned / FILE_NAME).write_text(json.dumps(make_fingerprint(measures)))
    plan_experiment_dataset(7)
    (planned / f"nnUNetPlans_{CONFIGURATION}").mkdir()
    (planned / f"nnUNetPlans_{CONFIGURATION}" / f"{CASE}.b2nd").touch()
    (folder / SETTINGS_FILE).write_text(json.dumps(SETTINGS))


def save_model(folder: Path) -> None:
    """Leave what a finished training of fold 0 leaves, with the weights that it began with."""
    from nnunetv2_rada.trainer import nnUNetTrainerRADA

    planned = folder / "preprocessed" / DATASET
    plans = {**_json(planned / "nnUNetPlans.json"), "continue_training": False}
    trainer = nnUNetTrainerRADA(plans, CONFIGURATION, 0, _json(planned / "dataset.json"), torch.device("cpu"))
    trainer.initialize()
    model = folder / "results" / MODEL
    for name in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        trainer.save_checkpoint(str(model / "fold_0" / name))
    (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans))
    shutil.copy(planned / "dataset.json", model)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
