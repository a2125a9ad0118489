"""Dice on annotated voxels, the only truth that a sparse dataset has: of the ensemble and of each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_rada.method.base import UNKNOWN

Counts = NDArray[np.int64]  # [3, K]: true positives, false positives, false negatives of each foreground class

_KEYS = ("tp_hard", "fp_hard", "fn_hard")  # nnU-Net's names for the ensemble's counts
_BRANCH = "branch/"


def annotated_counts(label: Tensor, annotation: Tensor, classes: Sequence[int]) -> Counts:
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


def count_all(
    ensemble: Tensor, branches: Mapping[str, Tensor], annotation: Tensor, classes: Sequence[int]
) -> dict[str, NDArray[np.int64]]:
    """Count for the ensemble, under nnU-Net's own keys, and for each network, under its name.

    Args:
        ensemble: [B, X, Y, Z] predicted classes.
        branches: the same for each network.
        annotation: as for `annotated_counts`.
        classes: as for `annotated_counts`.
    """
    counts = dict(zip(_KEYS, annotated_counts(ensemble, annotation, classes), strict=True))
    counts |= {_BRANCH + name: annotated_counts(label, annotation, classes) for name, label in branches.items()}
    return counts


def take_branches(outputs: Sequence[dict[str, NDArray[np.int64]]]) -> dict[str, Counts]:
    """Remove each network's counts from the outputs of an epoch's validation steps; return their sums by network."""
    names = [key for key in outputs[0] if key.startswith(_BRANCH)]
    return {name.removeprefix(_BRANCH): np.sum([output.pop(name) for output in outputs], axis=0) for name in names}


def mean_dice(counts: Counts) -> float:
    """Mean Dice over the classes of summed counts [3, K]; classes neither drawn nor predicted are left out."""
    tp, fp, fn = counts
    total = 2 * tp + fp + fn
    return float(np.mean(2 * tp[total > 0] / total[total > 0])) if (total > 0).any() else float("nan")


def collapsed(counts: Mapping[str, Counts], class_names: Sequence[str]) -> list[str]:
    """Return a line for each network that predicts nothing of a drawn class where another network finds some of it.

    Args:
        counts: of an epoch, by network.
        class_names: of the K foreground classes.
    """
    lines = []
    for name, (tp, fp, fn) in counts.items():
        found_by_peers = sum(other[0] for peer, other in counts.items() if peer != name)
        lost = np.flatnonzero((tp + fp == 0) & (fn > 0) & (found_by_peers > 0))
        if len(lost):
            what = "no foreground" if len(lost) == len(class_names) else ", ".join(f"no {class_names[k]}" for k in lost)
            lines.append(
                f"WARNING: network {name} predicted {what} on annotated voxels in this epoch, its peers did: it may "
                f"have collapsed to background; watch dice/{name} in curves.png"
            )
    return lines
