"""Which slices of a case a picture shows, and how much around the organ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.planes import Plane, on_plane
from sparse_annotation_tools.report.case_volumes import CaseVolumes

Array = NDArray[Any]
Box = tuple[slice, ...]


def cut(volume: Array, plane: Plane, box: Box) -> Array:
    """Return a plane as radiologists look at it: head or front on top, the patient's right on the left side.

    Args:
        volume: upright [z, y, x].
        plane: axis and index in `volume`.
        box: the part to show; along the plane's axis it counts for nothing.
    """
    whole: Array = volume[on_plane(plane)]
    rows, columns = (side for axis, side in enumerate(box) if axis != plane[0])
    shown = whole[rows, columns]
    return shown if plane[0] == 0 else shown[::-1]


def plane_between(case: CaseVolumes) -> Plane:
    """Return a plane halfway from an annotated one to the far end of the organ: neither the best nor the worst place.

    The case must have annotated planes.
    """
    plane = next((plane for plane in case.planes if plane.view == "axial"), case.planes[0])
    # The best knowledge of where the organ ends: a label propagated from one plane may run far past it.
    known = case.truth if case.truth is not None else case.fused
    labels = case.propagated if known is None else (known,)
    others = tuple(axis for axis in range(3) if axis != plane.axis)
    occupied = np.flatnonzero(np.any([(label > 0).any(axis=others) for label in labels], axis=0))
    if occupied.size == 0:
        return plane.axis, plane.index
    far = max(int(occupied[0]), int(occupied[-1]), key=lambda end: abs(end - plane.index))
    return plane.axis, round((plane.index + far) / 2)


def largest_slice(label: Array, axis: int) -> int:
    """Return the slice across `axis` with the most foreground; the middle one where there is none."""
    others = tuple(other for other in range(3) if other != axis)
    areas = (label > 0).sum(axis=others)
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def box_of_labels(case: CaseVolumes) -> Box:
    """Return the box of all labels, with half its size around it, so that small organs in large scans are seen."""
    labels = [*case.propagated, case.annotation, case.fused, case.prediction, case.truth]
    anything = np.zeros(case.image.shape, bool)
    for label in labels:
        if label is not None:
            anything |= label > 0
    if not anything.any():
        return tuple(slice(None) for _ in range(3))
    sides = []
    for axis, positions in enumerate(np.nonzero(anything)):
        first, last = int(positions.min()), int(positions.max())
        margin = math.ceil(max((last - first + 1) / 2, 10 / case.spacing_mm[axis]))
        sides.append(slice(max(first - margin, 0), last + margin + 1))
    # Every annotated plane is shown, even an empty one far from the organ.
    for plane in case.planes:
        side = sides[plane.axis]
        sides[plane.axis] = slice(min(side.start, plane.index), max(side.stop, plane.index + 1))
    return tuple(sides)
