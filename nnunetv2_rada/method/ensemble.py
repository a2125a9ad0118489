"""One prediction from several networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Smallest logit of the ensemble. exp(-100) is nothing beside the other classes, while nnU-Net sums weighted logits of
# overlapping patches in half precision, where a few hundred more would overflow.
LOWEST_LOGIT = -100.0


def ensemble_logits(networks: nn.ModuleDict, image: Tensor, inference: str) -> Tensor:
    """Return the log of the networks' mean softmax [B, N, X, Y, Z], or one network's logits; in fp32, a fresh tensor.

    Written with logsumexp: the log of a mean of softmaxes would underflow to -inf.

    Args:
        networks: Map image to logits [B, N, X, Y, Z].
        image: [B, C, X, Y, Z].
        inference: `ensemble`, or the name of one network.
    """
    if inference != "ensemble":
        logits: Tensor = networks[inference](image)
        return logits.float()
    log_p = torch.stack([F.log_softmax(network(image).float(), dim=1) for network in networks.values()])
    return (torch.logsumexp(log_p, dim=0) - math.log(len(log_p))).clamp_(min=LOWEST_LOGIT)
