"""Tests of which planes nnU-Net's resampling loses, against nnU-Net's own resampling."""

from __future__ import annotations

import numpy as np
import pytest
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

from sparse_annotation_tools.check.lost_planes import lost_planes, plane_survives


@pytest.mark.parametrize("spacing_mm", [(3.0, 1.0, 1.0), (5.0, 0.7, 0.7), (1.0, 1.2, 0.9)])
@pytest.mark.parametrize("target_spacing_mm", [(1.3, 1.3, 1.3), (3.7, 1.7, 1.7), (3.0, 2.9, 2.9), (6.1, 0.5, 0.5)])
def test_planes_are_lost_where_nnunet_loses_them(
    spacing_mm: tuple[float, ...], target_spacing_mm: tuple[float, ...]
) -> None:
    """On isotropic and on anisotropic grids, which it resamples axis by axis; ties apart, which rounding decides."""
    shape = (11, 13, 12)
    new_shape = compute_new_shape(shape, spacing_mm, target_spacing_mm)
    for axis in range(3):
        for index in range(shape[axis]):
            label = np.full((1, *shape), 2, dtype=np.int16)
            label[0].swapaxes(0, axis)[index] = 1
            resampled = resample_data_or_seg_to_shape(
                label, new_shape, spacing_mm, target_spacing_mm, is_seg=True, order=1, order_z=0, force_separate_z=None
            )
            centres = (np.arange(new_shape[axis]) + 0.5) * shape[axis] / new_shape[axis] - 0.5
            if not np.isclose(np.abs(centres - index).min(), 0.5):
                survives = plane_survives(index, shape[axis], int(new_shape[axis]))
                assert survives == bool((resampled == 1).any()), (axis, index)


def test_nothing_is_lost_on_the_scans_own_grid() -> None:
    """Nor on a finer one."""
    for length in (1, 7, 30):
        for factor in (1, 2, 3):
            assert all(plane_survives(index, length, factor * length) for index in range(length))


def test_a_third_of_the_planes_survives_a_factor_of_three() -> None:
    """Those in the middle of each new voxel."""
    assert [index for index in range(12) if plane_survives(index, 12, 4)] == [1, 4, 7, 10]


def test_planes_are_counted_inside_the_crop() -> None:
    """An index is taken from the crop's corner on; a plane outside it is lost."""
    planes = [(0, 4), (0, 5), (1, 3), (2, 1), (2, 2), (2, 9), (2, 10)]
    grid = {"lower": (3, 0, 2), "cropped": (9, 8, 8), "spacing_mm": (1.0, 2.0, 2.0)}
    assert lost_planes(planes, **grid, target_spacing_mm=(3.0, 2.0, 2.0)) == [(0, 5), (2, 1), (2, 10)]
