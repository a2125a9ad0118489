"""Tests of reading 3D Slicer's segmentations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.slicer import read_segmentation
from sparse_annotation_tools.files.volumes import Geometry, read_volume

CLASSES = {"left_atrium": 1, "wall": 2}
SHAPE = (10, 12, 14)
SPACING = (1.5, 1.0, 2.0)
# Slicer writes LPS axes; image axis x points to the back, y to the right, z to the head.
AXES = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=float)
ORIGIN = np.array([10.0, -20.0, 30.0])


@pytest.fixture
def grid(tmp_path: Path, write_volume: Callable[..., Path]) -> Geometry:
    """The grid of the image that was segmented."""
    array = np.zeros(SHAPE, np.int16)
    path = write_volume(
        tmp_path / "image.nrrd", array, spacing=SPACING, origin=ORIGIN.tolist(), direction=AXES.ravel().tolist()
    )
    return read_volume(path).geometry


def write_segmentation(
    path: Path,
    layers: list[NDArray[np.uint8]],
    segments: list[tuple[str, int, int]],
    *,
    corner_xyz: tuple[float, float, float] = (0, 0, 0),
) -> Path:
    """Write a file as Slicer does: several layers as a list axis, then the box of voxels that starts at `corner_xyz`.

    `segments` are (name, layer, label value).
    """
    steps = AXES * np.array(SPACING)
    origin = ORIGIN + steps @ np.array(corner_xyz)
    vectors = " ".join("({})".format(",".join(str(value) for value in step)) for step in steps.T)
    z, y, x = layers[0].shape
    several = len(layers) > 1
    header: list[str] = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {3 + several}",
        "space: left-posterior-superior",
        f"sizes: {f'{len(layers)} ' if several else ''}{x} {y} {z}",
        f"space directions: {'none ' if several else ''}{vectors}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(str(value) for value in origin)})",
    ]
    for number, (name, layer, value) in enumerate(segments):
        for key, text in (("ID", f"Segment_{number}"), ("LabelValue", value), ("Layer", layer), ("Name", name)):
            header.append(f"Segment{number}_{key}:={text}")
    data = np.stack(layers, axis=-1) if several else layers[0]
    path.write_bytes(("\n".join(header) + "\n\n").encode() + data.tobytes())
    return path


def box(value: Any) -> NDArray[np.uint8]:
    """Return a box of 3x4x5 voxels with a corner cut off, so that no symmetry hides an error."""
    array = np.full((3, 4, 5), value, np.uint8)
    array[0, 0, 0] = 0
    return array


def test_the_box_of_voxels_is_put_where_it_was_drawn(tmp_path: Path, grid: Geometry) -> None:
    """The file holds only the voxels around the segments."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(1)], [("left_atrium", 0, 1)], corner_xyz=(2, 3, 4))
    label = read_segmentation(path, grid, CLASSES)
    expected = np.zeros(SHAPE)
    expected[4:7, 3:7, 2:7] = box(1)
    np.testing.assert_array_equal(label, expected)


def test_a_box_larger_than_the_image_is_fine_while_its_margin_is_empty(tmp_path: Path, grid: Geometry) -> None:
    """A segmentation may have been made on a larger reference."""
    larger = np.pad(np.ones(SHAPE, np.uint8), 2)
    larger[:3] = larger[-3:] = larger[:, :3] = larger[:, -3:] = larger[:, :, :3] = larger[:, :, -3:] = 0
    path = write_segmentation(tmp_path / "a.seg.nrrd", [larger], [("x", 0, 1)], corner_xyz=(-2, -2, -2))
    np.testing.assert_array_equal(read_segmentation(path, grid, CLASSES), larger[2:-2, 2:-2, 2:-2])
    path = write_segmentation(tmp_path / "b.seg.nrrd", [larger], [("x", 0, 1)], corner_xyz=(-4, -2, -2))
    with pytest.raises(UserError, match="painted voxels outside its image"):
        read_segmentation(path, grid, CLASSES)


def test_segments_are_recognised_by_name_whatever_their_values(tmp_path: Path, grid: Geometry) -> None:
    """Slicer numbers segments in the order they were added."""
    labels = box(7)
    labels[2] = 3
    path = write_segmentation(tmp_path / "a.seg.nrrd", [labels], [("Wall", 0, 3), ("Left Atrium", 0, 7)])
    label = read_segmentation(path, grid, CLASSES)[:3, :4, :5]
    np.testing.assert_array_equal(label == 1, labels == 7)
    np.testing.assert_array_equal(label == 2, labels == 3)


def test_without_known_names_the_values_in_the_file_stand(tmp_path: Path, grid: Geometry) -> None:
    """Slicer's own names are Segment_1, Segment_2, ..."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(2)], [("Segment_1", 0, 2)])
    np.testing.assert_array_equal(read_segmentation(path, grid, CLASSES)[:3, :4, :5], box(2))


def test_segments_of_unknown_names_and_one_value_are_refused(tmp_path: Path, grid: Geometry) -> None:
    """Layers count from 1 each: by their values, two organs would silently become one class."""
    low, high = box(1), box(1)
    low[1:], high[:1] = 0, 0
    path = write_segmentation(tmp_path / "a.seg.nrrd", [low, high], [("Segment_1", 0, 1), ("Segment_2", 1, 1)])
    with pytest.raises(UserError, match="segments Segment_1 and Segment_2 the same value 1 in two layers"):
        read_segmentation(path, grid, CLASSES)


def test_layers_are_merged(tmp_path: Path, grid: Geometry) -> None:
    """Where segments may overlap, Slicer stores them in layers of which each counts from 1."""
    low, high = box(1), box(1)
    low[1:], high[:1] = 0, 0
    path = write_segmentation(tmp_path / "a.seg.nrrd", [low, high], [("left_atrium", 0, 1), ("wall", 1, 1)])
    label = read_segmentation(path, grid, CLASSES)[:3, :4, :5]
    np.testing.assert_array_equal(label, low + 2 * high)


def test_overlapping_segments_are_refused(tmp_path: Path, grid: Geometry) -> None:
    """A voxel has one class."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(1), box(1)], [("left_atrium", 0, 1), ("wall", 1, 1)])
    with pytest.raises(UserError, match="59 voxels in segment wall and in another one"):
        read_segmentation(path, grid, CLASSES)


def test_a_segment_of_unknown_name_among_known_ones_is_refused(tmp_path: Path, grid: Geometry) -> None:
    """Its value could mean anything."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(1)], [("wall", 0, 1), ("scribble", 0, 2)])
    with pytest.raises(UserError, match="segment scribble, expected left_atrium, wall"):
        read_segmentation(path, grid, CLASSES)


def test_a_segmentation_between_the_voxels_is_refused(tmp_path: Path, grid: Geometry) -> None:
    """Half a voxel off is another grid."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(1)], [("wall", 0, 1)], corner_xyz=(2.5, 3, 4))
    with pytest.raises(UserError, match="not on the grid"):
        read_segmentation(path, grid, CLASSES)


def test_a_plain_nrrd_called_seg_is_refused(tmp_path: Path, grid: Geometry) -> None:
    """Without Slicer's own fields the values have no meaning."""
    path = write_segmentation(tmp_path / "a.seg.nrrd", [box(1)], [])
    with pytest.raises(UserError, match="lists no segment"):
        read_segmentation(path, grid, CLASSES)
