"""Tests of holding a propagated label to the planes that cross it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.crossing import (
    corrected_distance,
    end_at_slices_without,
    find_all_outlines,
    find_outlines,
    hold_to_planes,
)
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.propagation.outlines import drawn_slices, signed_distance
from sparse_annotation_tools.slices.planes import on_plane

SPACING = (1.0, 1.0, 1.0)
CROSSED = [(0, 1), (1, 20)]


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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_are_those_of_each_slice_alone(axis: int) -> None:
    """By a plain distance transform in mm, for slices of any content."""
    mask = np.random.default_rng(0).random((6, 7, 8)) > 0.7
    slices = np.moveaxis(mask, axis, 0)
    slices[0], slices[3] = False, True
    spacing_mm = (0.7, 2.0, 5.0)
    sampling = [step for other, step in enumerate(spacing_mm) if other != axis]
    for found, inside in zip(
        np.moveaxis(signed_distance(mask, axis, spacing_mm, cap_mm=4), axis, 0), slices, strict=True
    ):
        if inside.any() and not inside.all():
            to_outside = ndimage.distance_transform_edt(inside, sampling=sampling)
            to_inside = ndimage.distance_transform_edt(~inside, sampling=sampling)
            np.testing.assert_allclose(found, np.where(inside, to_outside, -to_inside).clip(-4, 4), rtol=1e-6)
        else:
            assert (found == (4 if inside.all() else -4)).all()


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


def lines(chance: np.random.Generator) -> NDArray[np.int8]:
    """Return what planes of all axes leave known: lines in every slice, and whole slices."""
    known = np.full((9, 13, 11), -1, np.int8)
    for plane in ((0, 4), (1, 3), (1, 8), (2, 10)):
        known[on_plane(plane)] = chance.integers(0, 2, known[on_plane(plane)].shape)
    return known


@pytest.mark.parametrize("reach_mm", [0.1, 3.0, 40.0], ids=["less than a pixel", "some pixels", "more than the slice"])
@pytest.mark.parametrize("planes", [True, False], ids=["planes", "voxels"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_correction_spreads_as_a_gaussian_in_its_slices(axis: int, planes: bool, reach_mm: float) -> None:
    """In mm, cut off at three standard deviations, with nothing beyond the edge, wherever the truth is known."""
    chance = np.random.default_rng(0)
    distance = chance.normal(size=(9, 13, 11)).astype(np.float32)
    known = lines(chance) if planes else chance.choice(np.array([-1, -1, 0, 1], np.int8), distance.shape)
    spacing_mm = (2.0, 1.0, 1.5)
    least = min(step for other, step in enumerate(spacing_mm) if other != axis) / 2
    wanted = np.where(known == 1, np.maximum(distance, least), np.minimum(distance, -least))
    sigma = [0.0 if other == axis else reach_mm / step for other, step in enumerate(spacing_mm)]

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth: NDArray[np.float64] = ndimage.gaussian_filter(values, sigma, mode="constant", truncate=3.0)
        return smooth

    nearness = np.maximum(spread((known >= 0).astype(float)), 1 / (np.sqrt(2 * np.pi) * max(sigma)))
    moved = distance + spread(np.where(known >= 0, wanted - distance, 0.0)) / nearness
    result = corrected_distance(distance, known, axis, spacing_mm, reach_mm=reach_mm)
    np.testing.assert_allclose(result, np.where(known >= 0, wanted, moved), atol=1e-5)


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
    held = hold_to_planes(square().astype(np.uint8), 0, CROSSED, annotation, SPACING)
    drawn = annotation >= 0
    np.testing.assert_array_equal(held[drawn], annotation[drawn])
    assert held[2].sum() < square()[2].sum()
    np.testing.assert_array_equal(hold_to_planes(held, 0, CROSSED, annotation, SPACING), held)


def test_one_plane_alone_corrects_nothing() -> None:
    """Without a crossing plane, the label stays as it was propagated, with all its classes."""
    label = square().astype(np.uint8)
    label[:, 20:] *= 3
    np.testing.assert_array_equal(hold_to_planes(label, 0, CROSSED[:1], drawn_on(label), SPACING), label)


def test_classes_are_moved_against_each_other() -> None:
    """The crossing plane shows the border of two classes four pixels further: it follows, and leaves no gap."""
    label = np.ones((3, 40, 40), np.uint8)
    label[:, :, 20:] = 2
    truth = label.copy()
    truth[:, :, 20:24] = 1
    truth[1] = label[1]
    held = hold_to_planes(label, 0, CROSSED, drawn_on(truth, 20), SPACING)
    assert (held > 0).all()
    assert held[0, 21, 20] == 1
    assert (held[0, 21, 25:] == 2).all()


def test_what_died_and_what_nobody_drew_is_left() -> None:
    """An empty label stays empty off the planes, and so does one beside drawn background only."""
    truth = square().astype(np.uint8)
    annotation = drawn_on(truth, 20)
    held = hold_to_planes(np.zeros_like(truth), 0, CROSSED, annotation, SPACING)
    np.testing.assert_array_equal(held, np.maximum(annotation, 0))
    background = drawn_on(np.zeros_like(truth), 20)
    assert hold_to_planes(truth, 0, CROSSED, background, SPACING)[0, 19].any()


def ball(radius: float, center: tuple[int, int, int] = (20, 20, 20)) -> NDArray[np.uint8]:
    """Return a ball in 41 slices of 41x41 pixels."""
    places = np.indices((41, 41, 41)) - np.reshape(center, (3, 1, 1, 1))
    return ((places**2).sum(axis=0) < radius**2).astype(np.uint8)


def painted(truth: NDArray[np.uint8], planes: list[tuple[int, int]]) -> NDArray[np.int16]:
    """Return the annotation of these planes."""
    annotation = np.full(truth.shape, -1, np.int16)
    for axis, index in planes:
        annotation[on_plane((axis, index))] = truth[on_plane((axis, index))]
    return annotation


THREE = [(0, 20), (1, 20), (2, 20)]


def test_a_label_ends_where_the_other_planes_show_that_the_object_does() -> None:
    """Registration carries a disc on through slices that show nothing: it is gone there, and stays in the ball."""
    truth = ball(12)
    carried = np.broadcast_to(truth[20], truth.shape).copy()
    held = hold_to_planes(carried, 0, THREE, painted(truth, THREE), SPACING)
    depth = np.flatnonzero(held.any(axis=(1, 2)))
    assert depth[0] in (7, 8, 9)  # the ball's first slice is 9; a twentieth of its size is 1.2 slices
    assert depth[-1] in (31, 32, 33)
    assert held[truth > 0].mean() > 0.99
    alone = hold_to_planes(carried, 0, THREE[:1], painted(truth, THREE[:1]), SPACING)
    np.testing.assert_array_equal(alone, carried)


def test_outlines_are_the_same_however_they_are_found() -> None:
    """By one thread or several, or by each user itself: labels and confidences do not differ in a bit."""
    truth = ball(12)
    carried = [np.broadcast_to(np.expand_dims(truth[on_plane(plane)], plane[0]), truth.shape) for plane in THREE]
    annotation = painted(truth, THREE)
    alone = find_all_outlines(carried, THREE, annotation, SPACING)
    for one, other in zip(alone, find_all_outlines(carried, THREE, annotation, SPACING, threads=3), strict=True):
        assert one.box == other.box
        np.testing.assert_array_equal(one.distance_mm[1], other.distance_mm[1])
    for label, (axis, _), outlines in zip(carried, THREE, alone, strict=True):
        expected = hold_to_planes(label, axis, THREE, annotation, SPACING)
        np.testing.assert_array_equal(hold_to_planes(label, axis, THREE, annotation, SPACING, outlines), expected)
    for given, made in zip(
        fuse(np.stack(carried), THREE, annotation, [1], SPACING, alone),
        fuse(np.stack(carried), THREE, annotation, [1], SPACING),
        strict=True,
    ):
        np.testing.assert_array_equal(given, made)


def test_outlines_over_a_larger_box_are_far_beyond_their_own() -> None:
    """What an outline's box does not hold is as far outside as anything can be; a class that it lacks is everywhere."""
    truth = ball(5)
    outlines = find_outlines(truth, 0, painted(truth, THREE), SPACING)
    whole = (slice(0, 41), slice(0, 41), slice(0, 41))
    distance = outlines.over(whole, 1)
    np.testing.assert_array_equal(distance[outlines.box], outlines.distance_mm[1])
    assert distance[0, 0, 0] == distance.min() == outlines.over(whole, 2).max()
    nothing = find_outlines(truth, 0, painted(np.zeros_like(truth), THREE), SPACING)
    assert not nothing.distance_mm


