"""Rows of nnU-Net's own commands with this package's trainers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliability import spoil
from reliability.edits import json_field, put, unset, without_field
from reliability.place import DATASET, Place
from reliability.row import Spoil, nothing, table
from reliability.spoil import Spoiler
from reliability.stock import MODEL

TRAIN, PREDICT = "nnUNetv2_train", "nnUNetv2_predict"


def checkpoint(spoiler: Spoiler, name: str = "checkpoint_final.pth") -> Spoil:
    """Spoil a checkpoint of fold 0."""
    return lambda place: spoiler(place.results / MODEL / "fold_0" / name)


def content(edit: Callable[[dict[str, Any]], None]) -> Spoiler:
    """Change what a checkpoint holds."""

    def change(path: Path) -> None:
        import torch

        loaded = torch.load(path, weights_only=False)
        edit(loaded)
        torch.save(loaded, path)

    return change


def another_class(loaded: dict[str, Any]) -> None:
    """Give the last layers of each network a class more."""
    import torch

    weights = loaded["network_weights"]
    classes = {name: weight for name, weight in weights.items() if weight.ndim and weight.shape[0] == 2}
    for name, weight in classes.items():
        weights[name] = torch.cat([weight, weight[:1]])


def of_stock_trainer(loaded: dict[str, Any]) -> None:
    """Make it nnU-Net's own."""
    loaded.clear()
    loaded.update({"trainer_name": "nnUNetTrainer", "network_weights": {}})


def rada(edit: Callable[[Path], None]) -> Spoil:
    """Change the dataset's rada folder, and the copy of it that an earlier training left."""

    def change(place: Place) -> None:
        for folder in (place.raw, place.preprocessed):
            edit(folder / DATASET / "rada")

    return change


def in_rada(name: str, spoiler: Spoiler) -> Spoil:
    """Spoil one file of it."""
    return rada(lambda folder: spoiler(folder / name))


def planned(name: str, spoiler: Spoiler) -> Spoil:
    """Spoil one of nnU-Net's files beside the preprocessed data."""
    return lambda place: spoiler(place.preprocessed / DATASET / name)


def positional(**changes: str) -> dict[str, Any]:
    """Return options that put other words in the place of the configuration or the fold."""
    words = {"7": "7", "3d_fullres": "3d_fullres", "0": "0"}
    fixed = dict.fromkeys(words)
    given = [changes.get("dataset", "7"), changes.get("configuration", "3d_fullres"), changes.get("fold", "0")]
    return {"options": {**fixed, "-tr": None, "-device": None, given[0]: [given[1], given[2], *_TRAINED]}}


_TRAINED = ["-tr", "nnUNetTrainerRADA", "-device", "cpu"]
_REMAKE = "make the dataset again with rada-make-sparse-dataset"
_GO_ON = {"options": {"--c": ""}, "keeps": "results/"}
_START = {
    "options": {"-pretrained_weights": "{results}/" + f"{MODEL}/fold_0/checkpoint_final.pth"},
    "keeps": "results/",
}
_LEAVE_OUT = "give -pretrained_weights a checkpoint of this trainer ... or leave it out"
TRAININGS = [
    *table(
        TRAIN,
        "dataset",
        ("without its rada folder", rada(shutil.rmtree), f"holds cases.json, which RADA trains from; {_REMAKE[:16]}"),
        (
            "of another schema version",
            in_rada("cases.json", json_field("schema_version", 2)),
            f"has schema_version 2, expected 1; {_REMAKE}",
        ),
        ("cases.json cut off", in_rada("cases.json", spoil.cut), f"cases.json is not valid JSON ... {_REMAKE}"),
        ("cases.json without cases", in_rada("cases.json", without_field("cases")), "is damaged or incomplete"),
        ("no folds", in_rada("splits_final.json", Path.unlink), f"splits_final.json not found; {_REMAKE}"),
        ("folds cut off", in_rada("splits_final.json", spoil.cut), f"splits_final.json is damaged ... {_REMAKE}"),
        (
            "embeddings missing",
            in_rada("prompts.safetensors", Path.unlink),
            "run rada-embed -d 007 --encoder",
        ),
        ("embeddings cut off", in_rada("prompts.safetensors", spoil.cut), "prompts.safetensors"),
        (
            "of regions",
            planned("dataset.json", json_field("labels", {"background": 0, "whole": [1, 2], "core": 1, "ignore": 3})),
            "dataset.json defines regions, but RADA trains one label per voxel; merge or split the labels",
        ),
    ),
    *table(
        TRAIN,
        "configuration, fold and surroundings",
        (
            "2d",
            nothing,
            "configuration 2d is 2-D or a cascade stage ... give 3d_fullres",
            positional(configuration="2d"),
        ),
        (
            "not in the plans",
            nothing,
            "have no configuration 3d_lowres, only 2d, 3d_fullres",
            positional(configuration="3d_lowres"),
        ),
        (
            "a fold too many",
            nothing,
            "fold 7 does not exist, the dataset has 2; give 0 to 1 or all",
            positional(fold="7"),
        ),
        ("nnUNet_results unset", unset("nnUNet_results"), "nnUNet_results is not set ... type: export nnUNet_results="),
        ("no GPU", nothing, "finds no CUDA device ... give -device cpu", {"options": {"-device": "cuda"}}),
    ),
    *table(
        TRAIN,
        "checkpoint to go on from (--c)",
        ("empty", checkpoint(spoil.empty), "checkpoint ... cannot be read (Ran out of input); move it away", _GO_ON),
        ("cut off", checkpoint(spoil.cut), "checkpoint ... cannot be read ... move it away", _GO_ON),
        ("an HTML page", checkpoint(spoil.page), "checkpoint ... cannot be read ... move it away", _GO_ON),
        ("of a stock trainer", checkpoint(content(of_stock_trainer)), "was written by nnUNetTrainer, not by a", _GO_ON),
        ("of another class count", checkpoint(content(another_class)), "is of other networks ... 3x ... there", _GO_ON),
    ),
    *table(
        TRAIN,
        "checkpoint to begin with (-pretrained_weights)",
        ("missing", checkpoint(Path.unlink), f"cannot be read ... No such file ... {_LEAVE_OUT}", _START),
        ("empty", checkpoint(spoil.empty), f"cannot be read (Ran out of input); {_LEAVE_OUT}", _START),
        ("cut off", checkpoint(spoil.cut), f"cannot be read ... {_LEAVE_OUT}", _START),
        ("of a stock trainer", checkpoint(content(of_stock_trainer)), f"is of other networks ... {_LEAVE_OUT}", _START),
        (
            "of another class count",
            checkpoint(content(another_class)),
            f"other networks ... 3x ... {_LEAVE_OUT}",
            _START,
        ),
    ),
]
_FOLDER = {"keeps": "work/predicted"}  # nnU-Net makes the folder first
PREDICTIONS = table(
    PREDICT,
    "model",
    ("of another class count", checkpoint(content(another_class)), "is of other networks ... 3x ... there", _FOLDER),
    (
        "plans.json without a rada section",
        lambda p: without_section(p.results / MODEL / "plans.json"),
        "has no readable rada section ... put back the plans.json",
        _FOLDER,
    ),
)


def without_section(path: Path) -> None:
    """Take the rada section out of plans.json."""
    plans = json.loads(path.read_text())
    del plans["configurations"]["3d_fullres"]["rada"]
    put(path, json.dumps(plans))


NNUNET = [*TRAININGS, *PREDICTIONS]
