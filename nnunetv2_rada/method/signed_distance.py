"""Signed distances inside annotated planes: what DTC and SASSNet learn beside the labels.

Shape suffixes: V views, K foreground classes, XYZ space.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from nnunetv2_rada.method.base import Batch

Points = NDArray[np.int64]


def plane_distances(batch: Batch, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the target [L, K, X, Y, Z] and where it is known (bool, same shape): on annotated planes only.

    Each plane is measured by itself, in voxels and in two dimensions: the nearest voxel of the other kind is looked for
    on that plane alone. That also holds for planes that augmentation has rotated. As published, the distance is divided
    by its largest value in the plane, outside and inside each; inside is negative, and the inner boundary is 0.

    Departure from the published methods, which have dense labels: a plane of the patch that shows nothing but the
    class, or nothing of it, gives no target for that class, as the boundary may lie right behind the patch.

    Raises:
        ValueError: the batch does not say which plane covers a voxel.
    """
    if batch.plane is None:
        raise ValueError("signed distances need the batch's planes")
    annotation, plane = batch.annotation.cpu().numpy(), batch.plane.cpu().numpy()
    shape = (len(annotation), num_classes - 1, *annotation.shape[1:])
    target, known = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    for sample in range(len(annotation)):
        for points in _planes(plane[sample]):
            drawn = annotation[(sample, *points.T)]
            for k in range(1, num_classes):
                inside = drawn == k
                if inside.any() and not inside.all():
                    target[(sample, k - 1, *points.T)] = signed_distance(points, inside)
                    known[(sample, k - 1, *points.T)] = True
    device = batch.annotation.device
    return torch.from_numpy(target).to(device), torch.from_numpy(known).to(device)


def _planes(plane: NDArray[np.int16]) -> list[Points]:
    """Voxels [n, 3] of each annotated plane in plane [V, X, Y, Z]; one that several networks own comes once."""
    number = np.unique(plane)
    return [np.argwhere((plane == n).any(axis=0)) for n in number[number > 0]]


def signed_distance(points: Points, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the normalised signed distance [n] of the voxels of one plane, from -1 deep inside to 1 far outside.

    Args:
        points: [n, 3] or [n, 2] voxels.
        inside: [n], which of them show the object: some, but not all.
    """
    to_object = cKDTree(points[inside]).query(points[~inside])[0]
    to_background = cKDTree(points[~inside]).query(points[inside])[0]
    distance = np.empty(len(points), dtype=np.float32)
    distance[~inside] = to_object / to_object.max()
    distance[inside] = np.where(to_background <= 1, 0, -to_background / to_background.max())
    return distance
