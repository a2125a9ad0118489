"""One cut through an upright scan, drawn as radiologists look at it; what pictures of several panels share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.slices.planes import Plane

Array = NDArray[Any]
Box = tuple[slice, slice, slice]

TRUTH_COLOUR = "white"
_MARGIN = 0.25  # of the object's size, around it
_LEAST_MARGIN_MM = 10.0
_WINDOW_PERCENTILES = (0.5, 99.5)


def largest_slice(mask: Array, axis: int) -> int:
    """Return the index of the slice across `axis` that shows most of a mask; the middle one of an empty mask."""
    if not mask.any():
        return int(mask.shape[axis] // 2)
    others = tuple(other for other in range(mask.ndim) if other != axis)
    return int(mask.sum(axis=others).argmax())


def box_around(masks: Sequence[Array], spacing_mm: Sequence[float]) -> Box:
    """Return the box of all masks with some space around it; all there is where they are empty."""
    anything = np.logical_or.reduce(masks)
    if not anything.any():
        return (slice(None), slice(None), slice(None))
    sides = []
    for positions, step_mm in zip(np.nonzero(anything), spacing_mm, strict=True):
        first, last = int(positions.min()), int(positions.max())
        margin = math.ceil(max(_MARGIN * (last - first + 1), _LEAST_MARGIN_MM / step_mm))
        sides.append(slice(max(first - margin, 0), last + margin + 1))
    return sides[0], sides[1], sides[2]


def grey(image: Array) -> Array:
    """Return intensities as 0 to 1, cut off at both ends so that a few bright voxels do not darken the rest."""
    low, high = np.percentile(image, _WINDOW_PERCENTILES)
    scaled: Array = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    return scaled


def cut(volume: Array, plane: Plane, box: Box) -> Array:
    """Return a plane of an upright volume inside a box: head or front on top, the patient's right on the left."""
    axis, index = plane
    found: Array = volume[tuple(index if each == axis else side for each, side in enumerate(box))]
    return found if axis == 0 else found[::-1]


def height_to_width(plane: Plane, box: Box, spacing_mm: Sequence[float], shape: Sequence[int]) -> float:
    """Return the proportion of a cut through a volume of this shape, in mm."""
    sides_mm = [
        len(range(*side.indices(voxels))) * step_mm
        for axis, (side, voxels, step_mm) in enumerate(zip(box, shape, spacing_mm, strict=True))
        if axis != plane[0]
    ]
    return sides_mm[0] / sides_mm[1]


def show_grey(axes: Any, image: Array, plane: Plane, box: Box, spacing_mm: Sequence[float]) -> None:
    """Draw a plane of a volume of 0 to 1 in grey, in true proportions and without ticks."""
    row_mm, column_mm = (step for axis, step in enumerate(spacing_mm) if axis != plane[0])
    axes.imshow(cut(image, plane, box), cmap="gray", vmin=0, vmax=1, aspect=row_mm / column_mm, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def outline(axes: Any, mask: Array, *, colour: str, width: float, style: str = "solid") -> None:
    """Draw the edge of a 2-D mask, closed at the border of the picture."""
    if not mask.any():
        return
    rows, columns = (np.arange(-1, side + 1) for side in mask.shape)
    axes.contour(
        columns,
        rows,
        np.pad(mask, 1).astype(float),
        levels=[0.5],
        colors=[colour],
        linewidths=width,
        linestyles=[style],
    )
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)
