"""Distances to outlines: of a label in every slice, and of what was drawn on a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.object_size import Spacing, box_around
from sparse_annotation_tools.slices.planes import Plane, on_plane

Field = NDArray[np.float32]


def known_of_class(annotation: NDArray[np.int16], value: int) -> NDArray[np.int8]:
    """Return 1 where a class was drawn, 0 where something else was, -1 where nothing was drawn."""
    known = np.asarray(annotation == value, np.int8)
    known[annotation < 0] = -1
    return known


def drawn_slices(annotation: NDArray[np.int16], axis: int) -> list[int]:
    """Return the slices across `axis` that were drawn as a whole, of classes [z, y, x] with -1 where nothing was."""
    slices = np.moveaxis(annotation, axis, 0)
    possible = np.flatnonzero(slices[:, 0, 0] >= 0)  # few, and to look at whole slices takes time
    return [int(index) for index in possible if (slices[index] >= 0).all()]


def signed_distance(mask: NDArray[np.bool_], axis: int, spacing_mm: Spacing, *, cap_mm: float) -> Field:
    """Return the in-plane distance to the outline in every slice across `axis`: positive inside, never 0.

    Args:
        mask: [z, y, x].
        axis: the axis across the slices.
        spacing_mm: voxel size along z, y and x.
        cap_mm: largest distance; also that of a slice without outline.
    """
    in_plane_mm = [step for other, step in enumerate(spacing_mm) if other != axis]
    distance = np.where(mask, np.float32(cap_mm), np.float32(-cap_mm))
    for inside, of_slice in zip(np.moveaxis(mask, axis, 0), np.moveaxis(distance, axis, 0), strict=True):
        if inside.any() and not inside.all():
            _measure_slice(inside, of_slice, in_plane_mm, cap_mm)
    return distance


def _measure_slice(inside: NDArray[np.bool_], distance: Field, spacing_mm: Sequence[float], cap_mm: float) -> None:
    """Write the signed distances of one slice; where they count, and so in a fraction of the time of a whole slice."""
    near = box_around(inside, spacing_mm, cap_mm)
    outside_mm = ndimage.distance_transform_edt(~inside[near], sampling=spacing_mm)
    distance[near] = -np.minimum(outside_mm, cap_mm)
    tight = box_around(inside, spacing_mm, max(spacing_mm))  # all around it is outside, and nothing outside is nearer
    inside_mm = ndimage.distance_transform_edt(inside[tight], sampling=spacing_mm)
    np.copyto(distance[tight], np.minimum(inside_mm, cap_mm), where=inside[tight], casting="same_kind")


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
