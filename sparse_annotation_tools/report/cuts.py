"""Which slices of a case a picture shows, and how much around the organ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.report.case_volumes import CaseVolumes
from sparse_annotation_tools.report.upright_cut import Box
from sparse_annotation_tools.slices.planes import Plane

Array = NDArray[Any]


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


def box_of_labels(case: CaseVolumes) -> Box:
    """Return the box of all labels, with half its size around it, so that small organs in large scans are seen."""
    labels = [*case.propagated, case.annotation, case.fused, case.prediction, case.truth]
    anything = np.zeros(case.image.shape, bool)
    for label in labels:
        if label is not None:
            anything |= label > 0
    if not anything.any():
        return slice(None), slice(None), slice(None)
    sides = []
    for axis, positions in enumerate(np.nonzero(anything)):
        first, last = int(positions.min()), int(positions.max())
        margin = math.ceil(max((last - first + 1) / 2, 10 / case.spacing_mm[axis]))
        sides.append(slice(max(first - margin, 0), last + margin + 1))
    # Every annotated plane is shown, even an empty one far from the organ.
    for plane in case.planes:
        side = sides[plane.axis]
        sides[plane.axis] = slice(min(side.start, plane.index), max(side.stop, plane.index + 1))
    return sides[0], sides[1], sides[2]
