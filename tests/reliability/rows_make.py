"""Rows of `rada-make-sparse-dataset`: scans and label maps."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import SimpleITK as sitk

from reliability import spoil
from reliability.edits import (
    as_file,
    both,
    emptied,
    image,
    label,
    of_notes,
    painted,
    second_channel,
    test_scan,
    test_scan_label,
    two_channels,
    unlabelled,
)
from reliability.faults import UNREADABLE
from reliability.place import CASE, Outcome, Place
from reliability.row import table
from sparse_annotation_tools.schema import CasesFile, RadaFolder

COMMAND = "rada-make-sparse-dataset"
REAL = {"options": {"--simulate": None}}  # real annotations

_AXES = [2 / 3 - (row == column) for row in range(3) for column in range(3)]  # half a turn about the diagonal
_TILTED = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)  # by 37 degrees


def is_made(place: Place, outcome: Outcome) -> None:
    """The dataset is whole, and each image is the input's, byte by byte where that is .nii.gz."""
    made = CasesFile.load(RadaFolder(root=place.dataset / "rada"))
    assert made.labelled
    assert (place.dataset / "rada" / "prompts.safetensors").is_file()
    for case in made.labelled:
        stored, source = (
            sitk.ReadImage(str(folder / f"{case}_0000.nii.gz")) for folder in (place.dataset / "imagesTr", place.images)
        )
        np.testing.assert_array_equal(sitk.GetArrayFromImage(stored), sitk.GetArrayFromImage(source))
        label_map = sitk.GetArrayFromImage(sitk.ReadImage(str(place.dataset / "labelsTr" / f"{case}.nii.gz")))
        assert (label_map != 2).any()
    assert not list(place.root.rglob(".partial-*"))


def only(index: int) -> Any:
    """Return a spoiler that keeps one axial slice of a label map."""

    def keep(array: Any) -> Any:
        kept = np.zeros_like(array)
        kept[index] = array[index]
        return kept

    return spoil.change(keep)


def diagonal(array: Any) -> Any:
    """Paint the plane x = y."""
    painted_voxels = np.zeros_like(array)
    for index in range(min(array.shape[1:])):
        painted_voxels[:, index, index] = 1
    return painted_voxels


def solid(array: Any) -> Any:
    """Paint a box."""
    box = np.zeros_like(array)
    box[1:-1, 1:-1, 1:-1] = 1
    return box


def grid_of_lines(array: Any) -> Any:
    """Paint every second axial slice of a thin rod."""
    rod = np.zeros_like(array)
    rod[::2, 5, 4:9] = 1
    return rod


def two_hundred_planes(place: Place) -> None:
    """Make one scan of 402 slices with every second one painted, and list them."""
    z, y, x = np.ogrid[:402, :6, :6]
    ball = ((y - 3) ** 2 + (x - 3) ** 2 < 5 + 0 * z).astype(np.uint8)
    scan = np.random.default_rng(0).normal(100, 10, ball.shape).astype(np.float32) + 50 * ball
    for folder in (place.images, place.labels):
        emptied(folder)
    spoil.write(place.image, scan)
    ball[1::2] = 0
    ball[400] = 0
    spoil.write(place.label, ball)
    lines = "".join(f"{CASE},axial,{index}\n" for index in range(0, 400, 2))
    (place.inputs / "planes.csv").write_text("case,view,index\n" + lines)


def has_200_slices(place: Place, outcome: Outcome) -> None:
    """All are in the dataset, and so is a label propagated from each."""
    made = CasesFile.load(RadaFolder(root=place.dataset / "rada"))
    assert len(made.cases[CASE].slices) == 200
    assert len(list((place.dataset / "rada" / "propagated").iterdir())) == 200


