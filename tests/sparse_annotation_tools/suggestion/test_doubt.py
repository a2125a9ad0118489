"""Tests of how sure predictions are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry, read_volume
from sparse_annotation_tools.suggestion.doubt import predicted_cases, read_prediction

SHAPE = (4, 5, 6)
GRID = Geometry(size=(6, 5, 4), spacing=(1, 1, 1), origin=(0, 0, 0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
Predict = Callable[..., Path]


def softmax(seed: int, classes: int = 3) -> Any:
    """Random probabilities [classes, z, y, x]."""
    values = np.exp(2 * np.random.default_rng(seed).normal(size=(classes, *SHAPE)))
    return (values / values.sum(axis=0)).astype(np.float16)


@pytest.fixture
def predict(tmp_path: Path) -> Predict:
    """Write a folder of one prediction as nnUNetv2_predict does; return the folder."""

    def write(name: str, probabilities: Any, *, saved: bool = True, case: str = "a") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        label = sitk.GetImageFromArray(probabilities.argmax(axis=0).astype(np.uint8))
        sitk.WriteImage(label, str(folder / f"{case}.nii.gz"))
        if saved:
            np.savez_compressed(folder / f"{case}.npz", probabilities=probabilities)
        (folder / "dataset.json").write_text("{}")
        return folder

    return write


def test_probabilities_say_how_probable_an_error_is(predict: Predict) -> None:
    """1 - the largest one, but 0 where that is less than 1 %."""
    probabilities = softmax(0)
    found = read_prediction("a", [predict("p", probabilities)], GRID)
    doubt = 1 - probabilities.astype(np.float32).max(axis=0)
    assert ((doubt > 0) & (doubt < 0.01)).any()
    np.testing.assert_allclose(found.wrong, np.where(doubt < 0.01, 0, doubt), atol=2e-3)
    np.testing.assert_array_equal(found.label, probabilities.argmax(axis=0))


def test_several_label_maps_disagree_by_the_share_against_the_majority(predict: Predict) -> None:
    """Three networks: two against one says 1/3, three different classes 2/3, one opinion 0."""
    labels = np.zeros((3, *SHAPE), int)
    labels[0, 0] = 1
    labels[:, 1] = 2
    labels[:, 2] = np.arange(3).reshape(3, 1, 1)
    folders = [predict(f"net{k}", np.eye(3)[labels[k]].transpose(3, 0, 1, 2), saved=False) for k in range(3)]
    found = read_prediction("a", folders, GRID)
    for z, expected in enumerate((1 / 3, 0, 2 / 3, 0)):
        np.testing.assert_allclose(found.wrong[z], expected, atol=1e-6)
    assert (found.label[0] == 0).all()
    assert (found.label[1] == 2).all()


def test_several_networks_probabilities_are_averaged(predict: Predict) -> None:
    """Two networks that are sure of different classes are in doubt together."""
    first, second = np.zeros((2, 2, *SHAPE))
    first[0], second[1] = 1, 1
    found = read_prediction("a", [predict("p", first), predict("q", second)], GRID)
    np.testing.assert_allclose(found.wrong, 0.5)


def test_only_cases_that_every_folder_holds_are_predicted(predict: Predict) -> None:
    """A single folder needs the probabilities, several ones need the label maps."""
    for case in "ab":
        first = predict("p", softmax(0), case=case)
    second = predict("q", softmax(1), case="b", saved=False)
    assert predicted_cases([first]) == ["a", "b"]
    assert predicted_cases([first, second]) == ["b"]
    with pytest.raises(UserError, match="label maps alone, which do not say how sure they are"):
        predicted_cases([second])


def test_a_datasets_confidence_is_read(tmp_path: Path, write_volume: Callable[..., Path]) -> None:
    """255 is sure, 0 is surely wrong; the folder may be named as the dataset or as its rada folder."""
    rada = tmp_path / "Dataset101_LA" / "rada"
    confidence = np.full(SHAPE, 255, np.uint8)
    confidence[1], confidence[2] = 253, 51
    write_volume(rada / "confidence" / "a.nii.gz", confidence)
    write_volume(rada / "fused" / "a.nii.gz", np.ones(SHAPE, np.uint8))
    (rada / "cases.json").write_text("{}")
    for folder in (rada, rada.parent):
        assert predicted_cases([folder]) == ["a"]
        found = read_prediction("a", [folder], GRID)
        assert (found.wrong[:2] == 0).all()
        np.testing.assert_allclose(found.wrong[2], 0.8, atol=1e-6)
        assert (found.label == 1).all()
    with pytest.raises(UserError, match="is a dataset; give it alone"):
        predicted_cases([rada, tmp_path])


def test_unfit_probabilities_are_refused(predict: Predict, write_volume: Callable[..., Path]) -> None:
    """Another shape, turned axes, a broken file, a pickle, another grid: each names the file."""
    folder = predict("p", softmax(0))
    for broken, message in (
        ({"probabilities": softmax(0)[:, :, :, :3]}, "of shape"),
        ({"probabilities": softmax(0)[:, ::-1, ::-1, ::-1]}, "does not fit"),
        ({"other": softmax(0)}, "cannot be read"),
        ({"probabilities": np.array([object()])}, "cannot be read"),
    ):
        np.savez_compressed(folder / "a.npz", **broken)
        with pytest.raises(UserError, match=rf"a\.npz.*{message}"):
            read_prediction("a", [folder], GRID)
    (folder / "a.npz").write_bytes(b"PK broken")
    with pytest.raises(UserError, match=r"a\.npz cannot be read"):
        read_prediction("a", [folder], GRID)
    other = write_volume(folder / "b.nii.gz", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(UserError, match="is not on the grid of its scan"):
        read_prediction("a", [folder], read_volume(other).geometry)
