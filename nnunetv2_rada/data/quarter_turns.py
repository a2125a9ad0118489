"""The augmentation of the code that the paper builds on: quarter turns and a flip in one plane, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

PLANE = (1, 2)  # nnU-Net's arrays are read slice first, so these axes lie in the slice the scanner took


def initial_patch(patch: Sequence[int]) -> list[int]:
    """Return the shape to cut out of a scan: square in the plane, so that a quarter turn fills the patch.

    Args:
        patch: shape of the training patch.
    """
    side = max(patch[axis] for axis in PLANE)
    return [side if axis in PLANE else length for axis, length in enumerate(patch)]


class QuarterTurnsAndFlip(BasicTransform):
    """0 to 3 quarter turns in the plane, a flip of every other sample, then the centre of the cut.

    Departure from the paper's code base, which flips every sample: its networks see mirrored scans alone in training.

    Turns and flips move voxels and never interpolate, so image, labels and coordinate ramps are treated alike.

    Args:
        patch_size: shape of the training patch.
        flip: False where mirroring would exchange left and right classes.
    """

    def __init__(self, patch_size: Sequence[int], *, flip: bool) -> None:
        super().__init__()
        self.patch_size = tuple(int(side) for side in patch_size)
        self.flip = flip

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the number of quarter turns and the axis to flip."""
        flip = self.flip and np.random.randint(2) == 1
        return {"turns": int(np.random.randint(4)), "axis": int(np.random.choice(PLANE)) if flip else None}

    def _move(self, tensor: Tensor, turns: int, axis: int | None) -> Tensor:
        moved = torch.rot90(tensor, turns, dims=[1 + side for side in PLANE])
        if axis is not None:
            moved = moved.flip(1 + axis)
        for dim, length in enumerate(self.patch_size, start=1):
            moved = moved.narrow(dim, (moved.shape[dim] - length) // 2, length)
        return moved.contiguous()

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return self._move(img, **params)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return self._move(segmentation, **params)

    def _apply_to_regr_target(self, regression_target: Tensor, **params: Any) -> Tensor:
        return self._move(regression_target, **params)
