"""Tests of turning scans upright."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_annotation_tools.phantom import Directions, make_phantom
from sparse_annotation_tools.slices.planes import axes_of_views, on_plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright

SHAPE, SPACING_MM = (10, 14, 18), (3.0, 2.0, 1.5)


@pytest.mark.parametrize("directions", ["permuted", "flipped"])
def test_a_scan_looks_the_same_however_it_is_stored(directions: Directions) -> None:
    """Permuted and flipped files of one anatomy give the array and spacing of the identity file."""
    reference = make_phantom(3, shape=SHAPE, spacing_mm=SPACING_MM)
    stored = make_phantom(3, shape=SHAPE, spacing_mm=SPACING_MM, directions=directions)
    upright = Upright.of(stored.direction.ravel().tolist(), stored.image.shape)
    np.testing.assert_array_equal(upright.array(stored.image), reference.image)
    assert upright.triple(stored.spacing_mm) == SPACING_MM


@pytest.mark.parametrize("directions", ["identity", "permuted", "flipped", "oblique"])
def test_planes_and_points_go_where_their_voxels_go(directions: Directions) -> None:
    """A plane cuts the same pixels before and after, and lies across the axis of its view."""
    stored = make_phantom(3, shape=SHAPE, spacing_mm=SPACING_MM, directions=directions)
    direction = stored.direction.ravel().tolist()
    upright = Upright.of(direction, stored.image.shape)
    for view, axis in axes_of_views(direction).items():
        plane = upright.plane((axis, 2))
        assert VIEW_OF_AXIS[plane[0]] == view
        assert upright.plane_in_scan(plane) == (axis, 2)
        before, after = stored.image[on_plane((axis, 2))], upright.array(stored.image)[on_plane(plane)]
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
    assert upright.array(stored.image)[upright.point((1, 2, 3))] == stored.image[1, 2, 3]
