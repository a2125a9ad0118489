"""Rows of the commands that open a trained model: `rada-heatmap` and `rada-predict-networks`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from reliability import spoil
from reliability.edits import emptied, second_test_channel, test_scan, test_scan_label, unset
from reliability.place import TEST
from reliability.row import Spoil, nothing, table
from reliability.rows_nnunet import another_class, checkpoint, content, of_stock_trainer, without_section
from reliability.rows_pages import file_at, options
from reliability.spoil import Spoiler
from reliability.stock import MODEL

HEATMAP, NETWORKS = "rada-heatmap", "rada-predict-networks"


def model(name: str, spoiler: Spoiler) -> Spoil:
    """Spoil a file of the model folder."""
    return lambda place: spoiler(place.results / MODEL / name)


def scans(edit: Any) -> Spoil:
    """Spoil the folder of scans."""
    return lambda place: edit(place.inputs / "test" / "images")


_OPEN = "cannot be opened ... train again"
_OF_BOTH: list[tuple[Any, ...]] = [
    ("nnUNet_results unset", unset("nnUNet_results"), "nnUNet_results is not set ... type: export nnUNet_results="),
    ("no such dataset", nothing, "should hold one Dataset008_*, found none; check -d", options(**{"-d": "8"})),
    ("a trainer that was not trained", nothing, "check -tr, -p and -c", options(**{"-tr": "nnUNetTrainerNobody"})),
    ("a configuration that was not trained", nothing, "check -tr, -p and -c", options(**{"-c": "2d"})),
    (
        "a fold that was not trained",
        nothing,
        "holds no checkpoint_final.pth of fold 1 ... check -f",
        options(**{"-f": "1"}),
    ),
    ("a fold that is none", nothing, "of fold best, only of 0; check -f", options(**{"-f": "best"})),
    ("of a stock trainer", checkpoint(content(of_stock_trainer)), _OPEN),
]
_MORE_OF_MODEL: list[tuple[Any, ...]] = [  # opened by the same code
    ("empty checkpoint", checkpoint(spoil.empty), _OPEN),
    ("truncated checkpoint", checkpoint(spoil.cut), _OPEN),
    ("a checkpoint that is an HTML page", checkpoint(spoil.page), _OPEN),
    (
        "a checkpoint of another class count",
        checkpoint(content(another_class)),
        "is of other networks ... 3x ... there",
    ),
    ("plans.json missing", model("plans.json", Path.unlink), _OPEN),
    ("plans.json cut off", model("plans.json", spoil.cut), _OPEN),
    ("plans.json without a rada section", model("plans.json", without_section), "has no readable rada section"),
    ("dataset.json missing", model("dataset.json", Path.unlink), _OPEN),
    ("dataset.json cut off", model("dataset.json", spoil.cut), _OPEN),
]
_SLOW = {"slow": True}
_SCANS_OF_BOTH: list[tuple[Any, ...]] = [
    (
        "folder missing",
        scans(shutil.rmtree),
        "images holds no scan, expected files that end in _0000.nii.gz; check -i",
        _SLOW,
    ),
    ("folder empty", scans(emptied), "images holds no scan, expected files that end in _0000.nii.gz; check -i", _SLOW),
    ("one channel too many", second_test_channel, f"has 2 channels of case {TEST}, expected 1 as in training", _SLOW),
    ("empty image", test_scan(spoil.empty), "is empty ... copy or download it again", _SLOW),
    ("truncated image", test_scan(spoil.cut), "is cut off ... copy or download it again"),
    ("2-D", test_scan(spoil.flat), "has 2 dimensions, expected 3", _SLOW),
]


HEATMAPS = [
    *table(HEATMAP, "model", *_OF_BOTH, *_MORE_OF_MODEL),
    *table(HEATMAP, "scans", *_SCANS_OF_BOTH),
    *table(
        HEATMAP,
        "class, case, truth and output",
        (
            "an unknown class",
            nothing,
            "knows no class spleen, only organ; check --class",
            options(**{"--class": "spleen"}),
        ),
        (
            "an unknown case",
            nothing,
            f"holds no case nobody, only {TEST}; check --case",
            options(**{"--case": "nobody"}),
        ),
        ("-gt missing", nothing, "is not a folder, expected one with label maps", options(**{"-gt": "{work}/gone"})),
        (
            "-gt without the case",
            nothing,
            f"holds no label map of case {TEST}; check -gt, or leave it out",
            options(**{"-gt": "{inputs}/labelled/labels"}),
        ),
        (
            "-gt of another shape",
            test_scan_label(spoil.thin),
            "is not on the grid of its scan ... check -gt, or leave it out",
            options(**{"-gt": "{inputs}/test/labels"}),
        ),
        ("-o is a file", file_at("heat"), "mend it and run again"),
    ),
]
PREDICTED = [
    *table(NETWORKS, "model", *_OF_BOTH),
    *table(NETWORKS, "scans", *_SCANS_OF_BOTH),
    *table(
        NETWORKS,
        "output and processes",
        ("-o is a file", file_at("networks"), "mend it and run again"),
        ("processes below 0", nothing, "-npp is -1 and -nps is 0, expected both 1 or more", options(**{"-npp": "-1"})),
        ("one kind of process only", nothing, "-npp is 2 and -nps is 0, expected both", options(**{"-npp": "2"})),
        ("processes that are no number", nothing, "argument -nps: invalid", options(**{"-nps": "many"})),
    ),
]
MODELS = [*HEATMAPS, *PREDICTED]
