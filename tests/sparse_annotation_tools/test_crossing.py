"""Tests of holding a propagated label to the planes that cross it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.crossing import corrected_distance, hold_to_planes, signed_distance

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


def drawn_on(label: NDArray[np.uint8], *rows: int) -> NDArray[np.int16]:
    """Return the annotation of slice 1 and of the planes across these rows."""
    annotation = np.full(label.shape, -1, np.int16)
    annotation[1] = label[1]
    annotation[:, list(rows)] = label[:, list(rows)]
    return annotation


def test_a_held_label_agrees_with_every_plane_and_with_itself() -> None:
    """All that was drawn is in it, and holding it again changes nothing."""
    truth = square().astype(np.uint8)
    truth[2, :, 24:] = 0
    annotation = drawn_on(truth, 20)
    held = hold_to_planes(square().astype(np.uint8), 0, annotation, SPACING)
    drawn = annotation >= 0
    np.testing.assert_array_equal(held[drawn], annotation[drawn])
    assert held[2].sum() < square()[2].sum()
    np.testing.assert_array_equal(hold_to_planes(held, 0, annotation, SPACING), held)


def test_one_plane_alone_corrects_nothing() -> None:
    """Without a crossing plane, the label stays as it was propagated, with all its classes."""
    label = square().astype(np.uint8)
    label[:, 20:] *= 3
    np.testing.assert_array_equal(hold_to_planes(label, 0, drawn_on(label), SPACING), label)


def test_classes_are_moved_against_each_other() -> None:
    """The crossing plane shows the border of two classes four pixels further: it follows, and leaves no gap."""
    label = np.ones((3, 40, 40), np.uint8)
    label[:, :, 20:] = 2
    truth = label.copy()
    truth[:, :, 20:24] = 1
    truth[1] = label[1]
    held = hold_to_planes(label, 0, drawn_on(truth, 20), SPACING)
    assert (held > 0).all()
    assert held[0, 21, 20] == 1
    assert (held[0, 21, 25:] == 2).all()


def test_what_died_and_what_nobody_drew_is_left() -> None:
    """An empty label stays empty off the planes, and so does one beside drawn background only."""
    truth = square().astype(np.uint8)
    annotation = drawn_on(truth, 20)
    held = hold_to_planes(np.zeros_like(truth), 0, annotation, SPACING)
    np.testing.assert_array_equal(held, np.maximum(annotation, 0))
    background = drawn_on(np.zeros_like(truth), 20)
    assert hold_to_planes(truth, 0, background, SPACING)[0, 19].any()
