"""Rows of `rada-suggest-slices`."""

from __future__ import annotations

import csv
import shutil
from typing import Any

import numpy as np

from reliability import spoil
from reliability.edits import emptied, image, label, put, written
from reliability.faults import UNREADABLE
from reliability.place import CASE, Outcome, Place
from reliability.row import nothing, table
from reliability.rows_make import diagonal

COMMAND = "rada-suggest-slices"
LABELS = {"options": {"--labels": "{inputs}/labelled/labels"}}
PREDICTIONS = {"options": {"--predictions": "{work}/predictions"}}
_FOLDERS = ("first", "second")
DISAGREEING = {"options": {"--predictions": [f"{{work}}/{name}" for name in _FOLDERS]}}


def suggests(place: Place, outcome: Outcome) -> None:
    """A plane of each view, a picture and a label map for each scan."""
    with (place.work / "slices" / "planes.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["case"] for line in lines if line["state"] == "suggested"} == {
        path.name.removesuffix(".png") for path in (place.work / "slices" / "pictures").iterdir()
    }
    assert lines


def predicted(edit: Any = lambda path: None, *, probabilities: Any = None) -> Any:
    """Write predictions with probabilities, and spoil those of one scan."""

    def make(place: Place) -> None:
        folder = place.work / "predictions"
        shutil.copytree(place.labels, folder)
        for path in folder.glob("*.nii.gz"):
            array = spoil.sitk.GetArrayFromImage(spoil.read(path)) > 0
            stored = np.stack([~array, array]).astype(np.float16) * 0.8 + 0.1
            np.savez(path.with_name(path.name.replace(".nii.gz", ".npz")), probabilities=stored)
        edit(folder / f"{CASE}.npz")

    return make


def disagreeing(spoiler: Any = lambda path: None) -> Any:
    """Write predictions of two networks, and spoil one."""

    def make(place: Place) -> None:
        for name in _FOLDERS:
            shutil.copytree(place.labels, place.work / name)
        spoiler(place.work / "second" / f"{CASE}.nii.gz")

    return make


def every_label(spoiler: Any) -> Any:
    """Spoil every label map."""
    return lambda place: [spoiler(path) for path in list(place.labels.iterdir())] and None


def of_another_scan(place: Place) -> None:
    """Leave one label map, of a scan that is not there."""
    emptied(place.labels)
    put(place.labels / "x.nii.gz", "")


def saved(array: Any) -> Any:
    """Save another array as probabilities."""
    return lambda path: np.savez(path, probabilities=array)


def centres(text: str, says: str) -> tuple[Any, ...]:
    """A list of points and what is said of it."""
    return (written("centres.csv", text), says, {"options": {"--centres": "{inputs}/centres.csv"}})


def reference(edit: Any, says: str) -> tuple[Any, ...]:
    """A reference scan that is spoilt, and what is said of it."""

    def make(place: Place) -> None:
        shutil.copytree(place.inputs / "labelled", place.inputs / "reference")
        edit(place.inputs / "reference")

    files = [f"{{inputs}}/reference/images/{CASE}_0000.nii.gz", f"{{inputs}}/reference/labels/{CASE}.nii.gz"]
    return (make, says, {"options": {"--reference": files}})


def already_painted(place: Place) -> None:
    """Leave a label map with paint in the output."""
    shutil.copytree(place.labels, place.work / "slices" / "labels")


def option(name: str, says: str, **changes: Any) -> tuple[Any, ...]:
    """A row of options alone."""
    return (name, nothing, says, {"options": changes})


