"""Tests of carrying a label from slice to slice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.propagation.chain import PropagationSettings, open_and_close, propagate

FAST = PropagationSettings()
SPACING = (1.0, 1.0, 1.0)


def drifting_ball(*, depth: int = 9, side: int = 48, shift: int = 1) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return an image [depth, side, side] with a bright disc that moves `shift` pixels a slice, and its label."""
    rows, columns = np.mgrid[:side, :side]
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 3)
    image = np.zeros((depth, side, side), np.float32)
    label = np.zeros(image.shape, np.uint8)
    for z in range(depth):
        label[z] = (rows - side / 2) ** 2 + (columns - side / 2 - shift * (z - depth // 2)) ** 2 < (side / 5) ** 2
        image[z] = 100 * ndimage.gaussian_filter(label[z].astype(float), 1) + 50 * texture
    return image, label


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_a_moving_disc_is_followed_where_copying_loses_it() -> None:
    """The propagated label stays on an object that drifts by one pixel a slice."""
    image, label = drifting_ball()
    result = propagate(image, SPACING, 0, 4, label[4], FAST)
    copied = np.broadcast_to(label[4], label.shape)
    for z in (0, 8):
        assert dice(result[z] > 0, label[z] > 0) > 0.85
        assert dice(copied[z] > 0, label[z] > 0) < 0.75


def test_identical_slices_keep_the_label() -> None:
    """Where nothing changes from slice to slice, the label does not change either."""
    image, label = drifting_ball(shift=0)
    result = propagate(image, SPACING, 0, 4, label[4], FAST)
    assert all(dice(plane > 0, label[4] > 0) > 0.99 for plane in result)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_three_axes_are_equivalent(axis: int) -> None:
    """Moving the annotated axis elsewhere only moves the result."""
    image, label = drifting_ball(depth=5, side=32)
    expected = propagate(image, (2.0, 1.0, 1.0), 0, 2, label[2], FAST)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 2.0
    z, y, x = spacing
    result = propagate(np.moveaxis(image, 0, axis), (z, y, x), axis, 2, label[2], FAST)
    np.testing.assert_array_equal(np.moveaxis(result, axis, 0), expected)


def test_two_runs_agree_to_the_voxel() -> None:
    """Propagation is deterministic, for SyNRA's random sampling too."""
    image, label = drifting_ball(depth=4, side=32)
    for settings in (FAST, PropagationSettings(transform="SyNRA")):
        first, second = (propagate(image, SPACING, 0, 1, label[1], settings, seed=7) for _ in range(2))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_two_directions_are_independent(axis: int) -> None:
    """From the part of the scan on one side of the slice comes that part of the whole label, to the voxel."""
    image, label = (np.moveaxis(volume, 0, axis) for volume in drifting_ball(depth=5, side=32))
    drawn = np.take(label, 2, axis)
    whole = propagate(image, SPACING, axis, 2, drawn, FAST, seed=7)
    above, below = ((slice(None),) * axis + (part,) for part in (slice(2, None), slice(3)))
    np.testing.assert_array_equal(propagate(image[above], SPACING, axis, 0, drawn, FAST, seed=7), whole[above])
    np.testing.assert_array_equal(propagate(image[below], SPACING, axis, 2, drawn, FAST, seed=7), whole[below])


def test_no_temporary_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder is as empty after a propagation as before."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    image, label = drifting_ball(depth=3, side=32)
    propagate(image, SPACING, 0, 1, label[1], PropagationSettings.paper())
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_dies_stops_its_chain() -> None:
    """A speck that the opening removes reaches no further slice."""
    image, label = drifting_ball()
    speck = np.zeros_like(label[4])
    speck[20, 20] = 1
    result = propagate(image, SPACING, 0, 4, speck, FAST)
    np.testing.assert_array_equal(result[4], speck)
    assert result.sum() == 1


def test_an_empty_plane_stays_empty() -> None:
    """Drawn background only is a legal annotation and propagates nothing."""
    image, label = drifting_ball(depth=3, side=32)
    assert not propagate(image, SPACING, 0, 1, np.zeros_like(label[1]), FAST).any()


def test_several_classes_stay_apart() -> None:
    """Each class of a slice is carried along, and no voxel changes sides without cause."""
    image, label = drifting_ball(shift=0)
    two = label[4].copy()
    two[:, 24:] *= 5
    result = propagate(image, SPACING, 0, 4, two, FAST)
    for value in (1, 5):
        assert all(dice(plane == value, two == value) > 0.97 for plane in result)


@pytest.mark.parametrize("damage", [np.nan, np.inf, 3.0])
def test_ruined_slices_do_not_break_the_chain(damage: float) -> None:
    """Slices of NaN, infinity or one constant value are passed over with the label copied."""
    image, label = drifting_ball(shift=0)
    image[6] = damage
    image[0, 3, 3] = np.nan
    result = propagate(image, SPACING, 0, 4, label[4], FAST)
    assert dice(result[8] > 0, label[8] > 0) > 0.9


def test_a_wrong_plane_is_refused() -> None:
    """The message names what was found and what was expected."""
    image, label = drifting_ball(depth=3, side=32)
    with pytest.raises(UserError, match="slice 3 along axis 0 is outside the image, which has 3"):
        propagate(image, SPACING, 0, 3, label[1], FAST)
    with pytest.raises(UserError, match=r"shape \(32, 31\), expected \(32, 32\)"):
        propagate(image, SPACING, 0, 1, label[1][:, 1:], FAST)
    with pytest.raises(UserError, match="'Affine', expected one of SyNOnly, SyNRA"):
        PropagationSettings(transform="Affine")


@pytest.mark.parametrize(
    ("spacing", "side"), [(0.625, 5), (0.7, 5), (1.0, 3), (1.25, 3), (1.5, 1), (1.4999999, 1), (5.0, 1)]
)
def test_the_kernel_is_the_odd_number_of_pixels_nearest_to_three_mm(spacing: float, side: int) -> None:
    """5 pixels at 0.625 mm, 3 at 1.25 mm, none from 1.5 mm on."""
    assert FAST.kernel((spacing, 0.625)) == (side, 5)


def test_the_paper_preset_is_the_published_way() -> None:
    """SyNRA, full frame, 5x5 pixels at any spacing."""
    paper = PropagationSettings.paper()
    assert (paper.transform, paper.margin_mm, paper.kernel((2.0, 2.0))) == ("SyNRA", None, (5, 5))


def test_cleaning_ignores_the_frame_and_never_paints_over_a_class() -> None:
    """An object cut by the frame is not eroded there; a closing fills background only."""
    label = np.ones((9, 9), np.uint8)
    label[:, 5:] = 2
    np.testing.assert_array_equal(open_and_close(label, (5, 5)), label)
    ring = np.ones((15, 15), np.uint8)
    ring[7, 7] = 0
    assert open_and_close(ring, (5, 5)).all()
