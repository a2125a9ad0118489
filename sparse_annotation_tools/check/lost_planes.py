"""Annotated planes that nnU-Net's resampling of segmentations loses.

It gives each new voxel the label with the largest share of it, so a plane one voxel thick survives only where a new
voxel's centre lies within half a raw slice of it: at a factor of 2 or 3 most planes are gone. nnUNetTrainerRADA draws
the planes on the preprocessed grid instead; stock trainers learn from what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparse_annotation_tools.slices.planes import Plane

_TIE = 1e-6


def plane_survives(index: int, length: int, new_length: int) -> bool:
    """Tell whether a plane is still there after resampling `length` slices to `new_length`.

    Where the plane is exactly half a slice from the nearest new voxel, rounding decides; that counts as lost. So does a
    plane outside 0 ... length - 1.

    >>> plane_survives(4, 9, 3), plane_survives(5, 9, 3)
    (True, False)
    """
    step = length / new_length
    nearest = min(max(round((index + 0.5) / step - 0.5), 0), new_length - 1)
    return abs((nearest + 0.5) * step - 0.5 - index) < 0.5 - _TIE


def lost_planes(
    planes: Sequence[Plane],
    *,
    lower: Sequence[int],
    cropped: Sequence[int],
    spacing_mm: Sequence[float],
    target_spacing_mm: Sequence[float],
) -> list[Plane]:
    """Return the planes that are gone in a case's preprocessed segmentation.

    Args:
        planes: (raw axis, raw index) pairs.
        lower: first raw index inside nnU-Net's crop to non-zero voxels, per raw axis.
        cropped: raw shape inside the crop, per raw axis.
        spacing_mm: of the scan, per raw axis.
        target_spacing_mm: of the configuration, per raw axis (the plans hold it in transposed order).
    """
    lost = []
    for axis, index in planes:
        length = cropped[axis]
        new_length = max(1, round(spacing_mm[axis] / target_spacing_mm[axis] * length))
        if not plane_survives(index - lower[axis], length, new_length):
            lost.append((axis, index))
    return lost
