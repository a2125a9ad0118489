"""Label maps on disk: pairs, names of values, grids, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_maps import (
    Labels,
    Pair,
    find_labels,
    find_pairs,
    read_pair,
)


def _write(path: Path, array: Any = None, **geometry: tuple[float, ...]) -> Path:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 5, 6), dtype=np.uint8) if array is None else array)
    for what, value in geometry.items():
        getattr(image, f"Set{what}")(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def _write_dataset_json(folder: Path, labels: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def test_files_pair_up_by_case_whatever_their_format(tmp_path: Path) -> None:
    """`a.nrrd` is the prediction of `a.nii.gz`; a prediction without truth is reported, other files are passed over."""
    _write(tmp_path / "gt" / "a.nii.gz")
    _write(tmp_path / "pred" / "a.nrrd")
    _write(tmp_path / "pred" / "b.nii.gz")
    (tmp_path / "pred" / "plans.json").write_text("{}")
    pairs, extra = find_pairs(tmp_path / "gt", tmp_path / "pred")
    assert pairs == [Pair(case="a", truth=tmp_path / "gt" / "a.nii.gz", prediction=tmp_path / "pred" / "a.nrrd")]
    assert extra == ["b.nii.gz"]


def test_missing_predictions_are_named(tmp_path: Path) -> None:
    """Every case of the truth needs a prediction."""
    for name in ("a", "b", "c"):
        _write(tmp_path / "gt" / f"{name}.nii.gz")
    _write(tmp_path / "pred" / "b.nii.gz")
    with pytest.raises(UserError, match=r"lacks 2 of 3 predictions: a\.nii\.gz, c\.nii\.gz"):
        find_pairs(tmp_path / "gt", tmp_path / "pred")


def test_a_case_in_two_formats_is_refused(tmp_path: Path) -> None:
    """Nobody can tell which of two files of one case is meant."""
    _write(tmp_path / "gt" / "a.nii.gz")
    _write(tmp_path / "gt" / "a.nrrd")
    with pytest.raises(UserError, match=r"case a twice, a\.nii\.gz and a\.nrrd"):
        find_pairs(tmp_path / "gt", tmp_path / "gt")


def test_folders_without_label_maps_are_named(tmp_path: Path) -> None:
    """A folder that is not there and one without label maps are told apart."""
    with pytest.raises(UserError, match="absent is not a folder"):
        find_pairs(tmp_path / "absent", tmp_path)
    with pytest.raises(UserError, match="holds no label map"):
        find_pairs(tmp_path, tmp_path)


def test_names_come_from_the_dataset_of_the_truth(tmp_path: Path) -> None:
    """The dataset.json above labelsTs gives names, and the value of ignore; background is no class."""
    _write_dataset_json(tmp_path / "raw", {"background": 0, "atrium": 1, "aorta": 2, "ignore": 3})
    (tmp_path / "raw" / "labelsTs").mkdir()
    labels = find_labels(tmp_path / "raw" / "labelsTs", tmp_path)
    assert labels == Labels(classes={"atrium": 1, "aorta": 2}, ignore=3)


def test_names_come_from_the_predictions_otherwise(tmp_path: Path) -> None:
    """nnU-Net leaves a dataset.json beside its predictions."""
    (tmp_path / "elsewhere" / "gt").mkdir(parents=True)
    assert find_labels(tmp_path / "elsewhere" / "gt", tmp_path / "pred") == Labels()
    _write_dataset_json(tmp_path / "pred", {"background": 0, "atrium": 1})
    assert find_labels(tmp_path / "elsewhere" / "gt", tmp_path / "pred").classes == {"atrium": 1}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"labels": []}', '{"labels": 3}'])
def test_a_broken_dataset_json_is_named(tmp_path: Path, content: str) -> None:
    """Whatever is wrong inside, the error says which file and what else to give."""
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json has no readable labels.*--labels"):
        find_labels(tmp_path, tmp_path)


def test_regions_are_refused(tmp_path: Path) -> None:
    """Region-based labels overlap, which one label map cannot say."""
    _write_dataset_json(tmp_path, {"background": 0, "whole": [1, 2], "core": 2})
    with pytest.raises(UserError, match=r"region-based labels \(whole\)"):
        find_labels(tmp_path, tmp_path)


QUARTER_TURN = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"Spacing": (1.0, 1.0, 2.0)}, "spacing"),
        ({"Origin": (0.0, 3.0, 0.0)}, "origin"),
        ({"Direction": QUARTER_TURN}, "direction"),
    ],
)
def test_another_grid_is_refused_and_named(
    tmp_path: Path, geometry: dict[str, tuple[float, ...]], message: str
) -> None:
    """Voxels that lie elsewhere cannot be compared, even where the sizes agree."""
    pair = Pair(
        case="a",
        truth=_write(tmp_path / "gt" / "a.nii.gz", np.zeros((5, 5, 5), dtype=np.uint8)),
        prediction=_write(tmp_path / "pred" / "a.nii.gz", np.zeros((5, 5, 5), dtype=np.uint8), **geometry),
    )
    with pytest.raises(UserError, match=rf"another grid than .*{message}") as refused:
        read_pair(pair, Labels())
    assert str(pair.prediction) in str(refused.value)


def test_another_size_is_refused_and_named(tmp_path: Path) -> None:
    """The error gives both sizes."""
    truth = _write(tmp_path / "a.nii.gz")
    prediction = _write(tmp_path / "b.nii.gz", np.zeros((4, 5, 7), dtype=np.uint8))
    with pytest.raises(UserError, match=r"b\.nii\.gz .* size \(7, 5, 4\) against \(6, 5, 4\)"):
        read_pair(Pair(case="a", truth=truth, prediction=prediction), Labels())


def test_whole_numbers_in_a_float_file_are_labels(tmp_path: Path) -> None:
    """Some tools write labels as floats; spacing comes in the order of the array's axes."""
    array = np.zeros((4, 5, 6), dtype=np.float32)
    array[1] = 2
    path = _write(tmp_path / "a.nii.gz", array, Spacing=(1.0, 2.0, 3.0))
    truth, prediction, spacing_mm = read_pair(Pair(case="a", truth=path, prediction=path), Labels())
    for label_map in (truth, prediction):
        assert np.issubdtype(label_map.dtype, np.integer)
        np.testing.assert_array_equal(label_map, array)
    assert spacing_mm == (3.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "not whole numbers"),
        (-1.0, "below 0 or above"),
        (1e9, "below 0 or above"),
        (2.0, r"label 2, expected 0 \(background\), 1 \(atrium\)"),
        (3.0, "label 3"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, value: float, message: str) -> None:
    """Probabilities, negative and unknown values, and an ignore value in a prediction, name their file."""
    truth = _write(tmp_path / "truth.nii.gz")
    prediction = _write(tmp_path / "a.nii.gz", np.full((4, 5, 6), value, dtype=np.float32))
    with pytest.raises(UserError, match=rf"a\.nii\.gz holds.*{message}"):
        read_pair(Pair(case="a", truth=truth, prediction=prediction), Labels(classes={"atrium": 1}, ignore=3))


def test_only_the_truth_may_ignore(tmp_path: Path) -> None:
    """The ignore value is accepted where it is expected."""
    truth = _write(tmp_path / "a.nii.gz", np.full((4, 5, 6), 3, dtype=np.uint8))
    pair = Pair(case="a", truth=truth, prediction=_write(tmp_path / "b.nii.gz"))
    assert (read_pair(pair, Labels(classes={"atrium": 1}, ignore=3))[0] == 3).all()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    """A file that was cut off is refused, not read as background."""
    whole = _write(tmp_path / f"whole{suffix}", np.random.default_rng(0).integers(1, 3, (30, 30, 30)).astype(np.uint8))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=rf"cut{suffix} "):
        read_pair(Pair(case="a", truth=whole, prediction=cut), Labels())
