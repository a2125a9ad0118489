"""Tests of what the tool says to unfit input: one line, the file, what was expected; and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import CasesFile

FIRST = "phantom_labelled_00"
Make = Callable[..., CasesFile]


@dataclass(frozen=True)
class Input:
    """The phantoms' folder, and ways to spoil it."""

    folder: Path

    @property
    def image(self) -> Path:
        """The first labelled image."""
        return self.folder / "labelled" / "images" / f"{FIRST}_0000.nii.gz"

    @property
    def label(self) -> Path:
        """The first label map."""
        return self.folder / "labelled" / "labels" / f"{FIRST}.nii.gz"

    def change(self, path: Path, how: Callable[[NDArray[Any]], NDArray[Any]], **geometry: Any) -> None:
        """Write a file anew with other voxels or another grid."""
        old = sitk.ReadImage(str(path))
        new = sitk.GetImageFromArray(how(sitk.GetArrayFromImage(old)))
        if new.GetSize() == old.GetSize():
            new.CopyInformation(old)
        for name, value in geometry.items():
            getattr(new, f"Set{name.title()}")(value)
        sitk.WriteImage(new, str(path))


def label_on_another_grid(given: Input) -> None:
    """Cut a slice off the label map."""
    given.change(given.label, lambda array: array[:-1])


def label_elsewhere(given: Input) -> None:
    """Move the label map by a few voxels."""
    given.change(given.label, lambda array: array, origin=(100.0, 0.0, 0.0))


def unknown_value(given: Input) -> None:
    """Paint a class that has no name."""
    given.change(given.label, lambda array: np.where(array == 1, 5, array).astype(np.uint8))


def negative_value(given: Input) -> None:
    """Paint a negative class."""
    given.change(given.label, lambda array: np.where(array == 1, -1, array.astype(np.int16)))


def fractions(given: Input) -> None:
    """Interpolate a label map, as a wrong resampling does."""
    given.change(given.label, lambda array: array.astype(np.float32) * 0.5)


def empty_label(given: Input) -> None:
    """Erase all foreground."""
    given.change(given.label, np.zeros_like)


def constant_image(given: Input) -> None:
    """Export an image as nothing but zeros."""
    given.change(given.image, np.zeros_like)


def single_slice(given: Input) -> None:
    """Give a 2-D image as a volume of one slice."""
    given.change(given.image, lambda array: array[:1])
    given.change(given.label, lambda array: array[:1])


def ambiguous_direction(given: Input) -> None:
    """Tilt the grid so far that two axes are nearest to head-feet."""
    sine, cosine = np.sin(np.radians(40)), np.cos(np.radians(40))
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    about_y = np.array([[np.cos(0.52), 0, np.sin(0.52)], [0, 1, 0], [-np.sin(0.52), 0, np.cos(0.52)]])
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    for path in (given.image, given.label):
        given.change(path, lambda array: array, direction=(about_z @ about_y @ about_x).ravel().tolist())


def one_channel_more(given: Input) -> None:
    """Add a second channel to one case only."""
    path = given.image.with_name(given.image.name.replace("_0000", "_0001"))
    path.write_bytes(given.image.read_bytes())


def channel_on_another_grid(given: Input) -> None:
    """Add a second channel to every case; one has another spacing."""
    for path in [*given.folder.rglob("*_0000.nii.gz")]:
        path.with_name(path.name.replace("_0000", "_0001")).write_bytes(path.read_bytes())
    second = given.image.with_name(given.image.name.replace("_0000", "_0001"))
    given.change(second, lambda array: array, spacing=(1.0, 1.0, 1.0))


def unreadable_image(given: Input) -> None:
    """Replace an image by a text file."""
    given.image.write_text("moved to the archive")


