"""The viewer's frame is the scan turned upright, voxel by voxel, and back."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sparse_annotation_tools.annotate.viewer_frame import ViewerFrame
from sparse_annotation_tools.files.volumes import Volume, read_volume
from sparse_annotation_tools.slices.planes import axes_of_views, on_plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS

from .conftest import DIRECTIONS, SHAPE, write_scan


@pytest.fixture(params=DIRECTIONS)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    """A scan on each kind of grid."""
    return read_volume(write_scan(tmp_path / "a.nii.gz", request.param))


def test_a_step_along_a_viewer_axis_is_a_step_to_the_right_front_or_head(volume: Volume) -> None:
    """The viewer's x, y and z point to the patient's right, front and head, as far as the grid's axes do."""
    frame, grid = ViewerFrame.of(volume.geometry), volume.geometry
    positions = np.stack(np.meshgrid(*(np.arange(side) for side in SHAPE), indexing="ij"))  # z, y, x of each voxel
    steps_mm = positions[::-1].reshape(3, -1) * np.reshape(grid.spacing, (3, 1))
    lps = (np.reshape(grid.direction, (3, 3)) @ steps_mm).reshape(3, *SHAPE)
    right, front, head = (frame.array(each) for each in (-lps[0], -lps[1], lps[2]))
    for axis, towards in ((2, right), (1, front), (0, head)):
        assert (np.diff(towards, axis=axis) > 0).all()


def test_planes_are_found_where_their_voxels_went(volume: Volume) -> None:
    """`plane` agrees with `array`, and `views` says which views are counted from the other end."""
    frame = ViewerFrame.of(volume.geometry)
    views = frame.views()
    for view, axis in axes_of_views(volume.geometry.direction).items():
        for index in range(SHAPE[axis]):
            mark = np.zeros(SHAPE, np.uint8)
            mark[on_plane((axis, index))] = 1
            viewer_axis, position = frame.plane((axis, index))
            assert VIEW_OF_AXIS[viewer_axis] == view
            assert frame.array(mark)[on_plane((viewer_axis, position))].all()
            count, flipped = views[view]["count"], views[view]["flipped"]
            assert position == (count - 1 - index if flipped else index)


def test_what_is_written_to_the_viewers_array_is_in_the_scans(volume: Volume) -> None:
    """The viewer's array is a view, so paint goes to the voxel it was put on."""
    label = np.zeros(SHAPE, np.uint8)
    turned = ViewerFrame.of(volume.geometry).array(label)
    turned[1, 2, 3] = 7
    assert label.sum() == 7


@pytest.mark.parametrize("kind", ["int16", "uint16", "float64", "int8", "uint32"])
def test_the_nifti_holds_the_turned_voxels(volume: Volume, kind: str) -> None:
    """The file's voxels are the turned array, x fastest, on a grid that points right, front and head."""
    frame = ViewerFrame.of(volume.geometry)
    array = (volume.array % 100).astype(kind)
    image = nib.Nifti1Image.from_bytes(frame.nifti(array))
    np.testing.assert_array_equal(np.asarray(image.dataobj), frame.array(array).transpose(2, 1, 0))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.header.get_zooms(), frame.spacing_mm[::-1])
