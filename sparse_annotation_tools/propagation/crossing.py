"""Hold a propagated label to the annotated planes that cross it.

Each slice that a label was propagated to is cut by the other annotated planes along lines, and on those lines the truth
is known. Where the propagated label contradicts it, its outline is moved, most at the line and less further away. And
the planes of other axes show how far the object reaches: the label ends there, which registration does not see, as it
carries a label through slices that show nothing of the object any more. Drawn slices of its own axis that do not show
the object end it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.object_size import Box, Spacing, box_around, object_size_mm
from sparse_annotation_tools.propagation.outlines import (
    Field,
    drawn_slices,
    known_of_class,
    signed_distance,
    silhouettes,
)
from sparse_annotation_tools.slices.planes import Plane, on_plane

REACH = 0.2  # how far a line's correction reaches, in object sizes
CAP = 0.3  # distance at which an outline is as good as none, in object sizes

# How far a label may reach beyond what the planes of other axes show, in object sizes, and which share of what is drawn
# on any plane must lie within. Chosen by the views' mean Dice on left atrium (third resolution) and hippocampus.
_BEYOND = 0.05
_WITHIN = 0.95


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """Where a propagated label ends in its slices, moved to where the planes that cross it show that it does."""

    box: Box
    """The part of the grid that holds the label, all that is drawn and a margin; no outline is near beyond it."""
    size_mm: float
    """Of the annotated object."""
    distance_mm: Mapping[int, Field]
    """By class, in ascending order: in-plane distance over the box, positive inside."""

    def over(self, box: Box, value: int) -> Field:
        """Return the distances of a class over another box, which holds this one."""
        distance = np.full([side.stop - side.start for side in box], -CAP * self.size_mm, np.float32)
        if value in self.distance_mm:
            inside = tuple(
                slice(own.start - side.start, own.stop - side.start) for own, side in zip(self.box, box, strict=True)
            )
            distance[inside] = self.distance_mm[value]
        return distance


def find_outlines(
    propagated: NDArray[np.uint8], axis: int, annotation: NDArray[np.int16], spacing_mm: Spacing
) -> Outlines:
    """Return the outlines of every class of a propagated label, corrected by the annotated planes.

    Args:
        propagated: [z, y, x] classes propagated from one slice.
        axis: array axis across that slice.
        annotation: [z, y, x] drawn class of all annotated slices (0 is drawn background), -1 where nothing was drawn.
        spacing_mm: voxel size along z, y and x.

    Returns:
        The outlines; none, in an empty box, where nothing is drawn as foreground.
    """
    if not (annotation > 0).any():
        return Outlines(box=(slice(0, 0), slice(0, 0), slice(0, 0)), size_mm=0.0, distance_mm={})
    size_mm = object_size_mm(annotation, spacing_mm)
    box = box_around((propagated > 0) | (annotation > 0), spacing_mm, CAP * size_mm)
    label, drawn = end_at_slices_without(propagated, axis, annotation)[box], annotation[box]
    distances: dict[int, Field] = {}
    for value in np.unique(label[label > 0]):
        known = known_of_class(drawn, value)
        distance = signed_distance(label == value, axis, spacing_mm, cap_mm=CAP * size_mm)
        distances[int(value)] = corrected_distance(distance, known, axis, spacing_mm, reach_mm=REACH * size_mm)
    return Outlines(box=box, size_mm=size_mm, distance_mm=distances)


def end_at_slices_without(propagated: NDArray[np.uint8], axis: int, annotation: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return the label without what was carried through a drawn slice of its axis that does not show the class.

    Beyond such a slice a class goes on only if there is another one that shows it. Arguments as in `find_outlines`.
    """
    drawn = drawn_slices(annotation, axis)
    if len(drawn) < 2:
        return propagated
    shown = {value: _slices_with(annotation, axis, drawn, value) for value in np.unique(annotation[annotation > 0])}
    if all(len(with_it) in (0, len(drawn)) for with_it in shown.values()):
        return propagated
    ended = propagated.copy()
    slices = np.moveaxis(ended, axis, 0)
    for value, with_it in shown.items():
        ends = [-1, *(index for index in drawn if index not in with_it), len(slices)]
        for before, after in pairwise(ends):
            if with_it and not any(before < index < after for index in with_it):
                between = slices[before + 1 : after]
                between[between == value] = 0
    return ended


def _slices_with(annotation: NDArray[np.int16], axis: int, slices: Iterable[int], value: int) -> list[int]:
    return [index for index in slices if (annotation[on_plane((axis, index))] == value).any()]


def find_all_outlines(
    propagated: Iterable[NDArray[np.uint8]],
    planes: Sequence[Plane],
    annotation: NDArray[np.int16],
    spacing_mm: Spacing,
    *,
    threads: int = 1,
) -> list[Outlines]:
    """Return `find_outlines` of the label propagated from each plane; the slowest part of all that uses them.

    `threads` of them are found at once.
    """

    def one(label: NDArray[np.uint8], plane: Plane) -> Outlines:
        return find_outlines(label, plane[0], annotation, spacing_mm)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, propagated, planes))


