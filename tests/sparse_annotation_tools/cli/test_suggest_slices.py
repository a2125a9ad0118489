"""Tests of the command `rada-suggest-slices`, up to the dataset that is made of its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.cli.suggest_slices import main
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.slices.planes import on_plane

SHAPE, SPACING_MM = (12, 16, 20), (3.0, 2.0, 2.0)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two phantoms."""
    write_phantom_set(tmp_path / "set", labelled=2, unlabelled=0, test=0, shape=SHAPE, spacing_mm=SPACING_MM)
    return tmp_path / "set" / "labelled"


def paint(output: Path, truth: Path, axes: dict[str, int]) -> None:
    """Do what a person does in ITK-SNAP: load each label map, paint the listed slices, save."""
    lines = (output / "planes.csv").read_text().splitlines()[1:]
    for path in (output / "labels").iterdir():
        label = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(label)
        dense = sitk.GetArrayFromImage(sitk.ReadImage(str(truth / path.name)))
        for case, view, index, *_ in (line.split(",") for line in lines):
            if path.name == f"{case}.nii.gz":
                where = on_plane((axes[view], int(index)))
                array[where] = dense[where]
        painted = sitk.GetImageFromArray(array)
        painted.CopyInformation(label)
        sitk.WriteImage(painted, str(path))


def test_suggested_slices_are_painted_and_become_a_dataset_and_the_next_slice_follows(
    tmp_path: Path,
    scans: Path,
    nnunet_folders: Any,
    make_quickly: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole loop: first slices, painting (one is empty), dataset, next slice, painting, dataset."""
    axes = {"sagittal": 2, "coronal": 1, "axial": 0}
    first = tmp_path / "first"
    assert main(["-i", str(scans / "images"), "-o", str(first), "-np", "1"]) == 0
    assert "first slices, through the centre of the image's edges: 6 slices" in capsys.readouterr().out

    # One of the suggested slices misses the organ.
    planes = first / "planes.csv"
    lines = planes.read_text().splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("phantom_labelled_00,axial"))
    lines[row] = "phantom_labelled_00,axial,0,suggested,0,,"
    planes.write_text("\n".join(lines) + "\n")
    paint(first, scans / "labels", axes)
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(first / "labels" / "phantom_labelled_00.nii.gz")))[0].any()

    warnings: list[str] = []

    def make(folder: Path, name: str) -> Any:
        return make_quickly(
            DatasetRequest(
                raw=nnunet_folders.raw,
                dataset=name,
                images=scans / "images",
                labels=folder / "labels",
                label_names=("organ",),
                planes_file=folder / "planes.csv",
            ),
            warnings,
        )

    made = make(first, "Dataset101_First")
    assert any(line.startswith("phantom_labelled_00: nothing is painted on axial 0") for line in warnings)
    slices = made.cases["phantom_labelled_00"].slices
    assert {(each.view, each.index) for each in slices if not each.area} == {("axial", 0)}
    label = sitk.GetArrayFromImage(
        sitk.ReadImage(str(nnunet_folders.raw / "Dataset101_First" / "labelsTr" / "phantom_labelled_00.nii.gz"))
    )
    assert (label[0] == 0).all()
    assert (label[1] == 2).any()

    second = tmp_path / "second"
    known = ["--labels", str(first / "labels"), "--planes", str(planes)]
    assert main(["-i", str(scans / "images"), "-o", str(second), *known, "-np", "1"]) == 0
    assert "largest area between drawn slices: 2 slices" in capsys.readouterr().out
    paint(second, scans / "labels", axes)
    again = make(second, "Dataset102_Second")
    for case, record in again.cases.items():
        assert len(record.slices) == 4
        assert {(s.axis, s.index, s.area) for s in made.cases[case].slices} < {
            (s.axis, s.index, s.area) for s in record.slices
        }


def test_a_mistake_ends_in_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    assert main(["-i", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rada-suggest-slices: error: -i ")
    assert error.count("\n") == 1
    assert main(["-i", str(tmp_path), "-o", str(tmp_path / "out"), "-np", "0"]) == 2


def test_the_list_shows_the_best_slices_of_all_scans_first(tmp_path: Path, scans: Path) -> None:
    """A budget of a few slices goes where it is worth most."""
    from sparse_annotation_tools.cli.suggest_slices import _report
    from sparse_annotation_tools.suggestion.files import ListedSlice, Record

    def record(case: str, score: float) -> Record:
        listed = ListedSlice(
            view="axial", axis=0, index=3, state="suggested", score=score, ras_mm="S 1.0", itk_snap="z 4"
        )
        return Record(case=case, made_from="", rule="rule", slices=(listed,))

    text = _report([record("low", 5), record("high", 50)], ["other"], Path("images"), tmp_path)
    assert text.index("high axial 3") < text.index("low axial 3")
    assert "1 scans of images have no label map or prediction" in text
    assert np.all([name in text for name in ("planes.csv", "pictures", "labels", "rada-make-sparse-dataset")])