_PLANES = {"options": {"--labels": "{inputs}/labelled/labels", "--planes": "{inputs}/planes.csv"}}
_OFF = "is not on the grid of its scan"
SUGGEST = [
    *table(
        COMMAND,
        "scans",
        ("folder missing", lambda p: shutil.rmtree(p.images), "-i ... is not a folder; expected one with images"),
        ("folder empty", lambda p: emptied(p.images), "holds no image; expected files that end in"),
        *((fault.name, image(fault.spoil), fault.says) for fault in UNREADABLE[:13]),
        (".nrrd header of 30000 voxels a side", image(UNREADABLE[-2].spoil), UNREADABLE[-2].says),
        (
            "constant",
            image(spoil.constant),
            "first slices, through the centre",
            {"status": 0, "result": "the middle is suggested: nothing says where the organ is", "right": suggests},
        ),
        ("one slice thin", image(spoil.thin), "voxels, expected a volume of at least 2x2x2"),
    ),
    *table(
        COMMAND,
        "label maps",
        ("folder missing", lambda p: shutil.rmtree(p.labels), "is not a folder, expected one with label maps", LABELS),
        ("folder empty", lambda p: emptied(p.labels), "holds no label map, expected files", LABELS),
        (
            "of other scans",
            of_another_scan,
            "holds none of the scans of -i",
            LABELS,
        ),
        ("truncated", label(spoil.cut), "is cut off", LABELS),
        ("another shape", label(spoil.thin), f"{_OFF}: size ... export it with the scan as its reference", LABELS),
        ("another spacing", label(spoil.regrid(lambda i: i.SetSpacing((1, 2, 3)))), f"{_OFF}: spacing", LABELS),
        ("another direction", label(spoil.regrid(spoil.turned)), f"{_OFF}: direction", LABELS),
        ("a value of one half", label(spoil.voxel(0.5)), "holds values that are not whole numbers", LABELS),
        ("4-D", label(spoil.four_d), "has 4 dimensions, expected 3", LABELS),
        ("a diagonal plane", label(spoil.change(diagonal)), "does not say which planes were annotated", LABELS),
        (
            "two maps of a scan",
            lambda p: shutil.copy(p.label, p.labels / f"{CASE}.nii") and None,
            f"holds case {CASE} twice",
            LABELS,
        ),
        (
            "only background",
            every_label(spoil.change(np.zeros_like)),
            "first slices, through the centre",
            {**LABELS, "status": 0, "result": "as if nothing had been drawn", "right": suggests},
        ),
        ("list of planes missing", nothing, "planes.csv cannot be read", _PLANES),
        (
            "list of planes of another scan",
            written("planes.csv", "case,view,index\nx,axial,1\n"),
            "--planes lists case x, which is not in -i",
            _PLANES,
        ),
        (
            "a plane beyond the scan",
            written("planes.csv", f"case,view,index\n{CASE},axial,99\n"),
            "which has axial slices 0 to 9",
            _PLANES,
        ),
    ),
    *table(
        COMMAND,
        "predictions",
        ("folder missing", nothing, "predictions is not a folder, expected one with label maps", PREDICTIONS),
        (
            "label maps alone",
            predicted(lambda f: [p.unlink() for p in f.parent.glob("*.npz")]),
            "holds label maps alone ... predict with nnUNetv2_predict --save_probabilities",
            PREDICTIONS,
        ),
        ("cut-off probabilities", predicted(spoil.cut), "cannot be read ... predict again", PREDICTIONS),
        ("text as probabilities", predicted(spoil.page), "cannot be read ... predict again", PREDICTIONS),
        (
            "pickled objects as probabilities",
            predicted(saved(np.array([{"a": 1}], dtype=object))),
            "cannot be read ... predict again",
            PREDICTIONS,
        ),
        (
            "no probabilities in the file",
            predicted(lambda f: np.savez(f, other=np.zeros(3))),
            "cannot be read ... expected 'probabilities'",
            PREDICTIONS,
        ),
        (
            "probabilities of another shape",
            predicted(saved(np.zeros((2, 3, 4, 5)))),
            "has probabilities of shape (2, 3, 4, 5), expected classes x (10, 12, 14)",
            PREDICTIONS,
        ),
        (
            "probabilities of another label map",
            predicted(saved(np.stack([np.zeros((10, 12, 14)), np.ones((10, 12, 14))]))),
            "does not fit ... the two overlap by",
            PREDICTIONS,
        ),
        (
            "probabilities that are NaN",
            predicted(saved(np.full((2, 10, 12, 14), np.nan))),
            "holds probabilities that are NaN or infinite; predict again",
            PREDICTIONS,
        ),
        (
            "of two networks, one on another grid",
            disagreeing(spoil.thin),
            f"{_OFF}: size ... predict this very scan",
            DISAGREEING,
        ),
        ("of two networks, one truncated", disagreeing(spoil.cut), "is cut off", DISAGREEING),
    ),
    *table(
        COMMAND,
        "where the organ lies",
        (
            "points: file empty",
            *centres("", "first slices, through the centre")[:2],
            {"options": centres("", "")[2]["options"], "status": 0, "right": suggests, "result": "no point is known"},
        ),
        ("points: columns missing", *centres(f"case,x\n{CASE},1\n", "line 2 is not understood, expected a CSV")),
        ("points: words", *centres(f"case,r,a,s\n{CASE},one,2,3\n", "line 2 is not understood")),
        ("points: NaN", *centres(f"case,r,a,s\n{CASE},nan,2,3\n", "line 2 is not understood, expected a CSV")),
        ("points: outside the scan", *centres(f"case,r,a,s\n{CASE},9999,2,3\n", "outside its scan ... give R, A")),
        ("points: of another scan", *centres("case,r,a,s\nx,1,2,3\n", "--centres lists case x, which is not in -i")),
        ("points: a scan twice", *centres(f"case,r,a,s\n{CASE},0,0,0\n{CASE},0,0,0\n", "line 3 lists ... twice")),
        ("reference: gone", *reference(shutil.rmtree, "does not exist; give an image and its label map")),
        ("reference: truncated", *reference(lambda f: spoil.cut(f / f"images/{CASE}_0000.nii.gz"), "is cut off")),
        (
            "reference: label on another grid",
            *reference(lambda f: spoil.thin(f / f"labels/{CASE}.nii.gz"), "is not on the grid of ... size"),
        ),
        (
            "reference: empty label",
            *reference(
                lambda f: spoil.change(np.zeros_like)(f / f"labels/{CASE}.nii.gz"),
                "holds no foreground, expected a dense label map",
            ),
        ),
    ),
    *table(
        COMMAND,
        "options and output",
        option("no slice", "--slices is 0, expected 1 or more", **{"--slices": "0"}),
        option("no process", "-np is 0, expected 1 or more", **{"-np": "0"}),
        option(
            "two ways to say where",
            "give one of them",
            **{"--centres": "a", "--reference": ["{inputs}/a.nii.gz", "{inputs}/b.nii.gz"]},
        ),
        option("a class called background", "--label-names background is unfit", **{"--label-names": ["background"]}),
        ("output is a file", lambda p: put(p.work / "slices", "x"), "Not a directory: ... mend it and run again"),
        ("output holds paint of somebody", already_painted, "has been painted on ... give another -o"),
    ),
]
