"""Rows of the commands that show things: `rada-figure`, `rada-report` and `rada-annotate`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socketserver
from dataclasses import replace
from pathlib import Path
from typing import Any

from reliability import spoil
from reliability.edits import both, emptied, image, json_field, label, put, unset, without_field
from reliability.place import CASE, DATASET, TEST, Outcome, Place
from reliability.row import Spoil, nothing, table
from reliability.rows_evaluate import described, prediction
from reliability.spoil import Spoiler

FIGURE, REPORT, ANNOTATE = "rada-figure", "rada-report", "rada-annotate"
_AGAIN = "copy or download it again"
_CUT = f"is cut off ... {_AGAIN}"
_EMPTY = f"is empty ... {_AGAIN}"


def options(**given: str | list[str] | None) -> dict[str, Any]:
    """Return options that differ from the good command's."""
    return {"options": given}


def file_at(path: str, text: str = "x") -> Spoil:
    """Put a file into the working folder."""
    return lambda place: put(place.work / path, text)


def folder_at(path: str) -> Spoil:
    """Put a folder there."""
    return lambda place: (place.work / path).mkdir(parents=True)


# --- rada-figure ----------------------------------------------------------------------------------------------------

FIGURES = [
    *table(
        FIGURE,
        "scans, truth and predictions",
        ("image folder missing", lambda p: shutil.rmtree(p.images), "images holds no ... nor any other scan; check -i"),
        ("image folder empty", lambda p: emptied(p.images), "images holds no ... nor any other scan; check -i"),
        ("an image missing", lambda p: p.image.unlink(), f"images holds no {CASE}_0000 ... check -i"),
        ("empty image", image(spoil.empty), _EMPTY),
        ("truncated image", image(spoil.cut), _CUT),
        ("truth folder missing", lambda p: shutil.rmtree(p.labels), "labels is not a folder, expected one with label"),
        ("truth folder empty", lambda p: emptied(p.labels), "labels holds no label map, expected files that end in"),
        ("truncated truth", label(spoil.cut), _CUT),
        ("truth of another shape", label(spoil.thin), "is not on the grid of its scan ... check -gt"),
        (
            "prediction folder missing",
            lambda p: shutil.rmtree(p.inputs / "predictions"),
            "predictions is not a folder, expected one with label",
        ),
        (
            "prediction folder empty",
            lambda p: emptied(p.inputs / "predictions"),
            "predictions holds no label map, expected files",
        ),
        ("a prediction missing", prediction(Path.unlink), "holds no case", options(**{"--cases": [CASE]})),
        ("empty prediction", prediction(spoil.empty), _EMPTY),
        ("truncated prediction", prediction(spoil.cut), _CUT),
        (
            "prediction of another shape",
            prediction(spoil.thin),
            "is not on the grid of its scan ... check --predictions",
        ),
        (
            "no case in common",
            lambda p: (
                [path.unlink() for path in (p.inputs / "predictions").iterdir() if path.name.startswith(CASE)]
                and p.label.rename(p.labels / "other.nii.gz")
                and (p.labels / "phantom_labelled_01.nii.gz").unlink()
            ),
            "is predicted in all of",
        ),
    ),
    *table(
        FIGURE,
        "options and output",
        (
            "no DIR after NAME=",
            nothing,
            "--predictions one is unfit, expected NAME=DIR",
            options(**{"--predictions": "one"}),
        ),
        (
            "one name twice",
            nothing,
            "--predictions names a twice; give each method a name of its own",
            options(**{"--predictions": ["a={inputs}", "a={inputs}"]}),
        ),
        ("an unknown case", nothing, "holds no", options(**{"--cases": ["nobody"]})),
        ("an unknown view", nothing, "argument --view: invalid choice: 'top'", options(**{"--view": "top"})),
        (
            "a slice outside the scan",
            nothing,
            "--index is 99, expected 0 to 9, the axial slices of",
            options(**{"--view": "axial", "--index": "99"}),
        ),
        ("a slice without a view", nothing, "give --view sagittal, coronal or axial too", options(**{"--index": "3"})),
        ("dataset.json of regions", described('{"labels": {"whole": [1, 2]}}'), "has region-based labels (whole)"),
        ("-o of another ending", nothing, "expected a name that ends in .png, .pdf, .svg", options(**{"-o": "a.jpg"})),
        ("-o is a folder", folder_at("figure.png"), "Is a directory: ... mend it and run again"),
        (
            "-o lies below a file",
            file_at("file"),
            "File exists: ... mend it and run again",
            options(**{"-o": "{work}/file/figure.png"}),
        ),
    ),
]

# --- rada-report ----------------------------------------------------------------------------------------------------


