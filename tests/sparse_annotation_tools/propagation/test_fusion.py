"""Tests of the label and confidence that all annotated slices give together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.slices.planes import Plane, on_plane

SHAPE = (24, 28, 32)
PLANES = [(0, 12), (1, 14), (2, 16)]


def ball(radius: float = 8) -> NDArray[np.uint8]:
    """Return a ball in the middle of the volume."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside: NDArray[np.uint8] = ((z - 12) ** 2 + (y - 14) ** 2 + (x - 16) ** 2 < radius**2).astype(np.uint8)
    return inside


def annotate(label: NDArray[np.uint8], planes: Sequence[Plane]) -> NDArray[np.int16]:
    """Return the label on the planes and -1 elsewhere."""
    drawn = np.full(label.shape, -1, np.int16)
    for plane in planes:
        drawn[on_plane(plane)] = label[on_plane(plane)]
    return drawn


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_drawn_voxels_are_kept_with_full_confidence() -> None:
    """Votes never overrule the annotator."""
    annotation = annotate(ball(), PLANES)
    label, confidence = fuse(np.zeros((3, *SHAPE), np.uint8), PLANES, annotation, [1])
    drawn = annotation >= 0
    np.testing.assert_array_equal(label[drawn], annotation[drawn])
    assert (confidence[drawn] == 255).all()
    assert (confidence[~drawn] < 255).all()


def test_views_that_agree_are_followed() -> None:
    """Three right views fuse to the right label."""
    label, _ = fuse(np.stack([ball()] * 3), PLANES, annotate(ball(), PLANES), [1])
    assert dice(label > 0, ball() > 0) > 0.97


def test_one_slice_is_its_own_fusion() -> None:
    """With N = 1 the fused label is the propagated one."""
    label, _ = fuse(ball()[None], PLANES[:1], annotate(ball(), PLANES[:1]), [1])
    np.testing.assert_array_equal(label, ball())


def test_the_order_of_the_slices_does_not_matter() -> None:
    """Fusing in another order gives the same label and confidence."""
    propagated = np.stack([ball(7), ball(8) * 2, ball(9)]).astype(np.uint8)
    annotation = annotate(ball(), PLANES)
    first = fuse(propagated, PLANES, annotation, [1, 2])
    second = fuse(propagated[::-1], PLANES[::-1], annotation, [2, 1])
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_allclose(first[1].astype(int), second[1].astype(int), atol=1)


def test_turning_the_volume_turns_the_result() -> None:
    """No axis is special: transposing everything transposes the label and the confidence."""
    propagated = np.stack([ball(7), ball(8), ball(9)])
    annotation = annotate(ball(), PLANES)
    expected = fuse(propagated, PLANES, annotation, [1], (2.0, 1.0, 0.5))
    turned = fuse(
        propagated.transpose(0, 2, 3, 1),
        [((axis - 1) % 3, index) for axis, index in PLANES],
        annotation.transpose(1, 2, 0),
        [1],
        (1.0, 0.5, 2.0),
    )
    for there, here in zip(turned, expected, strict=True):
        np.testing.assert_allclose(there.astype(int), here.transpose(1, 2, 0).astype(int), atol=1)


def test_confidence_falls_with_the_distance_from_the_plane() -> None:
    """Where the votes agree alike, nearer to an annotated plane is surer, inside the object and outside."""
    bar = np.zeros(SHAPE, np.uint8)
    bar[:, 8:20, 10:22] = 1
    _, confidence = fuse(bar[None], PLANES[:1], annotate(bar, PLANES[:1]), [1])
    for row, column in ((14, 16), (5, 16)):
        away = confidence[12:, row, column].astype(int)
        assert (np.diff(away) <= 0).all()
        assert away[-1] < away[1]


def test_voters_that_disagree_are_less_sure() -> None:
    """A voxel that one of three slices calls background is less certain than one that all call foreground."""
    annotation = annotate(ball(), PLANES)
    agreed = fuse(np.stack([ball()] * 3), PLANES, annotation, [1])[1]
    disputed = fuse(np.stack([ball(), ball(), ball(5)]), PLANES, annotation, [1])[1]
    inside = (ball(7) > 0) & (ball(6) == 0) & (annotation < 0)
    assert disputed[inside].mean() < agreed[inside].mean() - 5


def test_a_label_that_leaks_out_of_the_object_is_held_back() -> None:
    """The object's extent on the crossing planes ends what one slice carried too far."""
    leaking = np.broadcast_to(ball()[12], SHAPE)
    silent = np.zeros(SHAPE, np.uint8)
    label, _ = fuse(np.stack([leaking, silent, silent]), PLANES, annotate(ball(), PLANES), [1])
    assert leaking[23].any()
    assert not label[[0, 1, 22, 23]].any()


def test_a_slice_has_no_vote_on_a_class_that_it_does_not_show() -> None:
    """The axial slice shows class 1 only and paints over class 2: the other two slices keep class 2."""
    truth = ball()
    truth[14:][truth[14:] > 0] = 2
    propagated = np.stack([ball(), truth, truth])
    label, _ = fuse(propagated, PLANES, annotate(truth, PLANES), [1, 2])
    assert dice(label == 2, truth == 2) > 0.9


def test_empty_planes_are_legal() -> None:
    """A plane of background only, far from the object, changes hardly anything but itself."""
    planes = [*PLANES, (0, 0)]
    propagated = np.stack([ball(), ball(), ball(), np.zeros(SHAPE, np.uint8)])
    label, _ = fuse(propagated, planes, annotate(ball(), planes), [1])
    expected, _ = fuse(propagated[:3], PLANES, annotate(ball(), PLANES), [1])
    assert dice(label > 0, expected > 0) > 0.98
    nothing, _ = fuse(propagated[3:], [(0, 0)], annotate(np.zeros(SHAPE, np.uint8), [(0, 0)]), [1])
    assert not nothing.any()


def test_an_empty_plane_ends_the_object() -> None:
    """Carried on without end from slice 12, the label ends between that slice and an empty one of the same axis."""
    endless = np.broadcast_to(ball()[12], SHAPE)
    truth = np.where(np.arange(SHAPE[0])[:, None, None] > 4, endless, 0).astype(np.uint8)
    planes = [(0, 4), (0, 12)]
    label, confidence = fuse(np.stack([np.zeros_like(endless), endless]), planes, annotate(truth, planes), [1])
    extent = np.flatnonzero(label.any((1, 2)))
    assert 5 <= extent[0] <= 9
    assert extent[-1] == SHAPE[0] - 1
    middle = confidence[:, 14, 16].astype(int)
    assert middle[11] > middle[10] > middle[9] < middle[8] < middle[7] < middle[5]


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_only_the_ratio_of_spacings_matters(factor: float) -> None:
    """Lengths count in object sizes, so a scan of another scale fuses alike."""
    propagated = np.stack([ball(7), ball(8), ball(9)])
    annotation = annotate(ball(), PLANES)
    expected = fuse(propagated, PLANES, annotation, [1])
    scaled = fuse(propagated, PLANES, annotation, [1], (factor, factor, factor))
    np.testing.assert_array_equal(scaled[0], expected[0])
