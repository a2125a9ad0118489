"""Tests of pairing input files into cases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from sparse_annotation_tools.dataset.sources import check_distinct, labelled_cases, unlabelled_cases
from sparse_annotation_tools.errors import UserError


def folder_with(folder: Path, names: Iterable[str]) -> Path:
    """Make a folder with empty files."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_channels_are_grouped_and_other_files_left_out(tmp_path: Path) -> None:
    """Every supported format, with or without a channel number; hidden and foreign files are no cases."""
    names = ["b_0001.nii.gz", "b_0000.nii.gz", "a.nrrd", "c.v2_0000.mha", "d-1.nii", ".hidden.nii.gz", "notes.txt"]
    found = unlabelled_cases(folder_with(tmp_path / "images", names), option="--unlabelled")
    assert {files.case: [path.name for path in files.images] for files in found} == {
        "a": ["a.nrrd"],
        "b": ["b_0000.nii.gz", "b_0001.nii.gz"],
        "c.v2": ["c.v2_0000.mha"],
        "d-1": ["d-1.nii"],
    }


def test_labels_are_paired_with_images(tmp_path: Path) -> None:
    """Label maps may be in another format than the images, Slicer's included."""
    images = folder_with(tmp_path / "images", ["a_0000.nii.gz", "b_0000.nii.gz"])
    labels = folder_with(tmp_path / "labels", ["b.seg.nrrd", "a.mha"])
    cases = labelled_cases(images, labels, options=("--images", "--labels"))
    assert [(files.case, files.label and files.label.name) for files in cases] == [("a", "a.mha"), ("b", "b.seg.nrrd")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no image"),
        (["a_0001.nii.gz", "a_0002.nii.gz"], "read as image channels of case a"),
        (["a_0000.nii.gz", "a.nii.gz"], "both channel 0 of case a"),
        (["a_0000.nii.gz", "a_0000.nrrd"], "both channel 0 of case a"),
        (["heart_seg_0000.nii.gz"], "ends in _seg"),
        (["a b_0000.nii.gz"], "odd characters"),
        (["Käse_0000.nii.gz"], "odd characters"),
        (["-a_0000.nii.gz"], "odd characters"),
    ],
)
def test_names_that_would_be_lost_or_confused_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """nnU-Net drops cases called _seg and reads four digits as a channel."""
    with pytest.raises(UserError, match=message):
        unlabelled_cases(folder_with(tmp_path / "images", names), option="--images")


def test_partners_must_exist(tmp_path: Path) -> None:
    """An image without a label and a label without an image are named, with the file that was expected."""
    images = folder_with(tmp_path / "images", ["a_0000.nii.gz", "b_0000.nii.gz"])
    one = folder_with(tmp_path / "one", ["a.nii.gz"])
    three = folder_with(tmp_path / "three", ["a.nii.gz", "b.nii.gz", "c.nii.gz"])
    options = ("--images", "--labels")
    with pytest.raises(UserError, match=r"no label .* for b; expected b\.nii\.gz"):
        labelled_cases(images, one, options=options)
    with pytest.raises(UserError, match=r"without an image .* for c; expected c_0000\.nii\.gz"):
        labelled_cases(images, three, options=options)
    with pytest.raises(UserError, match="not a folder"):
        labelled_cases(tmp_path / "nowhere", one, options=options)


def test_a_case_in_two_groups_is_refused(tmp_path: Path) -> None:
    """Labelled, unlabelled and test cases share one space of names."""
    images = folder_with(tmp_path / "images", ["a_0000.nii.gz"])
    more = folder_with(tmp_path / "more", ["a.nrrd", "b.nrrd"])
    groups = {option: unlabelled_cases(path, option=option) for option, path in (("--images", images), ("--x", more))}
    with pytest.raises(UserError, match="case a is in both --images and --x"):
        check_distinct(groups)
