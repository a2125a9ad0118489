"""Rows of `rada-evaluate`."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np

from reliability import spoil
from reliability.edits import emptied, label, put, written
from reliability.faults import UNREADABLE
from reliability.place import CASE, Outcome, Place
from reliability.row import nothing, table
from reliability.rows_make_other import raising
from reliability.spoil import Spoiler

COMMAND = "rada-evaluate"


def prediction(spoiler: Spoiler) -> Any:
    """Spoil one prediction."""
    return lambda place: spoiler(place.inputs / "predictions" / f"{CASE}.nii.gz")


def scores(place: Place) -> dict[str, Any]:
    """Read the file that was written."""
    content: dict[str, Any] = json.loads((place.work / "scores.json").read_text(encoding="utf-8"))
    return content


def dice_is(case: str, dice: float | None) -> Any:
    """Return an assertion about the Dice of the only class."""

    def right(place: Place, outcome: Outcome) -> None:
        assert next(iter(scores(place)["cases"][case].values()))["dice"] == dice

    return right


def described(text: str) -> Any:
    """Put a dataset.json beside the truth."""
    return written("labelled/labels/dataset.json", text)


def mean_is_perfect(place: Place, outcome: Outcome) -> None:
    """All agree, as truth and prediction are the same files."""
    assert all(row["dice"] == 1 for row in scores(place)["mean"].values())


_GRID = "lies on another grid than"
EVALUATE = [
    *table(
        COMMAND,
        "truth",
        ("folder missing", lambda p: shutil.rmtree(p.labels), "is not a folder, expected one with label maps"),
        ("folder empty", lambda p: emptied(p.labels), "holds no label map, expected files that end in"),
        *((fault.name, label(fault.spoil), fault.says) for fault in UNREADABLE[:2]),
        ("4-D", label(spoil.four_d), "has 4 dimensions, expected 3"),
        ("a value of one half", label(spoil.voxel(0.5)), "holds values that are not whole numbers"),
        ("a value of a million", label(spoil.voxel(1e6)), "holds values below 0 or above 65535, expected a label map"),
        (
            "only background",
            label(spoil.change(np.zeros_like)),
            "0 with an empty prediction",
            {"status": 0, "result": "Dice 0 where something is predicted", "right": dice_is(CASE, 0.0)},
        ),
    ),
    *table(
        COMMAND,
        "predictions",
        ("folder missing", lambda p: shutil.rmtree(p.inputs / "predictions"), "is not a folder, expected one with"),
        ("folder empty", lambda p: emptied(p.inputs / "predictions"), "holds no label map, expected files"),
        ("one missing", prediction(lambda f: f.unlink()), f"lacks 1 of 2 predictions: {CASE}.nii.gz; predict them, or"),
        *((fault.name, prediction(fault.spoil), fault.says) for fault in UNREADABLE[:13]),
        ("another shape", prediction(spoil.thin), f"{_GRID} ... size ... predict on the image that the truth was"),
        ("another spacing", prediction(spoil.regrid(lambda i: i.SetSpacing((1, 2, 3)))), f"{_GRID} ... spacing"),
        ("another direction", prediction(spoil.regrid(spoil.turned)), f"{_GRID} ... direction"),
        ("probabilities", prediction(spoil.voxel(0.37)), "holds values that are not whole numbers, expected a label"),
        ("NaN", prediction(spoil.voxel(np.nan)), "holds 1 voxels that are NaN or infinite"),
        ("a negative value", prediction(spoil.voxel(-1, np.int16)), "holds values below 0 or above 65535"),
        (
            "a value without a name",
            prediction(spoil.voxel(3)),
            "holds label 3, expected 0 (background), 1 (organ)",
            {"options": {"--labels": ["organ"]}},
        ),
        ("one scan twice", lambda p: put(p.inputs / "predictions" / f"{CASE}.nii", b"x"), f"holds case {CASE} twice"),
        (
            "ending in upper case",
            prediction(lambda f: f.rename(f.with_name(f"{CASE}.NII.GZ")) and None),
            "ends in .NII.GZ, expected .nii.gz; rename it",
        ),
        (
            "empty",
            prediction(spoil.change(np.zeros_like)),
            "1 with an empty prediction",
            {"status": 0, "result": "Dice 0, no distances", "right": dice_is(CASE, 0.0)},
        ),
        (
            "more than the truth has",
            lambda p: put(p.inputs / "predictions/more.nii.gz", p.label.read_bytes()),
            "has no truth for them: more.nii.gz",
            {"status": 0, "result": "left out, and said so", "right": mean_is_perfect},
        ),
        (
            "whole numbers stored as float",
            prediction(spoil.voxel(0.0)),
            "written: ",
            {"status": 0, "result": "read as a label map", "right": mean_is_perfect},
        ),
        (
            "names with spaces, dots and umlauts",
            lambda p: (
                [
                    path.rename(path.with_name(path.name.replace(CASE, "ä b.c")))
                    for folder in (p.labels, p.inputs / "predictions")
                    for path in list(folder.iterdir())
                ]
                and None
            ),
            "ä b.c",
            {"status": 0, "result": "evaluated like others", "right": mean_is_perfect},
        ),
    ),
    *table(
        COMMAND,
        "names of classes and options",
        ("dataset.json that is no JSON", described("{"), "has no readable labels ... name the classes by --labels"),
        ("dataset.json without labels", described("{}"), "has no readable labels ... name the classes by --labels"),
        ("dataset.json of regions", described('{"labels": {"whole": [1, 2]}}'), "has region-based labels (whole)"),
        ("dataset.json of words for values", described('{"labels": {"a": "1"}}'), "region-based labels (a)"),
        (
            "--labels names a file that is gone",
            nothing,
            "has no readable labels",
            {"options": {"--labels": ["{work}/dataset.json"]}},
        ),
        (
            "a class twice",
            nothing,
            "--labels names a twice, expected a name of its own for each",
            {"options": {"--labels": ["a", "a"]}},
        ),
        ("no process", nothing, "-np is 0, expected 1 or more", {"options": {"-np": "0"}}),
        ("-o is a folder", lambda p: (p.work / "scores.json").mkdir(), "Is a directory: ... mend it and run again"),
        (
            "-o lies below a file",
            lambda p: put(p.work / "file", ""),
            "File exists: ... mend it and run again",
            {"options": {"-o": "{work}/file/scores.json"}},
        ),
        (
            "disk full",
            lambda p: raising(28, at="rename")(p),
            "No space left on device: ... scores.json; mend it",
            {"options": {"-o": "{raw}/scores.json"}},
        ),
    ),
]
