"""Annotated slices are cut where cases.json says, with one grey range per volume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.slices import (
    LabelledPlane,
    foreground_classes,
    grey_range,
    labelled_planes,
    slice_keys,
)
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile, RadaFolder

OPTIONS = EmbeddingOptions()


def planes_of(dataset: Path, options: EmbeddingOptions = OPTIONS) -> dict[tuple[str, str], LabelledPlane]:
    """Cut all slices of a dataset."""
    cases_file = CasesFile.load(RadaFolder(root=dataset / "rada"))
    return {(plane.case, plane.key): plane for plane in labelled_planes(dataset, cases_file, options)}


def test_slices_are_the_annotated_planes_of_image_and_label(dataset: Path) -> None:
    """Pixels equal those of the volume at (axis, index)."""
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / "imagesTr" / "a_0000.nii.gz")))
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / "labelsTr" / "a.nii.gz")))
    plane = planes_of(dataset)["a", "coronal"]
    np.testing.assert_array_equal(plane.image, image[:, 14])
    np.testing.assert_array_equal(plane.label, label[:, 14])


def test_pixel_sizes_are_those_of_the_plane(dataset: Path) -> None:
    """Spacing is 3 mm along z, 1 mm along y and x."""
    planes = planes_of(dataset)
    assert planes["a", "axial"].pixel_mm == (1.0, 1.0)
    assert planes["a", "sagittal"].pixel_mm == (3.0, 1.0)


def test_all_slices_of_a_case_share_one_grey_range(dataset: Path) -> None:
    """The range is the volume's, not the slice's."""
    planes = planes_of(dataset)
    assert len({plane.grey_range for (case, _), plane in planes.items() if case == "a"}) == 1


def test_the_grey_range_of_ct_is_its_window() -> None:
    """W400 L40 in Hounsfield units, whatever the volume holds."""
    volume = np.array([-1000.0, 3000.0])
    assert grey_range(volume, "CT", (400.0, 40.0)) == (-160.0, 240.0)


def test_the_grey_range_of_mr_ignores_outliers() -> None:
    """A few hot voxels do not make the rest black."""
    volume = np.linspace(0, 100, 10_001)
    volume[-3:] = 1e6
    low, high = grey_range(volume, "MR", (400.0, 40.0))
    assert (round(low, 1), round(high, 1)) == (0.5, 99.5)


def test_the_largest_slice_of_a_view_has_the_plain_key() -> None:
    """The others are numbered by area."""
    slices = tuple(
        AnnotatedSlice(view=view, axis=axis, index=index, area=area)
        for view, axis, index, area in [
            ("axial", 0, 3, 5),
            ("axial", 0, 9, 8),
            ("axial", 0, 1, 5),
            ("coronal", 1, 2, 1),
        ]
    )
    keys = slice_keys(Case(labelled=True, shape=(9, 9, 9), sagittal_axis=2, slices=slices))
    assert [(key, where.index) for key, where in keys] == [
        ("axial", 9),
        ("axial.1", 1),
        ("axial.2", 3),
        ("coronal", 2),
    ]


def test_classes_are_ordered_by_value_without_background_and_ignore(dataset: Path) -> None:
    """Rows of embeddings follow label values, not the order in the file."""
    cases_file = CasesFile.load(RadaFolder(root=dataset / "rada"))
    shuffled = replace(cases_file, classes={"ignore": 3, "anterior": 2, "background": 0, "posterior": 1})
    assert list(foreground_classes(shuffled).items()) == [("posterior", 1), ("anterior", 2)]


def test_an_unknown_channel_is_refused(dataset: Path) -> None:
    """The message names the file that it would be in, and the option."""
    with pytest.raises(UserError, match=r"a_0001\.nii\.gz not found; check --encoder-channel 1"):
        planes_of(dataset, EmbeddingOptions(encoder_channel=1))


def test_a_volume_of_another_shape_is_refused(dataset: Path) -> None:
    """An image that was replaced after the dataset was made does not give wrong slices."""
    image = sitk.GetImageFromArray(np.zeros((5, 6, 7), np.float32))
    sitk.WriteImage(image, str(dataset / "imagesTr" / "a_0000.nii.gz"))
    with pytest.raises(UserError, match=r"shape \[5, 6, 7\]"):
        planes_of(dataset)


@pytest.mark.parametrize("name", ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"])
def test_a_damaged_volume_is_refused(dataset: Path, name: str) -> None:
    """The file is named."""
    file = dataset / name
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match=f"{file.name} (is cut off|cannot be read)"):
        planes_of(dataset)


def test_a_case_without_files_is_refused(dataset: Path) -> None:
    """A label that was deleted is missed by name."""
    (dataset / "imagesTr" / "b_0000.nii.gz").unlink()
    (dataset / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(UserError, match=r"b_0000\.nii\.gz not found"):
        planes_of(dataset)


@pytest.mark.parametrize("content", [None, "{"])
def test_a_dataset_json_that_is_missing_or_damaged_is_refused(dataset: Path, content: str | None) -> None:
    """Both name the file."""
    file = dataset / "dataset.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json"):
        planes_of(dataset)


def test_a_volume_with_nan_is_refused(dataset: Path) -> None:
    """NaN would make every embedding of the case NaN. (As NRRD: ITK reads NaN in a NIfTI file as 0.)"""
    for file in [*dataset.glob("imagesTr/*"), *dataset.glob("labelsTr/*")]:
        volume = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        if volume.dtype == np.float32:
            volume[0, 0, 0] = np.nan
        sitk.WriteImage(sitk.GetImageFromArray(volume), str(file).replace(".nii.gz", ".nrrd"))
    description = dataset / "dataset.json"
    description.write_text(description.read_text().replace(".nii.gz", ".nrrd"))
    with pytest.raises(UserError, match="NaN or infinite"):
        planes_of(dataset)
