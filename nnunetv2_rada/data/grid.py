"""The preprocessed grid of a case, as a linear map from its voxels to raw slices.

nnU-Net transposes, crops and resamples a scan. All three steps are separable and linear along each axis, so a plane
(raw axis, raw index) and the distance to it are numbers on the preprocessed grid: they need no resampled mask. (A mask
one voxel thick does not survive nnU-Net's resampling of segmentations: at a factor of 2 nearly all of it is lost.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from batchgenerators.augmentations.utils import resize_segmentation
from numpy.typing import NDArray

Resample = Callable[..., NDArray[Any]]

# Slack of the half-open test below: above the rounding error of float32 coordinates, far below half a slice.
_TIE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the voxels of a preprocessed case lie in its raw array.

    Attributes:
        transpose: raw axis of each grid axis (`transpose_forward` of the plans).
        lower: first raw index inside the crop, per grid axis.
        cropped: raw shape inside the crop, per grid axis.
        shape: preprocessed shape.
        spacing_mm: raw spacing, per grid axis.
        target_spacing_mm: preprocessed spacing, per grid axis.
    """

    transpose: tuple[int, ...]
    lower: tuple[int, ...]
    cropped: tuple[int, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    target_spacing_mm: tuple[float, ...]

    @classmethod
    def from_properties(
        cls,
        properties: dict[str, Any],
        *,
        transpose_forward: Sequence[int],
        shape: Sequence[int],
        target_spacing_mm: Sequence[float],
    ) -> Grid:
        """Build from the properties that nnU-Net pickles beside a preprocessed case."""
        box = properties["bbox_used_for_cropping"]
        return cls(
            transpose=tuple(int(axis) for axis in transpose_forward),
            lower=tuple(int(low) for low, _ in box),
            cropped=tuple(int(high) - int(low) for low, high in box),
            shape=tuple(int(side) for side in shape),
            spacing_mm=tuple(float(properties["spacing"][axis]) for axis in transpose_forward),
            target_spacing_mm=tuple(float(side) for side in target_spacing_mm),
        )

    @property
    def step(self) -> tuple[float, ...]:
        """Raw slices per voxel, per grid axis."""
        return tuple(raw / new for raw, new in zip(self.cropped, self.shape, strict=True))

    @property
    def origin(self) -> tuple[float, ...]:
        """Raw index at the centre of voxel 0, per grid axis (voxel edges are aligned, as in nnU-Net's resampling)."""
        return tuple(low + 0.5 * step - 0.5 for low, step in zip(self.lower, self.step, strict=True))

    def axis_of(self, raw_axis: int) -> int:
        """Grid axis of a raw array axis."""
        return self.transpose.index(raw_axis)

    def resampled(self, volume: NDArray[Any], resample: Resample) -> NDArray[Any]:
        """Bring a raw volume (z, y, x) on to the grid: transpose, crop and resample exactly as nnU-Net did."""
        return resample(self._cropped(volume)[None], self.shape, self.spacing_mm, self.target_spacing_mm)[0]

    def resampled_slice(self, volume: NDArray[Any], raw_axis: int, index: int) -> NDArray[Any]:
        """Bring one slice of a raw label volume on to the two other grid axes, in-plane only."""
        axis = self.axis_of(raw_axis)
        within = self._cropped(volume).take(index - self.lower[axis], axis=axis)
        in_plane = tuple(side for other, side in enumerate(self.shape) if other != axis)
        if within.shape == in_plane:
            return within
        return resize_segmentation(within.astype(np.int16), in_plane, order=1)

    def contains(self, raw_axis: int, index: int) -> bool:
        """Whether a raw slice lies inside the crop."""
        axis = self.axis_of(raw_axis)
        return 0 <= index - self.lower[axis] < self.cropped[axis]

    def _cropped(self, volume: NDArray[Any]) -> NDArray[Any]:
        box = tuple(slice(low, low + side) for low, side in zip(self.lower, self.cropped, strict=True))
        return volume.transpose(self.transpose)[box]


def covered_by_plane(signed_distance: Any, step: float, *, width: float = 1.0) -> Any:
    """Tell which voxels an annotated plane covers: |s| <= width / 2 * max(1, step), ties to one side.

    Args:
        signed_distance: array or tensor of signed distances to the plane, in raw slices.
        step: raw slices per voxel across the plane.
        width: thickness of the slab in voxels (in raw slices where voxels are finer than slices).

    Without the `max`, a plane between two voxel centres would be lost where voxels are coarser than raw slices.
    """
    half = 0.5 * width * max(1.0, step)
    return (signed_distance > -half + _TIE) & (signed_distance <= half + _TIE)
