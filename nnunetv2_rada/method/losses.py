"""The losses of the paper, equations 7 to 10: always in full precision, also under autocast.

Shape suffixes: B samples, N outputs (background first), XYZ space. Labels are integers 0..N-1; `UNKNOWN` has weight 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nnunetv2_rada.method.base import UNKNOWN

SMOOTH = 1e-5  # of the Dice quotient, as in the code the paper builds on

_SPACE = (1, 2, 3)


def weighted_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy, eq. 7: per sample (-sum w log p_y) / (sum w), then the mean over samples.

    Args:
        logits: [B, N, X, Y, Z].
        label: [B, X, Y, Z] integers.
        weight: [B, X, Y, Z], not negative. A sample whose weights are all zero contributes 0.
    """
    log_p, label, weight = _prepare(logits, label, weight)
    return _cross_entropy(log_p, label, weight)


def weighted_dice(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Weighted Dice loss, eq. 8: per foreground class over the whole batch, then the mean over classes.

    Departure from the paper: its sums run over one volume; here over the batch, as in the code it builds on.
    Shapes as for `weighted_cross_entropy`; 0 where all weights are zero.
    """
    log_p, label, weight = _prepare(logits, label, weight)
    return _dice(log_p, label, weight)


def supervised_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """L_sup, eq. 9: half the weighted cross-entropy plus half the weighted Dice loss."""
    log_p, label, weight = _prepare(logits, label, weight)
    return 0.5 * (_cross_entropy(log_p, label, weight) + _dice(log_p, label, weight))


def peer_loss(logits: Tensor, peer_label: Tensor, trusted: Tensor) -> Tensor:
    """Cross-entropy against one peer's prediction where that peer is certain: a term of L_unsup, eq. 10.

    Args:
        logits: [B, N, X, Y, Z].
        peer_label: [B, X, Y, Z] the peer's argmax.
        trusted: [B, X, Y, Z] bool; where the peer's predictive entropy is below the threshold.
    """
    return weighted_cross_entropy(logits, peer_label, trusted)


def _prepare(logits: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-softmax, int64 labels and weights in fp32 (fp64 stays), without `UNKNOWN`."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        log_p = F.log_softmax(logits.to(dtype), dim=1)
    weight = torch.where(label == UNKNOWN, 0, weight.to(dtype))
    return log_p, label.clamp(min=0).long(), weight


def _cross_entropy(log_p: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    log_p_y = log_p.gather(1, label[:, None])[:, 0]
    total = weight.sum(_SPACE)
    # Where the total is zero so is the numerator; any other divisor than zero gives that sample its 0.
    per_sample = -(weight * log_p_y).sum(_SPACE) / torch.where(total > 0, total, 1)
    return per_sample.mean()


def _dice(log_p: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    losses = []
    for k in range(1, log_p.shape[1]):
        p = log_p[:, k].exp()
        weighted_y = torch.where(label == k, weight, 0)
        intersection = (weighted_y * p).sum()
        size = (weight * p.square()).sum() + weighted_y.sum()
        losses.append(1 - (2 * intersection + SMOOTH) / (size + SMOOTH))
    return torch.stack(losses).mean()
