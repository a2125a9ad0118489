"""Distances to outlines: of a label in every slice, and of what was drawn on a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.object_size import Spacing
from sparse_annotation_tools.slices.planes import Plane, on_plane

Field = NDArray[np.float32]

# A spacing across the slices so large that no distance ever crosses from one slice to the next.
_APART_MM = 1e6


def signed_distance(mask: NDArray[np.bool_], axis: int, spacing_mm: Spacing, *, cap_mm: float) -> Field:
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


def silhouettes(
    known: NDArray[np.int8], planes: Sequence[Plane], spacing_mm: Spacing, size_mm: float
) -> dict[int, Field]:
    """Return how deep inside the object's outline a voxel lies, by axis, if the drawn outline runs on across its plane.

    The object is somewhere on parallel planes, so the widest of them counts. A plane without it says nothing.

    Args:
        known: [z, y, x] 1 inside, 0 outside, -1 where nothing was drawn.
        planes: (axis, index) of the drawn planes.
        spacing_mm: voxel size along z, y and x.
        size_mm: of the object.

    Returns:
        By axis of the planes that show it, depth in object sizes, negative outside, at most 1; side 1 along that axis.
    """
    depths: dict[int, Field] = {}
    for axis, index in planes:
        drawn = known[on_plane((axis, index))] == 1
        if drawn.any():
            depth = signed_distance(np.expand_dims(drawn, axis), axis, spacing_mm, cap_mm=size_mm) / np.float32(size_mm)
            depths[axis] = np.maximum(depths[axis], depth) if axis in depths else depth
    return depths
