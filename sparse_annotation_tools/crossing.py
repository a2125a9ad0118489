"""Hold a propagated label to the annotated planes that cross it.

Each slice that a label was propagated to is cut by the other annotated planes along lines, and on those lines the truth
is known. Where the propagated label contradicts it, its outline is moved, most at the line and less further away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.object_size import Spacing, box_around, object_size_mm

REACH = 0.2  # how far a line's correction reaches, in object sizes
CAP = 0.3  # distance at which an outline is as good as none, in object sizes

# A spacing across the slices so large that no distance ever crosses from one slice to the next.
_APART_MM = 1e6


def hold_to_planes(
    propagated: NDArray[np.uint8], axis: int, annotation: NDArray[np.int16], spacing_mm: Spacing
) -> NDArray[np.uint8]:
    """Return a propagated label whose outlines agree with all annotated planes.

    Departure from the paper: it pastes the other annotated slices into a view, which this does too, but leaves the
    label beside them as it was.

    Args:
        propagated: [z, y, x] classes propagated from one slice.
        axis: array axis across that slice.
        annotation: [z, y, x] drawn class of all annotated slices (0 is drawn background), -1 where nothing was drawn.
        spacing_mm: voxel size along z, y and x.
    """
    drawn = annotation >= 0
    held = np.where(drawn, annotation, propagated).astype(np.uint8)
    classes = np.unique(propagated[propagated > 0])
    if len(classes) == 0 or not (annotation > 0).any():
        return held
    size_mm = object_size_mm(annotation, spacing_mm)
    box = box_around(propagated > 0, spacing_mm, REACH * size_mm)
    best = np.zeros(propagated[box].shape, np.float32)
    label = np.zeros(best.shape, np.uint8)
    for value in classes:
        known = np.where(drawn[box], annotation[box] == value, -1).astype(np.int8)
        distance = signed_distance(propagated[box] == value, axis, spacing_mm, cap_mm=CAP * size_mm)
        distance = corrected_distance(distance, known, axis, spacing_mm, reach_mm=REACH * size_mm)
        label[distance > best] = value
        best = np.maximum(best, distance)
    held[box] = np.where(drawn[box], held[box], label)
    return held


def signed_distance(mask: NDArray[np.bool_], axis: int, spacing_mm: Spacing, *, cap_mm: float) -> NDArray[np.float32]:
    """Return the in-plane distance to the outline in every slice across `axis`: positive inside, never 0.

    Args:
        mask: [z, y, x].
        axis: the axis across the slices.
        spacing_mm: voxel size along z, y and x.
        cap_mm: largest distance; also that of a slice without outline.
    """
    sampling = [_APART_MM if other == axis else step for other, step in enumerate(spacing_mm)]
    distance = np.zeros(mask.shape, np.float32)
    for sign, side in ((1, mask), (-1, ~mask)):
        if mask.all() or not mask.any():
            distance[side] = sign * cap_mm
        else:
            to_outline = ndimage.distance_transform_edt(side, sampling=sampling)
            distance[side] = sign * np.minimum(to_outline[side], cap_mm)
    return distance


def corrected_distance(
    distance: NDArray[np.float32],
    known: NDArray[np.int8],
    axis: int,
    spacing_mm: Spacing,
    *,
    reach_mm: float,
) -> NDArray[np.float32]:
    """Return `distance` moved so that its sign is right wherever the truth is known.

    Args:
        distance: [z, y, x] signed in-plane distances, as `signed_distance` returns them.
        known: [z, y, x] 1 inside, 0 outside, -1 where nothing was drawn.
        axis: the axis across the slices.
        spacing_mm: voxel size along z, y and x.
        reach_mm: standard deviation of the correction's in-plane spread.
    """
    least = np.float32(min(step for other, step in enumerate(spacing_mm) if other != axis) / 2)
    wanted = np.where(known == 1, np.maximum(distance, least), np.minimum(distance, -least))
    lack = np.where(known >= 0, wanted - distance, np.float32(0))
    sigma = [0.0 if other == axis else reach_mm / step for other, step in enumerate(spacing_mm)]

    def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth: NDArray[np.float32] = ndimage.gaussian_filter(values, sigma, mode="constant", truncate=3.0)
        return smooth

    # A mean over the lines near by, which fades where there is none: one line through a pixel counts fully.
    nearness = spread((known >= 0).astype(np.float32))
    one_line = 1 / (np.sqrt(2 * np.pi) * max(sigma))
    moved = distance + spread(lack) / np.maximum(nearness, np.float32(one_line))
    return np.where(known >= 0, wanted, moved)
