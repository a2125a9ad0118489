"""Tests of the annotated object's size and box."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_annotation_tools.propagation.object_size import box_around, object_size_mm

ISOTROPIC = (1.0, 1.0, 1.0)


def test_the_size_ignores_the_axis_that_no_plane_runs_along() -> None:
    """One plane tells two sides of the object, crossing planes tell all three."""
    annotation = np.full((24, 28, 32), -1, np.int16)
    annotation[12] = 0
    annotation[12, 10:20, 6:26] = 1
    assert object_size_mm(annotation, (1.0, 2.0, 1.0)) == pytest.approx((20 * 20) ** 0.5)
    annotation[8:16, 14, 6:26] = 1
    assert object_size_mm(annotation, ISOTROPIC) == pytest.approx((8 * 10 * 20) ** (1 / 3))


def test_a_single_voxel_has_the_size_of_a_voxel() -> None:
    """No side is longer than one voxel: the smallest spacing."""
    annotation = np.full((4, 4, 4), -1, np.int16)
    annotation[1, 1, 1] = 1
    assert object_size_mm(annotation, (3.0, 2.0, 1.0)) == 1.0


def test_no_foreground_has_no_size() -> None:
    """The caller must ask first."""
    with pytest.raises(ValueError, match="no foreground"):
        object_size_mm(np.zeros((4, 4, 4), np.int16), ISOTROPIC)


def test_the_box_holds_the_foreground_and_its_margin_within_the_grid() -> None:
    """The margin is in mm along every axis, and the grid's edge ends it."""
    foreground = np.zeros((20, 20, 20), bool)
    foreground[5:8, 1:4, 10] = True
    z, y, x = box_around(foreground, (1.0, 1.0, 2.0), 3.0)
    assert (z.start, z.stop, y.start, x.start, x.stop) == (2, 11, 0, 8, 13)