IMAGES = table(
    COMMAND,
    "images",
    ("folder missing", lambda p: shutil.rmtree(p.images), "labelled/images is not a folder; expected one with images"),
    ("folder is a file", lambda p: as_file(p.images), "labelled/images is not a folder; expected one with images"),
    ("folder empty", lambda p: emptied(p.images), "holds no image; expected files that end in .nii.gz"),
    ("folder of other files", lambda p: of_notes(p.images), "holds no image; expected files that end in .nii.gz"),
    ("one missing", lambda p: p.image.unlink(), f"labels without an image ... expected {CASE}_0000.nii.gz"),
    *((fault.name, image(fault.spoil), fault.says) for fault in UNREADABLE),
    ("constant", image(spoil.constant), "has the same value in every voxel, expected a scan; replace or remove it"),
    ("one slice thin", image(spoil.thin), "14x12x1 voxels, expected a volume of at least 2x2x2"),
    (
        "NaN in .nrrd",
        image(spoil.as_suffix(".nrrd", spoil.voxel(np.nan))),
        "holds 1 voxels that are NaN or infinite; replace them by a finite value first",
    ),
    (
        "infinity in .mha",
        image(spoil.as_suffix(".mha", spoil.voxel(np.inf))),
        "holds 1 voxels that are NaN or infinite; replace them by a finite value first",
    ),
    (
        "nothing but NaN",
        image(spoil.change(lambda array: np.full(array.shape, np.nan, np.float32))),
        "has the same value in every voxel, expected a scan; replace or remove it",
    ),
    (
        "NaN in .nii.gz",
        image(spoil.voxel(np.nan)),
        "warning: ... holds 1 voxels that are NaN or infinite, which nnU-Net reads as 0; replace them",
        {"status": 0, "result": "read as 0, as nnU-Net reads it", "right": is_made},
    ),
    (
        "two axes along one patient axis",
        image(spoil.regrid(lambda i: i.SetDirection(_AXES))),
        "does not map the three image axes one to one ... resample the scan",
    ),
    (
        "oblique by 37 degrees",
        both(*(edit(spoil.regrid(lambda i: i.SetDirection(_TILTED))) for edit in (image, label))),
        "warning: ... the grid is oblique by 37 degrees",
        {"status": 0, "result": "views name the nearest image axes", "right": is_made},
    ),
    ("second channel of one case only", second_channel(), "different numbers of image channels ... give all cases"),
    (
        "second channel on another grid",
        two_channels(spoil.regrid(lambda i: i.SetSpacing((1, 2, 3)))),
        "are on different grids: spacing ... resample one",
    ),
    (
        "first channel missing",
        lambda p: p.image.rename(p.images / f"{CASE}_0001.nii.gz"),
        "are read as image channels ... expected _0000, _0001, ... without a gap",
    ),
)

OTHER_SCANS = [
    *table(
        COMMAND,
        "unlabelled images",
        ("folder missing", lambda p: shutil.rmtree(p.inputs / "unlabelled"), "unlabelled/images is not a folder"),
        ("folder empty", lambda p: emptied(p.inputs / "unlabelled" / "images"), "holds no image; expected files"),
        *((fault.name, unlabelled(fault.spoil), fault.says) for fault in UNREADABLE[:2]),
        ("constant", unlabelled(spoil.constant), "has the same value in every voxel, expected a scan"),
    ),
    *table(
        COMMAND,
        "test scans",
        ("image folder missing", lambda p: shutil.rmtree(p.inputs / "test/images"), "test/images is not a folder"),
        ("label missing", lambda p: emptied(p.inputs / "test/labels"), "test/labels holds no label map, expected"),
        ("truncated image", test_scan(spoil.cut), "is cut off ... copy or download it again"),
        ("label of another shape", test_scan_label(spoil.thin), "is not on the grid of ... size"),
        ("label of an unknown value", test_scan_label(spoil.voxel(9)), "holds label 9, expected 0 (background)"),
    ),
]