def hold_to_planes(
    propagated: NDArray[np.uint8],
    axis: int,
    planes: Sequence[Plane],
    annotation: NDArray[np.int16],
    spacing_mm: Spacing,
    outlines: Outlines | None = None,
) -> NDArray[np.uint8]:
    """Return a propagated label whose outlines agree with all annotated planes.

    Where a class would lie beyond what the planes of other axes show of it, the class is taken that they show there, or
    background. Departure from the paper: it pastes the other annotated slices into a view, which this does too, but
    leaves the label beside them as it was.

    Args:
        propagated: [z, y, x] classes propagated from one slice.
        axis: array axis across that slice.
        planes: (axis, index) of all annotated planes.
        annotation: [z, y, x] drawn class of all annotated slices (0 is drawn background), -1 where nothing was drawn.
        spacing_mm: voxel size along z, y and x.
        outlines: `find_outlines` of this label, where they have been found already.
    """
    drawn = annotation >= 0
    held = np.where(drawn, annotation, propagated).astype(np.uint8)
    if not (propagated > 0).any() or not (annotation > 0).any():
        return held
    if outlines is None:
        outlines = find_outlines(propagated, axis, annotation, spacing_mm)
    box = outlines.box
    shape = propagated[box].shape
    label, instead = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    best, room_of_label = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    most_room = np.full(shape, _BEYOND, np.float32)
    for value, distance in outlines.distance_mm.items():
        known = known_of_class(annotation, value)
        room = _room(known, axis, planes, box, spacing_mm, outlines.size_mm)
        nearer = distance > best
        label[nearer], best[nearer], room_of_label[nearer] = value, distance[nearer], room[nearer]
        roomier = room > most_room
        instead[roomier], most_room[roomier] = value, room[roomier]
    beyond = room_of_label < 0
    label[beyond] = instead[beyond]
    held[box] = np.where(drawn[box], held[box], label)
    return held


def _room(
    known: NDArray[np.int8], axis: int, planes: Sequence[Plane], box: Box, spacing_mm: Spacing, size_mm: float
) -> NDArray[np.float32]:
    """Return how far each voxel of the box lies within what the planes of other axes than `axis` allow a class.

    Planes of one axis may miss widest places, or whole parts of the object: what is drawn on other planes then lies
    beyond, and as far as most of that does, everything may. In object sizes, negative beyond.
    """
    room = np.full(known[box].shape, np.inf, np.float32)
    depths = silhouettes(known, planes, spacing_mm, size_mm)
    for across in depths.keys() - {axis}:
        margin = _BEYOND
        for plane in planes:
            drawn = known[on_plane(plane)] == 1
            if plane[0] != across and drawn.any():
                depth = np.broadcast_to(depths[across][on_plane(plane)], drawn.shape)
                margin = max(margin, _BEYOND - float(np.quantile(depth[drawn], 1 - _WITHIN)))
        np.minimum(room, np.broadcast_to(depths[across], known.shape)[box] + np.float32(margin), out=room)
    return np.where(np.isinf(room), np.float32(0), room)


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
    first, second = (reach_mm / step for other, step in enumerate(spacing_mm) if other != axis)
    across = np.moveaxis(known >= 0, axis, 0)
    partly = ~across.all((1, 2))  # in a slice that is drawn as a whole, nothing is left to be moved
    rows = np.asarray(across[partly].all((0, 2)))

    def spread(values: NDArray[np.float32]) -> Field:
        return _spread(np.moveaxis(values, axis, 0)[partly], rows, (first, second))

    # A mean over the lines near by, which fades where there is none: one line through a pixel counts fully.
    nearness = spread((known >= 0).astype(np.float32))
    one_line = 1 / (np.sqrt(2 * np.pi) * max(first, second))
    moved = distance.copy()
    slices = np.moveaxis(moved, axis, 0)  # a view
    slices[partly] += spread(lack) / np.maximum(nearness, np.float32(one_line))
    return np.where(known >= 0, wanted, moved)


def _spread(slices: Field, rows: NDArray[np.bool_], sigmas: tuple[float, float]) -> Field:
    """Smooth every slice [n, H, W] by a Gaussian, with zeros outside; `rows` and a few columns hold all values.

    A line of values is smoothed along itself and carried to its sides, which is much less work than filtering whole
    slices.
    """
    across_rows, across_columns = (
        _gaussians(size, sigma) for size, sigma in zip(slices.shape[1:], sigmas, strict=True)
    )
    others = np.where(rows[:, None], np.float32(0), slices)
    smooth = np.zeros_like(slices)
    for row in np.flatnonzero(rows):
        smooth += across_rows[row][:, None] * _smooth_lines(slices[:, row], sigmas[1])[:, None, :]
    for column in np.flatnonzero(others.any((0, 1))):
        smooth += _smooth_lines(others[:, :, column], sigmas[0])[:, :, None] * across_columns[column]
    return smooth


def _gaussians(size: int, sigma: float) -> Field:
    """Return [size, size]: what smoothing makes of a single 1 at each place of a line."""
    return _smooth_lines(np.eye(size, dtype=np.float32), sigma)


def _smooth_lines(lines: Field, sigma: float) -> Field:
    smooth: Field = ndimage.gaussian_filter1d(lines, sigma, axis=1, mode="constant", truncate=3.0)
    return smooth
