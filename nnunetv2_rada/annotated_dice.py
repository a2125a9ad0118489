"""Dice on annotated voxels: the only truth that a sparse dataset has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_rada.method.base import UNKNOWN


def annotated_counts(label: Tensor, annotation: Tensor, classes: Sequence[int]) -> NDArray[np.int64]:
    """Count true positives, false positives and false negatives per class, on annotated voxels.

    Args:
        label: [B, X, Y, Z] predicted classes.
        annotation: [B, X, Y, Z] drawn classes, `UNKNOWN` elsewhere.
        classes: foreground classes to count.

    Returns:
        [3, K].
    """
    known = annotation != UNKNOWN
    values = torch.tensor(list(classes), device=label.device)[:, None]
    predicted, true = label[known][None] == values, annotation[known][None] == values
    counts = torch.stack([(predicted & true).sum(1), (predicted & ~true).sum(1), (~predicted & true).sum(1)])
    return counts.cpu().numpy()


def mean_dice(counts: NDArray[np.int64]) -> float:
    """Mean Dice over the classes of summed counts [3, K]; classes neither drawn nor predicted are left out."""
    tp, fp, fn = counts
    total = 2 * tp + fp + fn
    return float(np.mean(2 * tp[total > 0] / total[total > 0])) if (total > 0).any() else float("nan")
