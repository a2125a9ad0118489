"""One label and one confidence per voxel from all annotated slices of a case.

Beyond the paper, whose networks each learn from one slice's propagated label. Every length is measured in object sizes,
so the same numbers serve an atrium and a hippocampus, at any resolution.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.propagation.crossing import Outlines, find_all_outlines
from sparse_annotation_tools.propagation.object_size import Box, Spacing
from sparse_annotation_tools.propagation.outlines import Field, drawn_slices, known_of_class, silhouettes
from sparse_annotation_tools.slices.planes import Plane, on_plane

# Lengths in object sizes and weights. Chosen by mean Dice on the first half of the labelled cases of left atrium (full
# and third resolution) and hippocampus; benchmarks/propagation.py measures them on all cases.
_NEAR = 0.1  # decay of a slice's vote with distance, as alpha**d in eq. (6)
_FAR = 0.4  # the same for the confidence, which must still tell voxels apart where the votes have died
_SOFTNESS = 0.1  # distance to a propagated outline at which a vote is three quarters sure
_BOUND_SHARP = 0.04
_BOUND_WIDE = 0.2
_OUTSIDE = 0.06  # what a vote must outweigh where the object's extent on the planes speaks against it

_SURE = 255


@dataclass(frozen=True, kw_only=True)
class ConfidenceModel:
    """Logistic model of the probability that a fused label is right."""

    near: float
    """Weight of the evidence that decided the label."""
    far: float
    """Weight of the slowly decaying votes for the label."""
    bound: float
    """Weight of the object's extent on the annotated planes, as far as it supports the label."""
    constant: float

    def probability(self, near: Field, far: Field, bound: Field) -> Field:
        """Return the probability, from evidence that is positive where it supports the label."""
        logit = self.near * near + self.far * far + self.bound * bound + self.constant
        return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


# Fitted by benchmarks/fusion_confidence.py to the first half of the labelled cases of left atrium (full and third
# resolution) and hippocampus; it also shows how well they hold on the cases left out.
FOREGROUND = ConfidenceModel(near=7.9, far=0.2, bound=0.0, constant=-0.45)
BACKGROUND = ConfidenceModel(near=0.0, far=3.1, bound=1.2, constant=1.1)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the slices say about one class; each field [z, y, x], positive for the class and negative against it."""

    near: Field
    far: Field
    bound: Field


def fuse(
    propagated: NDArray[np.uint8],
    planes: Sequence[Plane],
    annotation: NDArray[np.int16],
    classes: Sequence[int],
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    outlines: Sequence[Outlines] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Merge the propagated labels of N annotated slices.

    Slice k votes for a class by the distance to its propagated outline, after the planes that cross have corrected that
    outline, and with a weight that decays with the distance from its plane. Where planes of several axes show the
    class, the extent of the object on them bounds it: faint votes beyond are not enough. A slice that does not show a
    class has no vote on it.

    Args:
        propagated: [N, z, y, x] classes propagated from each annotated slice.
        planes: (axis, index) of each annotated slice, in the same order.
        annotation: [z, y, x] drawn class (0 is drawn background), -1 where nothing was drawn.
        classes: foreground classes, in any order; one that is drawn nowhere is taken to be absent.
        spacing_mm: voxel size along z, y and x.
        outlines: `find_all_outlines` of the propagated labels, where they have been found already.

    Returns:
        label: [z, y, x]; where drawn, the drawn class.
        confidence: [z, y, x] 0 to 255; 255 where drawn, elsewhere 255 times the probability that the label is right.
    """
    label = np.zeros(annotation.shape, np.uint8)
    confidence = np.full(annotation.shape, _SURE - 1, np.uint8)
    if (annotation > 0).any():
        if outlines is None:
            outlines = find_all_outlines(propagated, planes, annotation, spacing_mm)
        box = box_of(outlines)
        found = gather_evidence(outlines, planes, annotation, classes, spacing_mm)
        label[box], confidence[box] = _decide(dict(found), annotation[box].shape)
    drawn = annotation >= 0
    label[drawn] = annotation[drawn].astype(np.uint8)
    confidence[drawn] = _SURE
    return label, confidence


