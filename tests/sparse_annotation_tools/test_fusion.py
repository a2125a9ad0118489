"""Tests of the label and confidence that all annotated slices give together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.fusion import fuse

SHAPE = (8, 9, 10)
PLANES = [(0, 4), (1, 4), (2, 5)]


def ball(value: int = 1) -> NDArray[np.uint8]:
    """Return a ball of one class in the middle of the volume."""
    z, y, x = np.mgrid[:8, :9, :10]
    return (((z - 4) ** 2 + (y - 4) ** 2 + (x - 5) ** 2 < 12) * value).astype(np.uint8)


def annotate(label: NDArray[np.uint8], planes: list[tuple[int, int]]) -> NDArray[np.int16]:
    """Return the label on the planes and -1 elsewhere."""
    drawn = np.full(label.shape, -1, np.int16)
    for axis, index in planes:
        where: list[slice | int] = [slice(None)] * 3
        where[axis] = index
        drawn[tuple(where)] = label[tuple(where)]
    return drawn


def test_drawn_voxels_are_kept_with_full_confidence() -> None:
    """Votes never overrule the annotator."""
    annotation = annotate(ball(), PLANES)
    label, confidence = fuse(np.zeros((3, *SHAPE), np.uint8), PLANES, annotation, [1])
    drawn = annotation >= 0
    np.testing.assert_array_equal(label[drawn], annotation[drawn])
    assert (confidence[drawn] == 255).all()


def test_one_slice_is_its_own_fusion() -> None:
    """With N = 1 the fused label is the propagated one."""
    label, _ = fuse(ball()[None], PLANES[:1], annotate(ball(), PLANES[:1]), [1])
    np.testing.assert_array_equal(label, ball())


def test_the_order_of_the_slices_does_not_matter() -> None:
    """Fusing in another order gives the same label and confidence."""
    rng = np.random.default_rng(0)
    propagated = rng.integers(0, 3, (3, *SHAPE), dtype=np.uint8)
    annotation = annotate(ball(), PLANES)
    first = fuse(propagated, PLANES, annotation, [1, 2])
    second = fuse(propagated[::-1], PLANES[::-1], annotation, [2, 1])
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_slice_that_lacks_a_class_does_not_vote_against_it(absent: int) -> None:
    """Where another slice shows a class, the slices without it have no say off their planes."""
    truth = ball()
    truth[ball() > 0] = 1
    truth[5:, :, :][truth[5:, :, :] > 0] = 2  # the plane z = 4 shows no class 2
    propagated = np.stack([truth] * 3)
    planes = [(0, 4), (1, 4), (2, 5)]
    propagated[0] = ball()
    order = [absent, *(k for k in range(3) if k != absent)]
    label, _ = fuse(propagated[order], [planes[k] for k in order], annotate(truth, planes), [1, 2])
    np.testing.assert_array_equal(label, truth)
