"""Suggest slices for one scan: choose the rule that uses most of what is known of it, and show the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.files.volumes import Volume
from sparse_annotation_tools.propagation.object_size import Spacing
from sparse_annotation_tools.report.slice_picture import ShownSlice, SuggestionPicture
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.drawing import Drawing
from sparse_annotation_tools.slices.planes import Plane, on_plane
from sparse_annotation_tools.slices.upright import Upright
from sparse_annotation_tools.suggestion.centres import Point
from sparse_annotation_tools.suggestion.doubt import Prediction
from sparse_annotation_tools.suggestion.files import Record
from sparse_annotation_tools.suggestion.rules import (
    Suggestion,
    areas_from_slices,
    areas_of_label,
    centre_of_edges,
    next_by_area,
    next_by_doubt,
    slices_through,
)

MIDDLE = "first slices, through the centre of the image's edges"
POINT = "first slices, through the given point"
REFERENCE = "first slices, largest area of the registered reference's label"
LARGEST = "largest area of the label, far from drawn slices"
BETWEEN = "largest area between drawn slices"
DOUBT = "largest expected error of the prediction"


@dataclass(frozen=True, kw_only=True)
class KnownScan:
    """One scan and what is known of it.

    Attributes:
        volume: first channel.
        axes: array axis of each view.
        drawing: what has been drawn on it.
        prediction: what is predicted for it.
        centre: index (z, y, x) of a point in the organ, given by the user.
        carried: label of a reference, registered.
    """

    volume: Volume
    axes: Mapping[str, int]
    drawing: Drawing
    prediction: Prediction | None = None
    centre: Point | None = None
    carried: NDArray[np.uint8] | None = None

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size along the array axes."""
        return self.volume.geometry.spacing_mm

    @property
    def label(self) -> NDArray[Any] | None:
        """The most that is known of the organ."""
        if self.prediction is not None:
            return self.prediction.label
        if self.drawing.dense is not None:
            return self.drawing.dense
        return np.maximum(self.drawing.annotation, 0) if self.drawing.planes else self.carried


def suggest(scan: KnownScan, slices: int) -> tuple[str, list[Suggestion]]:
    """Return the rule's name and the suggested slices, the best first.

    Args:
        scan: what is known.
        slices: how many next slices are wanted. First slices are always one a view.
    """
    drawn, spacing, axes = scan.drawing, scan.spacing_mm, scan.axes
    if scan.prediction is not None:
        wrong, size_mm = scan.prediction.wrong, side_mm(scan.prediction.label, spacing)
        return DOUBT, next_by_doubt(wrong, spacing, axes, drawn.planes, slices, size_mm=size_mm)
    if drawn.dense is not None:
        count = slices if drawn.planes else len(VIEWS)
        return LARGEST, next_by_area(areas_of_label(drawn.dense, spacing, axes), spacing, axes, drawn.planes, count)
    if drawn.planes:
        areas = areas_from_slices(drawn.annotation, drawn.planes, spacing, axes)
        return BETWEEN, next_by_area(areas, spacing, axes, drawn.planes, slices)
    if scan.centre is not None:
        return POINT, slices_through(scan.centre, scan.volume.array.shape, axes)
    if scan.carried is not None:
        return REFERENCE, next_by_area(areas_of_label(scan.carried, spacing, axes), spacing, axes, (), len(VIEWS))
    return MIDDLE, slices_through(centre_of_edges(scan.volume.array, spacing), scan.volume.array.shape, axes)


def side_mm(label: NDArray[Any], spacing_mm: Spacing) -> float:
    """Return the geometric mean of the sides of the foreground's box, or of the scan where there is no foreground."""
    foreground = np.asarray(label > 0)
    if not foreground.any():
        foreground = np.ones(label.shape, bool)
    sides = []
    for axis, step in enumerate(spacing_mm):
        occupied = np.flatnonzero(foreground.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append((occupied[-1] - occupied[0] + 1) * step)
    return float(np.exp(np.mean(np.log(sides))))


def picture_of(record: Record, scan: KnownScan) -> SuggestionPicture:
    """Return the picture of a scan's suggested slices."""
    upright = Upright.of(scan.volume.geometry.direction, scan.volume.geometry.shape)
    wrong = None if scan.prediction is None else scan.prediction.wrong
    shown = []
    for each in record.suggested:
        plane = (each.axis, each.index)
        title = f"annotate {each.view} {each.index}\nSlicer: {each.ras_mm} mm; ITK-SNAP: {each.itk_snap}"
        focus = upright.point(_focus(plane, record, scan))
        shown.append(ShownSlice(plane=upright.plane(plane), title=title, focus=focus))
    return SuggestionPicture(
        title=f"{record.case}: {record.rule}",
        image=upright.array(scan.volume.array),
        spacing_mm=upright.triple(scan.spacing_mm),
        shown=shown,
        drawn=[upright.plane(plane) for plane in scan.drawing.planes],
        label=None if scan.label is None else upright.array(scan.label),
        wrong=None if wrong is None else upright.array(wrong),
    )


def _focus(plane: Plane, record: Record, scan: KnownScan) -> tuple[int, int, int]:
    """Return the voxel of a slice that the other views are cut through: amid the doubt on it, or the organ."""
    point = [side // 2 for side in scan.volume.array.shape]
    for each in record.suggested:
        point[each.axis] = each.index
    others = [axis for axis in range(3) if axis != plane[0]]
    weights: Sequence[NDArray[Any]] = [
        *([] if scan.prediction is None else [scan.prediction.wrong]),
        *([] if scan.label is None else [scan.label > 0]),
    ]
    for weight in weights:
        if weight[on_plane(plane)].any():
            for axis, position in zip(others, ndimage.center_of_mass(weight[on_plane(plane)]), strict=True):
                point[axis] = round(position)
            break
    point[plane[0]] = plane[1]
    z, y, x = point
    return z, y, x
