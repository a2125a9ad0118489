"""Which slice to annotate: rules on arrays.

First slices, of a scan that nobody has labelled, go through one point. Next slices go where the drawn slices say little
about the object (`next_by_area`), or where the prediction is probably wrong (`next_by_doubt`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.object_size import Spacing
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import Plane, on_plane

Axes = Mapping[str, int]

_STRONGEST_EDGES = 99.0  # percentile at which edges are cut off: metal and burnt-in marks must not draw the centre
# How far a drawn slice settles its surroundings, in object sizes. Chosen, among several ways to keep away from drawn
# slices, by the Dice of the fused label on the first four left atria of docs/how-to/suggest-slices.md.
_REACH = 0.3


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One slice to annotate. `score` orders slices of the same rule; 0 where the rule has no order."""

    view: str
    plane: Plane
    score: float = 0.0


def centre_of_edges(image: NDArray[Any], spacing_mm: Spacing) -> tuple[float, float, float]:
    """Return the centre of mass of the image's edges, as an index (z, y, x).

    Air and other even regions have no edges, so this is about the middle of the body part that was scanned; of where
    one organ is, the image alone says nothing.

    Args:
        image: [z, y, x] of any number type; NaN and infinity count as the smallest finite value.
        spacing_mm: voxel size along z, y and x.
    """
    values = np.asarray(image, np.float32)
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite].min() if finite.any() else np.float32(0))
    edges = np.sqrt(sum(np.gradient(values, step, axis=axis) ** 2 for axis, step in enumerate(spacing_mm)))
    edges = np.minimum(edges, np.percentile(edges, _STRONGEST_EDGES))
    if not edges.any():
        z, y, x = ((side - 1) / 2 for side in image.shape)
    else:
        z, y, x = (float(position) for position in ndimage.center_of_mass(edges))
    return z, y, x


def slices_through(centre: Sequence[float], shape: Sequence[int], axes: Axes) -> list[Suggestion]:
    """Return the three slices, one a view, nearest to the point `centre` (z, y, x); it may lie outside the scan."""
    found = []
    for view in VIEWS:
        axis = axes[view]
        index = min(max(round(centre[axis]), 0), shape[axis] - 1)
        found.append(Suggestion(view=view, plane=(axis, index)))
    return found


def next_by_area(
    areas_mm2: Mapping[str, NDArray[Any]], spacing_mm: Spacing, axes: Axes, annotated: Sequence[Plane], count: int
) -> list[Suggestion]:
    """Choose slices that show much of the object, far from slices of the same view.

    Views without a slice come first, each with the slice of largest area. Then it is the slice with the largest product
    of area and distance to the nearest slice of its view: about the volume that it decides. Ties go to the lowest index
    and to the order of `VIEWS`.

    Args:
        areas_mm2: per view, the object's area on each slice.
        spacing_mm: voxel size along z, y and x.
        axes: array axis of each view.
        annotated: planes that are drawn already.
        count: how many slices to choose; fewer are returned where no other slice shows the object.
    """
    taken = list(annotated)
    chosen: list[Suggestion] = []
    while len(chosen) < count:
        candidates = [_best_by_area(view, areas_mm2[view], spacing_mm, axes[view], taken) for view in VIEWS]
        possible = [(fresh, suggestion) for fresh, suggestion in candidates if suggestion.score > 0]
        if not possible:
            break
        _, best = max(possible, key=lambda candidate: (candidate[0], candidate[1].score))
        chosen.append(best)
        taken.append(best.plane)
    return chosen


def _best_by_area(
    view: str, area_mm2: NDArray[Any], spacing_mm: Spacing, axis: int, taken: Sequence[Plane]
) -> tuple[bool, Suggestion]:
    """Return whether the view is without a slice, and its best slice."""
    away = _away_mm(len(area_mm2), axis, spacing_mm, taken)
    worth = np.asarray(area_mm2, float) if away is None else area_mm2 * away
    index = int(worth.argmax())
    return away is None, Suggestion(view=view, plane=(axis, index), score=float(worth[index]))


def areas_of_label(label: NDArray[Any], spacing_mm: Spacing, axes: Axes) -> dict[str, NDArray[np.float64]]:
    """Return per view the area in mm2 of a dense label's foreground on each slice."""
    return {view: _across(label > 0, axes[view]) * _pixel_mm2(spacing_mm, axes[view]) for view in VIEWS}