def test_parts_that_the_other_planes_miss_are_kept() -> None:
    """Of two balls, the other planes run through one: the second one, drawn on the label's own plane, stays whole."""
    truth = np.maximum(ball(6, (20, 10, 10)), ball(6, (20, 30, 30)))
    planes = [(0, 20), (1, 10), (2, 10)]
    held = hold_to_planes(truth, 0, planes, painted(truth, planes), SPACING)
    np.testing.assert_array_equal(held, truth)


def test_planes_beside_the_widest_places_cut_nothing_off() -> None:
    """The other planes pass near the ball's rim and show a smaller disc: nothing is cut off the ball."""
    truth = ball(12)
    planes = [(0, 20), (1, 11), (2, 30)]
    held = hold_to_planes(truth, 0, planes, painted(truth, planes), SPACING)
    assert held[truth > 0].mean() > 0.97


def test_a_class_that_lies_beyond_gives_way_to_the_one_that_is_shown_there() -> None:
    """The border of two classes is carried on straight, and the other planes show that it turns: no gap is left."""
    truth = ball(14) * (1 + (np.indices((41, 41, 41))[2] > 20)).astype(np.uint8)
    turned = truth.copy()
    turned[26:][truth[26:] > 0] = 1
    planes = [(0, 20), (1, 20), (2, 26)]
    held = hold_to_planes(truth, 0, planes, painted(turned, planes), SPACING)
    assert (held[truth > 0] > 0).mean() > 0.95
    far = held[31:][truth[31:] == 2]
    assert (far == 1).mean() > 0.9


def test_drawn_slices_without_a_class_end_it() -> None:
    """Beyond them it goes on only where another drawn slice shows it, and other classes go on as they are."""
    label = np.ones((12, 6, 6), np.uint8)
    label[:, :3] = 2
    annotation = np.full(label.shape, -1, np.int16)
    annotation[5] = label[5]
    assert end_at_slices_without(label, 0, annotation) is label
    annotation[2], annotation[8] = 0, label[8]
    annotation[8, 3:] = 0
    ended = end_at_slices_without(label, 0, annotation)
    assert (ended[3:8] == label[3:8]).all()
    assert not ended[:2].any()
    assert np.unique(ended[9:]).tolist() == [0, 2]
    annotation[10] = label[10]
    assert (end_at_slices_without(label, 0, annotation)[9:] == label[9:]).all()
    np.testing.assert_array_equal(end_at_slices_without(label, 1, annotation), label)


def test_drawn_slices_are_found_in_what_was_drawn() -> None:
    """Whole slices alone: those that other planes cross are drawn in part."""
    annotation = painted(ball(12), THREE)
    for axis, index in THREE:
        assert drawn_slices(annotation, axis) == [index]
