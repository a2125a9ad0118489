"""Tests of telling what has been drawn on a scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry, read_volume
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.slices.drawing import Drawing, read_drawing
from sparse_annotation_tools.slices.planes import on_plane

AXES = {"sagittal": 2, "coronal": 1, "axial": 0}
LABEL = make_phantom(0, shape=(24, 32, 36), classes=2).label
PLANES = [(0, 12), (1, 16), (2, 18)]

Read = Callable[..., Drawing]


@pytest.fixture
def read(tmp_path: Path, write_volume: Callable[..., Path]) -> Read:
    """Write an array as a label map and read it as a drawing."""

    def read(array: np.ndarray, listed: list[tuple[str, int]] | None = None) -> Drawing:
        path = write_volume(tmp_path / "a.nii.gz", array.astype(np.uint8))
        geometry = read_volume(path).geometry
        return read_drawing(path, geometry, AXES, not_annotated=255, listed=listed)

    return read


def sparse(fill: int) -> np.ndarray:
    """The label on `PLANES`, `fill` elsewhere."""
    array = np.full(LABEL.shape, fill, np.uint8)
    for plane in PLANES:
        array[on_plane(plane)] = LABEL[on_plane(plane)]
    return array


@pytest.mark.parametrize("fill", [0, 255])
def test_painted_slices_are_found(read: Read, fill: int) -> None:
    """With or without a mark on what nobody annotated; nothing is known off them."""
    drawing = read(sparse(fill))
    assert drawing.planes == tuple(PLANES)
    assert drawing.dense is None
    np.testing.assert_array_equal(drawing.annotation >= 0, sparse(255) != 255)


def test_a_listed_slice_without_paint_is_drawn_background(read: Read) -> None:
    """An empty slice is information, and known only from the list."""
    listed = [("axial", 12), ("axial", 0), ("coronal", 16), ("sagittal", 18)]
    drawing = read(sparse(0), listed)
    assert drawing.planes == ((0, 0), (0, 12), (1, 16), (2, 18))
    assert (drawing.annotation[0] == 0).all()


def test_a_dense_label_is_told_from_slices(read: Read) -> None:
    """It counts as a whole; of it, only listed slices count as drawn."""
    drawing = read(LABEL)
    assert drawing.planes == ()
    assert drawing.dense is not None
    np.testing.assert_array_equal(drawing.dense, LABEL)
    listed = read(LABEL, [("axial", 12)])
    assert listed.planes == ((0, 12),)
    assert listed.dense is not None
    assert (listed.annotation[11] == -1).all()


@pytest.mark.parametrize("fill", [0, 255])
def test_nothing_drawn_is_not_an_error(read: Read, fill: int) -> None:
    """An untouched label map, or an unlabelled case of a dataset."""
    drawing = read(np.full(LABEL.shape, fill))
    assert drawing.planes == ()
    assert drawing.dense is None
    assert (drawing.annotation == -1).all()


def test_unfit_label_maps_are_refused(tmp_path: Path, write_volume: Callable[..., Path], read: Read) -> None:
    """Another grid than the scan's, paint off the listed planes, planes outside the scan."""
    grid = Geometry(size=(5, 5, 5), spacing=(1, 1, 1), origin=(0, 0, 0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    path = write_volume(tmp_path / "b.nii.gz", LABEL)
    with pytest.raises(UserError, match="is not on the grid of its scan"):
        read_drawing(path, grid, AXES, not_annotated=255, listed=None)
    with pytest.raises(UserError, match="painted voxels off the planes listed"):
        read(sparse(0), [("axial", 12)])
    with pytest.raises(UserError, match="axial slices 0 to 23"):
        read(sparse(0), [("axial", 24)])
