"""Tests of holding a propagated label to the planes that cross it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.crossing import corrected_distance, signed_distance

SPACING = (1.0, 1.0, 1.0)


def square() -> NDArray[np.bool_]:
    """Return three slices with the same square."""
    mask = np.zeros((3, 40, 40), bool)
    mask[:, 10:30, 10:30] = True
    return mask


def test_distances_never_cross_slices() -> None:
    """The distance in a slice is the same whatever the neighbouring slices hold, and in mm."""
    mask = square()
    alone = signed_distance(mask, 0, (5.0, 2.0, 2.0), cap_mm=100)
    mask[0] = False
    mask[2] = True
    np.testing.assert_array_equal(signed_distance(mask, 0, (5.0, 2.0, 2.0), cap_mm=100)[1], alone[1])
    assert alone[1, 20, 10] == 2
    assert alone[1, 20, 9] == -2
    assert alone[1, 20, 0] == -20


def test_a_slice_without_outline_is_at_the_cap() -> None:
    """All inside or all outside counts as far from any outline."""
    mask = square()
    mask[0], mask[2] = False, True
    distance = signed_distance(mask, 0, SPACING, cap_mm=7)
    assert (distance[0] == -7).all()
    assert (distance[2] == 7).all()


def test_a_label_that_the_planes_confirm_is_left_alone() -> None:
    """No contradiction, no change, not even of a distance."""
    mask = square()
    known = np.full(mask.shape, -1, np.int8)
    known[:, 20] = mask[:, 20]
    distance = signed_distance(mask, 0, SPACING, cap_mm=10)
    np.testing.assert_allclose(corrected_distance(distance, known, 0, SPACING, reach_mm=4), distance, atol=1e-5)


def test_a_contradicted_outline_moves_most_at_the_line_and_not_far_away() -> None:
    """The truth on row 20 ends six pixels short: the outline follows there, in part beside it, not at the far rows."""
    mask = square()
    known = np.full(mask.shape, -1, np.int8)
    known[:, 20] = mask[:, 20]
    known[:, 20, 24:] = 0
    distance = signed_distance(mask, 0, SPACING, cap_mm=10)
    corrected = corrected_distance(distance, known, 0, SPACING, reach_mm=3) > 0
    widths = corrected[1].sum(axis=1)
    assert widths[20] == 14
    assert 14 <= widths[22] < 20
    assert widths[10] == widths[29] == 20


def test_the_correction_turns_with_the_volume() -> None:
    """Across any axis the result is the same."""
    mask = square()
    known = np.full(mask.shape, -1, np.int8)
    known[:, 20] = 0
    expected = corrected_distance(signed_distance(mask, 0, SPACING, cap_mm=10), known, 0, SPACING, reach_mm=3)
    turned = np.moveaxis(mask, 0, 2)
    result = corrected_distance(
        signed_distance(turned, 2, SPACING, cap_mm=10), np.moveaxis(known, 0, 2), 2, SPACING, reach_mm=3
    )
    np.testing.assert_allclose(np.moveaxis(result, 2, 0), expected, atol=1e-5)
