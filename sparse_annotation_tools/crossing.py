"""Hold a propagated label to the annotated planes that cross it.

Each slice that a label was propagated to is cut by the other annotated planes along lines, and on those lines the truth
is known. Where the propagated label contradicts it, its outline is moved, most at the line and less further away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 0.2  # how far a line's correction reaches, in object sizes

# A spacing across the slices so large that no distance ever crosses from one slice to the next.
_APART_MM = 1e6


def signed_distance(
    mask: NDArray[np.bool_], axis: int, spacing_mm: tuple[float, float, float], *, cap_mm: float
) -> NDArray[np.float32]:
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
    spacing_mm: tuple[float, float, float],
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
