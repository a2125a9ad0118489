"""One label and one confidence per voxel from all annotated slices of a case.

Beyond the paper, whose networks each learn from one slice's propagated label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.92  # decay of a vote per slice; the best on LA2018 lies between .90 and .95


def fuse(
    propagated: NDArray[np.uint8],
    planes: Sequence[tuple[int, int]],
    annotation: NDArray[np.int16],
    classes: Sequence[int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Merge the propagated labels of N annotated slices.

    Slice k votes alpha**d for the class it propagated to a voxel, d raw slices from its plane. A slice that does not
    show a class knows nothing of it, and propagation paints over it; so where another slice shows that class, this one
    does not vote against it.

    Args:
        propagated: [N, z, y, x] classes propagated from each annotated slice.
        planes: (axis, index) of each annotated slice, in the same order.
        annotation: [z, y, x] drawn class (0 is drawn background), -1 where nothing was drawn.
        classes: foreground classes, in any order.

    Returns:
        label: [z, y, x]; where drawn, the drawn class.
        confidence: [z, y, x] 0 to 255; 255 where drawn. The probability that the label is right, times 255.
    """
    candidates = [0, *sorted(classes)]
    shape = annotation.shape
    scores = np.zeros((len(candidates), *shape), np.float32)
    total = np.zeros(shape, np.float32)
    shown = [set(np.unique(drawn_plane(annotation, plane)).tolist()) for plane in planes]
    everywhere = set().union(*shown) & set(candidates)
    for volume, plane, seen in zip(propagated, planes, shown, strict=True):
        if everywhere - seen - {0}:
            continue
        weight = np.broadcast_to(_distance_weight(shape, plane), shape)
        total += weight
        for score, value in zip(scores, candidates, strict=True):
            score += np.where(volume == value, weight, 0)
    label = np.asarray(candidates, np.uint8)[np.argmax(scores, axis=0)]
    agreement = np.divide(scores.max(axis=0), total, out=np.zeros(shape, np.float32), where=total > 0)
    confidence = np.rint(254 * agreement).astype(np.uint8)
    drawn = annotation >= 0
    label[drawn] = annotation[drawn].astype(np.uint8)
    confidence[drawn] = 255
    return label, confidence


def drawn_plane(annotation: NDArray[np.int16], plane: tuple[int, int]) -> NDArray[np.int16]:
    """Return the [in-plane] annotation of one plane."""
    axis, index = plane
    drawn: NDArray[np.int16] = np.take(annotation, index, axis=axis)
    return drawn


def _distance_weight(shape: tuple[int, ...], plane: tuple[int, int]) -> NDArray[np.float32]:
    """Return alpha**d, eq. (6), shaped to broadcast along the plane's axis."""
    axis, index = plane
    distance = np.abs(np.arange(shape[axis]) - index)
    along = [1, 1, 1]
    along[axis] = -1
    weight: NDArray[np.float32] = (ALPHA**distance).astype(np.float32).reshape(along)
    return weight
