"""Overlap and surface distances of two masks, as medpy 0.5.2 defines them, on cropped surfaces with a k-d tree.

A surface voxel is a mask voxel with at least one of its face neighbours (or the image's edge) outside the mask. A
distance runs from the centre of a surface voxel of one mask to the nearest surface voxel centre of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

METRICS = ("dice", "jaccard", "hd95_voxel", "hd95_mm", "asd_voxel", "asd_mm", "assd_voxel", "assd_mm")
"""Names of the measures, in the order in which they are printed and stored."""

DEFINITIONS = {
    "dice": "2 |P and T| / (|P| + |T|) of prediction P and truth T, counted in voxels",
    "jaccard": "|P and T| / |P or T|",
    "hd95": "95th percentile of the distances of both directions, P to T and T to P, pooled into one set",
    "asd": "mean distance from P's surface to T's surface (one direction)",
    "assd": "mean of the distances of both directions, pooled into one set",
    "surface": "mask voxels with a face neighbour, or the image's edge, outside the mask; distances between centres",
    "voxel": "distance counted in voxels, spacing ignored (as most papers on LA2018 do)",
    "mm": "distance in millimetres, by the truth file's spacing",
    "empty prediction": "Dice and Jaccard are 0 and enter the mean; distances are null, left out and counted beside it",
    "empty prediction and empty truth": "all measures are null, left out of every mean and counted beside it",
    "empty truth": "Dice and Jaccard are 0; distances are null",
    "ignore": "voxels that the truth ignores count for nothing; a case that has some gets no distances",
    "sd": "standard deviation over cases with n - 1 in the denominator",
}
"""What each number means, for the head of a result file."""


def mask_metrics(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Return every measure of `METRICS`; NaN where it is undefined.

    Args:
        prediction: [X, Y, Z] mask.
        truth: [X, Y, Z] mask.
        spacing_mm: voxel size along each array axis.
    """
    return {
        **undefined(),
        **overlap_metrics(prediction, truth),
        **distance_metrics(prediction, truth, spacing_mm),
    }


def overlap_metrics(prediction: Mask, truth: Mask) -> dict[str, float]:
    """Return `dice` and `jaccard`; nothing where both masks are empty."""
    both = int(np.count_nonzero(prediction & truth))
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    if total == 0:
        return {}
    return {"dice": 2 * both / total, "jaccard": both / (total - both)}


def distance_metrics(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Return the surface distances in voxels and millimetres; nothing where a mask is empty."""
    surface_p, surface_t = surface_points(prediction), surface_points(truth)
    if len(surface_p) == 0 or len(surface_t) == 0:
        return {}
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    in_voxels = directed_distances(surface_p, surface_t)
    if np.all(spacing == spacing[0]):
        in_mm = in_voxels[0] * spacing[0], in_voxels[1] * spacing[0]
    else:
        in_mm = directed_distances(surface_p * spacing, surface_t * spacing)
    values = {}
    for unit, (to_truth, to_prediction) in (("voxel", in_voxels), ("mm", in_mm)):
        pooled = np.concatenate([to_truth, to_prediction])
        values[f"hd95_{unit}"] = float(np.percentile(pooled, 95))
        values[f"asd_{unit}"] = float(to_truth.mean())
        values[f"assd_{unit}"] = float(pooled.mean())
    return values


def without_distances(measures: dict[str, float]) -> dict[str, float]:
    """Return a copy of `measures` with NaN for every surface distance."""
    return {**undefined(), "dice": measures["dice"], "jaccard": measures["jaccard"]}


def undefined() -> dict[str, float]:
    """Return NaN for every measure."""
    return dict.fromkeys(METRICS, np.nan)


def surface_points(mask: Mask) -> Points:
    """Return the positions [N, 3] of the mask's surface voxels, in voxels."""
    padded = np.pad(mask, 1)
    inner = tuple(slice(1, -1) for _ in range(mask.ndim))
    surrounded = mask.copy()
    for axis in range(mask.ndim):
        for shifted in (slice(None, -2), slice(2, None)):
            surrounded &= padded[(*inner[:axis], shifted, *inner[axis + 1 :])]
    return np.argwhere(mask & ~surrounded).astype(np.float64)


def directed_distances(first: Points, second: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances from each point of `first` to the nearest of `second`, and the other way round."""
    return _nearest(first, second), _nearest(second, first)


def _nearest(from_points: Points, to_points: Points) -> NDArray[np.float64]:
    # An unbalanced tree of loose nodes builds much faster and, on surfaces, answers as fast.
    tree = cKDTree(to_points, compact_nodes=False, balanced_tree=False)
    distances: NDArray[np.float64] = tree.query(from_points)[0]
    return distances


def label_metrics(
    prediction: NDArray[Any], truth: NDArray[Any], values: Sequence[int], spacing_mm: Sequence[float]
) -> dict[int, dict[str, float]]:
    """Return `mask_metrics` of each label value, working only where it occurs.

    Args:
        prediction: [X, Y, Z] integer label map.
        truth: [X, Y, Z] integer label map.
        values: the positive label values to measure.
        spacing_mm: voxel size along each array axis.
    """
    boxes_p = ndimage.find_objects(prediction, max_label=max(values, default=0))
    boxes_t = ndimage.find_objects(truth, max_label=max(values, default=0))
    measured = {}
    for value in values:
        box = _union(boxes_p[value - 1], boxes_t[value - 1])
        measured[value] = mask_metrics(prediction[box] == value, truth[box] == value, spacing_mm)
    return measured


def _union(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None) -> tuple[slice, ...]:
    """Smallest box around two; the empty box where there is none."""
    if first is None or second is None:
        return first or second or (slice(0, 0),)
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def largest_component(mask: Mask) -> Mask:
    """Return the largest connected part of the mask; voxels that share a corner are connected."""
    parts, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    largest: Mask = parts == 1 + int(np.argmax(sizes[1:]))
    return largest