def areas_from_slices(
    annotation: NDArray[np.int16], planes: Sequence[Plane], spacing_mm: Spacing, axes: Axes
) -> dict[str, NDArray[np.float64]]:
    """Estimate per view the object's area in mm2 on each slice from a few drawn slices.

    A slice is crossed by the drawn planes of the other views along lines. The object's lengths on two crossing lines
    give an ellipse, one length gives a circle. Where nothing crosses, areas between drawn slices of the same view are
    interpolated. A view of which nothing is known has area 0 everywhere.

    Args:
        annotation: [z, y, x] drawn class, 0 is drawn background, -1 where nothing was drawn.
        planes: the drawn planes.
        spacing_mm: voxel size along z, y and x.
        axes: array axis of each view.
    """
    return {view: _estimated_area(annotation > 0, planes, spacing_mm, axes[view]) for view in VIEWS}


def _estimated_area(
    foreground: NDArray[np.bool_], planes: Sequence[Plane], spacing_mm: Spacing, axis: int
) -> NDArray[np.float64]:
    lengths = []
    for crossing in (other for other in range(3) if other != axis):
        along = 3 - axis - crossing  # the lines of planes across `crossing` run along the third axis
        drawn = [foreground[on_plane((crossing, index))] for other, index in planes if other == crossing]
        if drawn:
            # on_plane keeps the axes in order, so the line runs along rows or columns of the plane
            line = 1 if along > axis else 0
            lengths.append(np.max([plane.sum(axis=line) for plane in drawn], axis=0) * spacing_mm[along])
    if lengths:
        return np.asarray(np.pi / 4 * lengths[0] * lengths[-1], np.float64)
    own = sorted(index for other, index in planes if other == axis)
    if not own:
        return np.zeros(foreground.shape[axis])
    areas = [float(foreground[on_plane((axis, index))].sum()) * _pixel_mm2(spacing_mm, axis) for index in own]
    return np.asarray(np.interp(np.arange(foreground.shape[axis]), own, areas), np.float64)


def next_by_doubt(
    wrong: NDArray[np.float32],
    spacing_mm: Spacing,
    axes: Axes,
    annotated: Sequence[Plane],
    count: int,
    *,
    size_mm: float,
) -> list[Suggestion]:
    """Choose the slices with the largest expected error, away from slices of the same view.

    A slice at distance d from the nearest one of its view counts 1 - exp(-d / 0.3 object sizes) of its expected error:
    what is wrong beside a drawn slice is known nearly as well as can be, and a neighbour of it teaches little.

    Args:
        wrong: [z, y, x] probability that the predicted label is wrong, 0 to 1.
        spacing_mm: voxel size along z, y and x.
        axes: array axis of each view.
        annotated: planes that are drawn already; they are never chosen, and doubt on them does not count.
        count: how many slices to choose, each as if the ones before were drawn.
        size_mm: side of the object.

    Returns:
        At most `count` slices, the best first, scores in mm2; fewer where no doubt is left.
    """
    left = wrong.astype(np.float32)  # a copy
    taken = list(annotated)
    for plane in taken:
        left[on_plane(plane)] = 0
    chosen: list[Suggestion] = []
    while len(chosen) < count:
        candidates = [_most_doubtful(view, left, spacing_mm, axes[view], taken, _REACH * size_mm) for view in VIEWS]
        best = max(candidates, key=lambda candidate: candidate.score)
        if best.score <= 0:
            break
        chosen.append(best)
        taken.append(best.plane)
        left[on_plane(best.plane)] = 0
    return chosen


def _most_doubtful(
    view: str, wrong: NDArray[np.float32], spacing_mm: Spacing, axis: int, taken: Sequence[Plane], reach_mm: float
) -> Suggestion:
    """Return the best slice of one view."""
    worth = _across(wrong, axis) * _pixel_mm2(spacing_mm, axis)
    away = _away_mm(len(worth), axis, spacing_mm, taken)
    if away is not None:
        worth *= 1 - np.exp(-away / reach_mm)
    index = int(worth.argmax())
    return Suggestion(view=view, plane=(axis, index), score=float(worth[index]))


def _away_mm(slices: int, axis: int, spacing_mm: Spacing, taken: Sequence[Plane]) -> NDArray[np.float64] | None:
    """Return each slice's distance to the nearest taken one across the same axis; None where there is none."""
    own = [index for other, index in taken if other == axis]
    if not own:
        return None
    steps = np.abs(np.arange(slices)[:, None] - np.asarray(own)).min(axis=1)
    return np.asarray(steps * spacing_mm[axis], np.float64)


def _across(values: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return the sum over each slice across `axis`."""
    total: NDArray[np.float64] = values.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
    return total


def _pixel_mm2(spacing_mm: Spacing, axis: int) -> float:
    return float(np.prod([step for other, step in enumerate(spacing_mm) if other != axis]))