def dataset(name: str, spoiler: Spoiler) -> Spoil:
    """Spoil a file of the dataset."""
    return lambda place: spoiler(place.dataset / name)


def test_prediction(spoiler: Spoiler) -> Spoil:
    """Spoil the prediction of the test scan."""
    return lambda place: spoiler(place.inputs / "predictions" / f"{TEST}.nii.gz")


def page_leaves_out(part: str) -> Any:
    """Return an assertion: the page is there, and says what is missing."""

    def right(place: Place, outcome: Outcome) -> None:
        assert (place.work / "report" / "index.html").is_file()
        text = (place.work / "report" / "data" / "report.js").read_text(encoding="utf-8")
        content = json.loads(text[text.index("{") : text.rindex("}") + 1])
        assert part in [missing["part"] for missing in content["missing"]]

    return right


def training_of(name: str, text: str) -> Spoil:
    """Leave a file of a training."""
    folder = f"{DATASET}/nnUNetTrainerRADA__nnUNetPlans__3d_fullres"
    return lambda place: put(place.results / folder / name, text)


_LEFT_OUT = {"keeps": "work/report"}
_SLOWLY = {**_LEFT_OUT, "slow": True}
_NO_TRAINING = {"status": 0, "result": "a page without that", "right": page_leaves_out("training")}
_IMAGE = f"imagesTr/{CASE}_0000.nii.gz"
NO_DATASET: tuple[Any, ...] = (
    ("nnUNet_raw unset", unset("nnUNet_raw"), "nnUNet_raw is not set; export nnUNet_raw=FOLDER"),
    ("no such dataset", nothing, "no Dataset008_* in ... check nnUNet_raw", options(**{"-d": "8"})),
    (
        "without its rada folder",
        lambda p: shutil.rmtree(p.dataset / "rada"),
        "cases.json not found, but RADA needs a dataset with a rada/ folder",
    ),
    (
        "of another schema version",
        dataset("rada/cases.json", json_field("schema_version", 2)),
        "has schema_version 2, expected 1",
    ),
)
"""Rows of every command that begins with a dataset."""
REPORTS = [
    *table(
        REPORT,
        "dataset",
        *NO_DATASET,
        ("cases.json cut off", dataset("rada/cases.json", spoil.cut), "cases.json is not valid JSON"),
        (
            "dataset.json missing",
            dataset("dataset.json", Path.unlink),
            "is no raw dataset: dataset.json cannot be read",
        ),
        ("dataset.json without labels", dataset("dataset.json", without_field("labels")), "is no raw dataset"),
        ("embeddings cut off", dataset("rada/prompts.safetensors", spoil.cut), "prompts.safetensors", _LEFT_OUT),
        ("image missing", dataset(_IMAGE, Path.unlink), f"case {CASE} has no image, expected", _SLOWLY),
        ("image truncated", dataset(_IMAGE, spoil.cut), _CUT, _LEFT_OUT),
        ("propagated label truncated", dataset(f"rada/propagated/{CASE}_0.nii.gz", spoil.cut), _CUT, _SLOWLY),
    ),
    *table(
        REPORT,
        "predictions, truth and training",
        (
            "-pred missing",
            lambda p: shutil.rmtree(p.inputs / "predictions"),
            "predictions is not a folder; expected one",
        ),
        ("-gt missing", nothing, "is not a folder; expected one with label maps", options(**{"-gt": "{work}/gone"})),
        (
            "--networks missing",
            nothing,
            "is not a folder, expected one with label maps",
            options(**{"--networks": "{work}/gone"}),
        ),
        ("empty prediction", test_prediction(spoil.empty), _EMPTY, _SLOWLY),
        ("truncated prediction", test_prediction(spoil.cut), _CUT, _LEFT_OUT),
        ("prediction of another shape", test_prediction(spoil.thin), "grid", _SLOWLY),
        (
            "prediction of another spacing",
            test_prediction(spoil.regrid(lambda i: i.SetSpacing((1, 2, 3)))),
            "grid",
            _LEFT_OUT,
        ),
        ("prediction with NaN", test_prediction(spoil.voxel(float("nan"))), "NaN", _SLOWLY),
        (
            "truncated probabilities",
            lambda p: put(p.inputs / "predictions" / f"{TEST}.npz", "PK"),
            f"{TEST}.npz",
            _SLOWLY,
        ),
        (
            "a trainer that was not trained",
            nothing,
            "left out: training. No training of nnUNetTrainerNobody was found",
            {**_NO_TRAINING, **options(**{"-tr": "nnUNetTrainerNobody"})},
        ),
        ("nnUNet_results unset", unset("nnUNet_results"), "nnUNet_results is not set", _NO_TRAINING),
        ("curves cut off", training_of("fold_0/curves.json", '{"lo'), "has written no curves", _NO_TRAINING),
        (
            "plans.json cut off",
            both(training_of("plans.json", '{"co'), training_of("fold_0/curves.json", "{}")),
            "has written no curves",
            _NO_TRAINING,
        ),
    ),
    *table(
        REPORT,
        "options and output",
        ("no process", nothing, "-np is 0, expected 1 or more", options(**{"-np": "0"})),
        ("-o is a file", file_at("report"), "mend it and run again"),
        ("-o lies below a file", file_at("file"), "mend it and run again", options(**{"-o": "{work}/file/report"})),
        ("-o holds other files", file_at("report/mine.txt"), "holds files but no report; give a new folder"),
    ),
]

