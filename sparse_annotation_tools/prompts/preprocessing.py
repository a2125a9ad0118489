"""From a slice and a mask to what the image tower reads: four channels, red, green, blue and alpha."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor
from torch.nn import functional as F

ALPHA_MEAN, ALPHA_STD = 0.5, 0.26


def model_input(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    pixel_mm: tuple[float, float],
    grey_range: tuple[float, float],
    size: int,
) -> Tensor:
    """Return [4, size, size]: the slice in grey as RGB and the mask as alpha, normalised as Alpha-CLIP expects.

    Image and mask go through the same geometry: pixels become square, the longer side becomes `size`, the rest is
    padded with black and with "not in the mask", the slice in the middle. Shrinking averages (the mask too: taking the
    nearest pixel would lose small lesions).

    Args:
        image: [H, W] raw intensities.
        mask: [H, W] the region.
        pixel_mm: pixel size along H and W.
        grey_range: intensities of the whole volume that become black and white.
        size: side of the tower's input in pixels.
    """
    low, high = grey_range
    grey = torch.from_numpy(np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32))
    grey_hw = _resized(grey, pixel_mm, size, mode="bicubic").clamp(0, 1)
    alpha_hw = _resized(torch.from_numpy(mask.astype(np.float32)), pixel_mm, size, mode="bilinear").clamp(0, 1)
    return normalised(_padded(grey_hw, size), _padded(alpha_hw, size))


def normalised(grey: Tensor, share: Tensor) -> Tensor:
    """Return [..., 4, H, W] for grey [..., H, W] and the mask's share of each pixel [..., H, W], both in 0..1."""
    mean, std = torch.tensor(OPENAI_DATASET_MEAN), torch.tensor(OPENAI_DATASET_STD)
    rgb = (grey[..., None, :, :] - mean[:, None, None]) / std[:, None, None]
    alpha = (share[..., None, :, :] - ALPHA_MEAN) / ALPHA_STD
    return torch.cat([rgb, alpha], dim=-3)


def _resized(image: Tensor, pixel_mm: tuple[float, float], size: int, *, mode: str) -> Tensor:
    extent_mm = [length * step for length, step in zip(image.shape, pixel_mm, strict=True)]
    target = [max(1, round(extent * size / max(extent_mm))) for extent in extent_mm]
    return F.interpolate(image[None, None], target, mode=mode, antialias=True, align_corners=False)[0, 0]


def _padded(image: Tensor, size: int) -> Tensor:
    rows, columns = size - image.shape[0], size - image.shape[1]
    return F.pad(image, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