def unlabelled_twice(given: Input) -> None:
    """Put a labelled image among the unlabelled ones as well."""
    (given.folder / "unlabelled" / "images" / given.image.name).write_bytes(given.image.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (label_on_another_grid, r"is not on the grid of .*: size .*reference"),
        (label_elsewhere, r"is not on the grid of .*: origin"),
        (unknown_value, r"holds label 5, expected 0 \(background\), 1 \(lobed_organ\), 2 \(bean_organ\)"),
        (negative_value, r"holds label -1, expected"),
        (fractions, r"not whole numbers"),
        (empty_label, r"no foreground.*--unlabelled"),
        (constant_image, r"same value in every voxel"),
        (single_slice, r"x1 voxels, expected a volume"),
        (ambiguous_direction, r"_0000\.nii\.gz: direction .* one to one"),
        (one_channel_more, r"different numbers of image channels: 1 \(.*\) and 2 \(phantom_labelled_00\)"),
        (channel_on_another_grid, r"are on different grids: spacing"),
        (unreadable_image, r"is cut off or no NIfTI file"),
        (unlabelled_twice, r"case phantom_labelled_00 is in both --images and --unlabelled"),
    ],
)
def test_unfit_input_is_refused_before_anything_is_written(
    phantoms: Path, request_for: Any, make_quickly: Make, spoil: Callable[[Input], None], message: str
) -> None:
    """Each with one line that says what to do."""
    spoil(Input(phantoms))
    request = request_for(phantoms)
    with pytest.raises(UserError, match=message) as caught:
        make_quickly(request)
    assert "\n" not in str(caught.value)
    assert not request.folder.exists()


def test_all_cases_are_checked_before_the_first_mistake_is_reported(
    phantoms: Path, request_for: Any, make_quickly: Make
) -> None:
    """So that a hundred mistakes do not take a hundred runs to count."""
    for path in (phantoms / "labelled" / "labels").iterdir():
        Input(phantoms).change(path, np.zeros_like)
    with pytest.raises(UserError, match=r"phantom_labelled_00.*\(and 2 more cases have errors\)"):
        make_quickly(request_for(phantoms))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_names": ("a", "a")}, "label-names a a is unfit"),
        ({"label_names": ("background", "a")}, "unfit"),
        ({"label_names": ("a", "ignore")}, "unfit"),
        ({"label_names": ("a", "b", "c")}, "class c \\(value 3\\) is on no annotated slice"),
        ({"simulate": None, "not_annotated": 2}, "not-annotated 2 is the value of a class"),
        ({"test_images": None}, "--test-labels needs the images"),
        ({"modality": "CT", "preprocessed": None}, "type: export nnUNet_preprocessed=FOLDER"),
        ({"simulate": "SCX"}, "no slice strategy"),
        ({"images": Path("nowhere")}, "nowhere is not a folder"),
    ],
)
def test_unfit_requests_are_refused(
    phantoms: Path, request_for: Any, make_quickly: Make, change: dict[str, Any], message: str
) -> None:
    """With the option that is to be changed."""
    request = request_for(phantoms, **change)
    with pytest.raises(UserError, match=message):
        make_quickly(request)
    assert not request.folder.exists()


def test_planes_are_for_labelled_cases_and_for_real_annotations(
    phantoms: Path, request_for: Any, make_quickly: Make, tmp_path: Path
) -> None:
    """A list of planes contradicts --simulate, and must not name cases that are not there."""
    path = tmp_path / "planes.csv"
    path.write_text("case,view,index\nsomebody,axial,3\n")
    with pytest.raises(UserError, match=r"leave out --planes, or --simulate"):
        make_quickly(request_for(phantoms, planes_file=path))
    with pytest.raises(UserError, match=r"lists case somebody, which is not a labelled case"):
        make_quickly(request_for(phantoms, planes_file=path, simulate=None))


@pytest.mark.parametrize("where", ["raw", "preprocessed"])
def test_a_dataset_number_that_is_taken_is_refused(
    phantoms: Path, request_for: Any, make_quickly: Make, where: str
) -> None:
    """Two datasets of one number stop every nnU-Net command, wherever the other one lies."""
    request = request_for(phantoms, overwrite=True)
    (getattr(request, where) / "Dataset101_Liver").mkdir(parents=True)
    with pytest.raises(UserError, match=r"number 101 is taken by .*Dataset101_Liver; give another -d, or -n Liver"):
        make_quickly(request)