# --- rada-annotate --------------------------------------------------------------------------------------------------

_SETTINGS = json.dumps({"version": 1, "classes": ["organ"], "channel": 0})


def painted(name: str, text: str) -> Spoil:
    """Leave a file in the folder of an earlier run."""
    return lambda place: put(place.work / "annotated" / name, text)


def in_labels(spoiler: Spoiler) -> Spoil:
    """Put a label map of three slices into the output folder, and spoil it."""

    def edit(place: Place) -> None:
        from reliability.edits import painted as on_three_slices

        on_three_slices()(place)
        target = place.work / "annotated" / "labels" / place.label.name
        put(target, place.label.read_bytes())
        spoiler(target)

    return edit


def port_taken(place: Place) -> None:
    """Let another program listen on every port."""

    def taken(server: Any) -> None:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    place.patch.setattr(socketserver.TCPServer, "server_bind", taken)


ANNOTATIONS = [
    *table(
        ANNOTATE,
        "scans",
        ("folder missing", lambda p: shutil.rmtree(p.images), "is not a folder; expected one with images"),
        ("folder empty", lambda p: emptied(p.images), "holds no image; expected files that end in"),
        ("one scan twice", lambda p: put(p.images / f"{CASE}_0000.nrrd", "x"), "are both channel 0 of"),
        (
            "first channel missing",
            lambda p: p.image.rename(p.images / f"{CASE}_0001.nii.gz") and None,
            "are read as image channels ... without a gap",
        ),
        (
            "a channel that is not there",
            nothing,
            "--channel is 3, but the images have 0 to 0",
            options(**{"--channel": "3"}),
        ),
    ),
    *table(
        ANNOTATE,
        "output of an earlier run",
        ("-o is a file", file_at("annotated"), "mend it and run again"),
        ("settings cut off", painted("annotate/settings.json", '{"ver'), "settings.json cannot be understood"),
        (
            "settings of another version",
            painted("annotate/settings.json", '{"version": 9, "classes": [], "channel": 0}'),
            "version 9, expected 1",
        ),
        (
            "other class names",
            painted("annotate/settings.json", _SETTINGS),
            "was painted with --label-names organ; leave --label-names out",
            options(**{"--label-names": "heart"}),
        ),
        (
            "paint cut off",
            painted(f"annotate/paint/{CASE}.json", '{"shape": [10, 12'),
            f"{CASE}.json cannot be understood ... restore it, or move it away",
        ),
        ("label map truncated", in_labels(spoil.cut), _CUT),
        ("label map of another shape", in_labels(spoil.thin), "is not on the grid of"),
        ("label map of an unknown value", in_labels(spoil.change(lambda array: array * 7)), "holds label 7"),
        (
            "label map of an unknown scan",
            painted("labels/nobody.nii.gz", "x"),
            "names scans that are not in -i: nobody",
        ),
        ("planes.csv without columns", painted("planes.csv", "a,b\n1,2\n"), "planes.csv"),
        ("planes.csv with NaN", painted("planes.csv", f"case,view,index\n{CASE},axial,nan\n"), "planes.csv"),
        ("planes.csv of an unknown view", painted("planes.csv", f"case,view,index\n{CASE},top,3\n"), "planes.csv"),
        (
            "planes.csv with a slice outside the scan",
            painted("planes.csv", f"case,view,index\n{CASE},axial,99\n"),
            "axial 99, which is outside the scan",
        ),
    ),
    *table(
        ANNOTATE,
        "options",
        ("one class twice", nothing, "--label-names", options(**{"--label-names": ["a", "a"]})),
        (
            "a port taken",
            port_taken,
            "--port 8765 cannot be used ... Address already in use",
            options(**{"--port": "8765"}),
        ),
        ("a port that is none", nothing, "--port 99999 cannot be used", options(**{"--port": "99999"})),
    ),
]
# The folder is made and locked before anything in it is read.
PAGES = [*FIGURES, *REPORTS, *(replace(row, keeps="work/annotated") for row in ANNOTATIONS)]
