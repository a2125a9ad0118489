"""Planes and labels on the preprocessed grid, against nnU-Net's own preprocessing."""

import numpy as np
import pytest
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

from nnunetv2_rada.data.grid import Grid, covered_by_plane
from nnunetv2_rada.data.side_volumes import extruded_annotation, planes_on_grid
from sparse_annotation_tools.schema import AnnotatedSlice, Case


def make_grid(raw_shape, shape, *, transpose=(0, 1, 2), lower=(0, 0, 0)):
    """Build a grid whose crop takes all of the raw array but `lower`."""
    cropped = tuple(raw_shape[axis] - low for axis, low in zip(transpose, lower, strict=True))
    return Grid(
        transpose=transpose,
        lower=lower,
        cropped=cropped,
        shape=shape,
        spacing_mm=(1.0, 1.0, 1.0),
        target_spacing_mm=tuple(c / s for c, s in zip(cropped, shape, strict=True)),
    )


def resample(volume, shape, spacing, target):
    """Resample labels as nnU-Net's default plans do."""
    return resample_data_or_seg_to_shape(volume, shape, spacing, target, is_seg=True, order=1, order_z=0)


def slices_of(shape):
    """One slice near the middle along each axis."""
    return tuple(
        AnnotatedSlice(view=view, axis=axis, index=shape[axis] // 2 + 2, area=1, classes=(1,))
        for view, axis in (("sagittal", 2), ("coronal", 1), ("axial", 0))
    )


@pytest.mark.parametrize("step", [0.4, 0.5, 0.8, 1.0, 1.25, 1.8, 2.0, 3.0, 3.7])
def test_every_plane_survives_every_resampling_factor(step):
    """A plane covers at least one voxel at any factor, and exactly one where voxels are no finer than slices."""
    for side in range(20, 40):
        new = max(1, round(side / step))
        grid = make_grid((side, 8, 8), (new, 8, 8))
        for index in range(side):
            signed = grid.origin[0] + grid.step[0] * np.arange(new) - index
            covered = int(covered_by_plane(signed, grid.step[0]).sum())
            assert covered >= 1
            if grid.step[0] >= 1:
                assert covered == 1


def test_the_origin_is_where_nnunet_puts_voxel_zero():
    """Resampling a ramp of raw indices as nnU-Net does gives the grid's own linear map away from the border."""
    ramp = np.broadcast_to(np.arange(30.0)[:, None, None], (30, 8, 8))
    grid = make_grid((30, 8, 8), (13, 8, 8))
    resampled = resample_data_or_seg_to_shape(
        ramp[None].copy(), grid.shape, grid.spacing_mm, grid.target_spacing_mm, order=1
    )[0, :, 0, 0]
    expected = grid.origin[0] + grid.step[0] * np.arange(13)
    np.testing.assert_allclose(resampled[1:-1], expected[1:-1], atol=1e-6)


def test_nnunet_loses_planes_that_this_grid_keeps():
    """At a factor of 3, nnU-Net's resampling leaves nothing of a one-voxel plane; ours is there and as drawn."""
    raw_shape = (30, 36, 24)
    drawn = np.full(raw_shape, -1, dtype=np.int16)
    slices = slices_of(raw_shape)
    blob = np.zeros(raw_shape, dtype=np.int16)
    blob[9:24, 9:27, 6:18] = 1
    for annotated in slices:
        index = [slice(None)] * 3
        index[annotated.axis] = annotated.index
        drawn[tuple(index)] = blob[tuple(index)]
    grid = make_grid(raw_shape, (10, 12, 8))

    with_ignore = np.where(drawn < 0, 2, drawn)
    stock = grid.resampled(with_ignore, resample)
    assert (stock != 2).sum() == 0

    labels = extruded_annotation(drawn, slices, grid, width=1.0)
    for annotated in slices:
        signed = grid.origin[annotated.axis] + grid.step[annotated.axis] * np.arange(grid.shape[annotated.axis])
        position = np.flatnonzero(covered_by_plane(signed - annotated.index, grid.step[annotated.axis]))
        assert len(position) == 1
        plane = labels.take(position[0], axis=annotated.axis)
        expected = grid.resampled_slice(drawn, annotated.axis, annotated.index)
        assert (plane >= 0).all()
        assert (plane == expected).mean() > 0.95  # the other two planes cross it
        assert expected.max() == 1


def test_planes_without_resampling_equal_the_annotation_exactly():
    """At the raw spacing, transposed and cropped, every drawn voxel keeps its class and no other voxel is drawn."""
    raw_shape = (20, 22, 24)
    rng = np.random.default_rng(1)
    slices = slices_of(raw_shape)
    truth = rng.integers(0, 3, raw_shape).astype(np.int16)
    drawn = np.full(raw_shape, -1, dtype=np.int16)
    for annotated in slices:
        index = [slice(None)] * 3
        index[annotated.axis] = annotated.index
        drawn[tuple(index)] = truth[tuple(index)]
    transpose, lower = (2, 0, 1), (3, 1, 2)
    shape = tuple(raw_shape[axis] - low for axis, low in zip(transpose, lower, strict=True))
    grid = make_grid(raw_shape, shape, transpose=transpose, lower=lower)
    labels = extruded_annotation(drawn, slices, grid, width=1.0)
    cropped = drawn.transpose(transpose)[lower[0] :, lower[1] :, lower[2] :]
    np.testing.assert_array_equal(labels, cropped)


def test_planes_outside_the_crop_are_left_out():
    """A plane that nnU-Net cropped away is on no voxel of the grid."""
    raw_shape = (20, 22, 24)
    slices = (AnnotatedSlice(view="axial", axis=0, index=2, area=1), *slices_of(raw_shape))
    record = Case(labelled=True, shape=raw_shape, sagittal_axis=2, slices=slices, networks={"axial": (0, 3)})
    grid = make_grid(raw_shape, (15, 22, 24), lower=(5, 0, 0))
    planes = planes_on_grid(record, grid)
    assert [plane.index for plane in planes] == [annotated.index for annotated in slices[1:]]
    assert planes[-1].networks == (2,)  # axial is the third network
