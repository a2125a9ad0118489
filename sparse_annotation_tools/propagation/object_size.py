"""How large the annotated object is and where it lies: the scale of everything that is not measured in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Spacing = tuple[float, float, float]
Box = tuple[slice, ...]
"""A slice for each axis."""


def object_size_mm(annotation: NDArray[np.int16], spacing_mm: Spacing) -> float:
    """Return the geometric mean of the drawn foreground's sides, along the axes that a plane runs along.

    Args:
        annotation: [z, y, x] drawn class, -1 where nothing was drawn.
        spacing_mm: voxel size along z, y and x.

    Raises:
        ValueError: nothing is drawn as foreground.
    """
    foreground = annotation > 0
    sides = []
    for axis, step in enumerate(spacing_mm):
        occupied = _occupied(foreground, axis)
        if len(occupied) == 0:
            raise ValueError("the annotation shows no foreground")
        if occupied[-1] > occupied[0]:
            sides.append(float(occupied[-1] - occupied[0] + 1) * step)
    return float(np.exp(np.mean(np.log(sides)))) if sides else min(spacing_mm)


def box_around(foreground: NDArray[np.bool_], spacing_mm: Sequence[float], margin_mm: float) -> Box:
    """Return the box of `foreground` [...], which must not be empty, with a margin that ends with the grid."""
    sides = []
    for axis, step in enumerate(spacing_mm):
        occupied = _occupied(foreground, axis)
        margin = int(np.ceil(margin_mm / step))
        end = min(foreground.shape[axis], int(occupied[-1]) + 1 + margin)
        sides.append(slice(max(0, int(occupied[0]) - margin), end))
    return tuple(sides)


def _occupied(foreground: NDArray[np.bool_], axis: int) -> NDArray[np.intp]:
    """Return the slices across `axis` that hold foreground."""
    return np.flatnonzero(foreground.any(axis=tuple(other for other in range(foreground.ndim) if other != axis)))