_OFF_GRID = "is not on the grid of"
LABELS = table(
    COMMAND,
    "labels",
    ("folder missing", lambda p: shutil.rmtree(p.labels), "labelled/labels is not a folder, expected one with label"),
    ("folder empty", lambda p: emptied(p.labels), "holds no label map, expected files that end in .nii.gz"),
    ("one missing", lambda p: p.label.unlink(), f"has no label in ... for {CASE}; expected {CASE}.nii.gz, or move"),
    *((fault.name, label(fault.spoil), fault.says) for fault in UNREADABLE[:13]),
    ("another shape", label(spoil.thin), f"{_OFF_GRID} ... size (14, 12, 10) against (14, 12, 1); export"),
    (
        "another spacing",
        label(spoil.regrid(lambda i: i.SetSpacing((3, 3, 4)))),
        f"{_OFF_GRID} ... spacing (3, 3, 3) against (3, 3, 4) mm; export ... or give --labels-by-voxel",
    ),
    ("another direction", label(spoil.regrid(spoil.turned)), f"{_OFF_GRID} ... direction ... ; export"),
    ("another origin", label(spoil.regrid(lambda i: i.SetOrigin((50, 0, 0)))), f"{_OFF_GRID} ... origin ... ; export"),
    (
        "another origin, with --labels-by-voxel",
        label(spoil.regrid(lambda i: i.SetOrigin((50, 0, 0)))),
        "2 labelled cases",
        {"status": 0, "result": "taken voxel by voxel", "right": is_made, "options": {"--labels-by-voxel": ""}},
    ),
    ("an unknown value", label(spoil.voxel(7)), "holds label 7, expected 0 (background), 1 (organ); correct the file"),
    ("a negative value", label(spoil.voxel(-1, np.int16)), "holds label -1, expected 0 (background), 1 (organ)"),
    ("a value above 255", label(spoil.voxel(300, np.int16)), "holds label 300, expected 0 (background), 1 (organ)"),
    ("a value of one half", label(spoil.voxel(0.5)), "holds values that are not whole numbers, expected a label map"),
    ("NaN", label(spoil.voxel(np.nan)), "holds 1 voxels that are NaN or infinite"),
    (
        "whole numbers stored as float",
        label(spoil.voxel(1.0)),
        "2 labelled",
        {"status": 0, "result": "read as a label map", "right": is_made},
    ),
    ("only background", label(spoil.change(np.zeros_like)), f"{CASE}.nii.gz: the label holds no foreground; expected"),
    (
        "too few slices for the strategy",
        label(only(5)),
        "foreground on too few axial slices; expected 3 slices",
        {"options": {"--simulate": "AAA"}},
    ),
    (
        "slices where a dense label is expected",
        painted(),
        "2 labelled",
        {"status": 0, "result": "taken for dense: slices are cut out of what is painted", "right": is_made},
    ),
)

PAINTED = table(
    COMMAND,
    "painted slices",
    (
        "three slices, 255 elsewhere",
        painted(value=255),
        "2 labelled cases with 6 annotated slices",
        {**REAL, "status": 0, "result": "the planes without 255 are the annotated ones", "right": is_made},
    ),
    ("nothing painted", painted(spoil.change(np.zeros_like)), "has no painted voxel; give --planes FILE", REAL),
    (
        "every voxel marked as not annotated",
        painted(spoil.change(lambda array: np.full_like(array, 255)), 255),
        "has value 255 (not annotated) on every plane, expected whole annotated planes; paint",
        REAL,
    ),
    (
        "background of a slice not painted, 255 elsewhere",
        painted(spoil.change(lambda array: np.where(array == 0, 255, array).astype(np.uint8)), 255),
        "has value 255 (not annotated) on every plane, expected whole annotated planes; paint",
        REAL,
    ),
    (
        "a dense label",
        label(spoil.change(solid)),
        "looks densely labelled, expected painted slices; give --planes FILE",
        REAL,
    ),
    (
        "a dense label with a few voxels of 255",
        label(spoil.voxel(255, np.uint8)),
        "looks densely labelled, expected painted slices: only 1 of its 1680 voxels have value 255 (not annotated); "
        "replace ... and give --simulate SCA, or list the annotated planes in --planes FILE",
        REAL,
    ),
    (
        "a diagonal plane",
        painted(spoil.change(diagonal)),
        "does not say which planes were annotated ... give --planes FILE",
        REAL,
    ),
    (
        "thin lines that many planes may have left",
        painted(spoil.change(grid_of_lines)),
        "does not say which planes were annotated ... give --planes FILE",
        REAL,
    ),
    (
        "a stray voxel off the planes, 255 elsewhere",
        painted(spoil.voxel(1, np.uint8), 255),
        "1 painted voxels off the whole planes without value 255, the first at (x, y, z) = (4, 3, 2); erase them",
        REAL,
    ),
    (
        "200 planes listed",
        two_hundred_planes,
        "1 labelled cases with 200 annotated slices",
        {
            "options": {"--simulate": None, "--planes": "{inputs}/planes.csv"},
            "status": 0,
            "result": "a label is propagated from each",
            "right": has_200_slices,
            "slow": True,
        },
    ),
    (
        "200 planes not listed",
        two_hundred_planes,
        "does not say which planes were annotated",
        REAL,
    ),
)

MAKE_VOLUMES = [*IMAGES, *OTHER_SCANS, *LABELS, *PAINTED]