def gather_evidence(
    outlines: Sequence[Outlines],
    planes: Sequence[Plane],
    annotation: NDArray[np.int16],
    classes: Collection[int],
    spacing_mm: Spacing,
) -> Iterator[tuple[int, Evidence]]:
    """Yield (class, evidence) for every class that is drawn on a plane, in ascending order, over the outlines' box.

    Arguments as in `fuse`; there is at least one outline.
    """
    box, size_mm = box_of(outlines), outlines[0].size_mm
    for value in sorted(set(classes)):
        shown = [k for k, plane in enumerate(planes) if (annotation[on_plane(plane)] == value).any()]
        if not shown:
            continue
        known = known_of_class(annotation[box], value)
        near = np.zeros(known.shape, np.float32)
        far = np.zeros(known.shape, np.float32)
        inside = [(planes[k][0], planes[k][1] - box[planes[k][0]].start) for k in shown]
        for k, plane in zip(shown, inside, strict=True):
            vote = np.tanh(outlines[k].over(box, value) / (_SOFTNESS * size_mm))
            distance = _distance_mm(known.shape, plane, spacing_mm) / size_mm
            near += np.exp(-distance / _NEAR) * vote
            far += np.exp(-distance / _FAR) * vote
        for axis in {axis for axis, _ in inside}:
            for index in drawn_slices(annotation, axis):
                if not (annotation[on_plane((axis, index))] == value).any():
                    plane = (axis, index - box[axis].start)
                    distance = _distance_mm(known.shape, plane, spacing_mm) / size_mm
                    near -= np.exp(-distance / _NEAR)
                    far -= np.exp(-distance / _FAR)
        extent = _extent(known, inside, spacing_mm, size_mm)
        if extent is not None:
            near -= _OUTSIDE / 2 * (1 - np.tanh(extent / _BOUND_SHARP))
        bound = np.zeros_like(near) if extent is None else np.tanh(extent / _BOUND_WIDE)
        yield value, Evidence(near=near, far=far, bound=bound)


def box_of(outlines: Sequence[Outlines]) -> Box:
    """Return the box that holds those of all outlines."""
    z, y, x = (
        slice(min(one.box[axis].start for one in outlines), max(one.box[axis].stop for one in outlines))
        for axis in range(3)
    )
    return z, y, x


def _decide(evidence: dict[int, Evidence], shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the class with the most evidence, background where all evidence is against, and the confidence in it."""
    label = np.zeros(shape, np.uint8)
    best: dict[str, Field] = {}
    for value, found in evidence.items():
        if not best:
            best = {"near": found.near.copy(), "far": found.far.copy(), "bound": found.bound.copy()}
            label[:] = value
            continue
        better = found.near > best["near"]
        label[better] = value
        for name, field in best.items():
            field[better] = getattr(found, name)[better]
    foreground = best["near"] > 0
    label[~foreground] = 0
    right = np.zeros(shape, np.float32)
    for model, side, sign in ((FOREGROUND, foreground, 1), (BACKGROUND, ~foreground, -1)):
        near, far, bound = (sign * best[name][side] for name in ("near", "far", "bound"))
        right[side] = model.probability(near, far, bound)
    return label, np.minimum(np.rint(_SURE * right), _SURE - 1).astype(np.uint8)


def _extent(known: NDArray[np.int8], planes: Sequence[Plane], spacing_mm: Spacing, size_mm: float) -> Field | None:
    """Return how deep a voxel lies inside the object as drawn on the planes of every axis, in object sizes.

    None for planes of one axis: they bound nothing across themselves.
    """
    depths = silhouettes(known, planes, spacing_mm, size_mm)
    if len(depths) < 2:
        return None
    bound = np.full(known.shape, np.inf, np.float32)
    for depth in depths.values():
        np.minimum(bound, depth, out=bound)
    return bound


def _distance_mm(shape: tuple[int, ...], plane: Plane, spacing_mm: Spacing) -> Field:
    """Return the distance from a plane, shaped to broadcast along its axis."""
    axis, index = plane
    along = [1, 1, 1]
    along[axis] = -1
    distance: Field = np.abs(np.arange(shape[axis], dtype=np.float32) - index).reshape(along)
    return distance * np.float32(spacing_mm[axis])
