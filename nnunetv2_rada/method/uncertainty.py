"""Predictive entropy from stochastic passes: dropout on, noise on the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn

NOISE_SD = 0.1  # of the input noise, in units of the normalised image
NOISE_LIMIT = 0.2  # where that noise is cut off

# Two passes share a call, as in the published code, where statistics of the batch depend on what shares it. One call a
# pass costs as much, four at once 5 % more on a CPU: their maps are given back to the system and taken anew each time.
PASSES_AT_ONCE = 2

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@contextmanager
def stochastic_mode(network: nn.Module, norm: str = "running") -> Iterator[None]:
    """Within the context, dropout is active, and BatchNorm uses its `running` statistics or those of the `batch`.

    Departure from the paper's code base, which leaves BatchNorm in training mode (`batch`), so that ten of its eleven
    updates a step come from these passes. On running statistics they leave no trace in the network, and BatchNorm folds
    exactly into the convolutions (see `vnet.ConvNormReLU`).
    """
    modes = [(module, module.training) for module in network.modules()]
    for module, _ in modes:
        module.training = norm == "batch" or isinstance(module, _DROPOUT)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def add_noise(image: Tensor) -> Tensor:
    """Return the image with noise clamp(0.1 N(0, 1), -0.2, 0.2) on every voxel."""
    return torch.randn_like(image).mul_(NOISE_SD).clamp_(-NOISE_LIMIT, NOISE_LIMIT).add_(image)


class EncodeDecode(Protocol):
    """A network in two halves, the first of which has no dropout."""

    def encode(self, image: Tensor, image_embedding: Tensor | None = None) -> list[Tensor]:
        """Return the first half's maps."""

    def decode(self, maps: Sequence[Tensor], image_embedding: Tensor | None = None) -> Tensor:
        """Return logits."""


@torch.no_grad()
def predictive_entropy(
    network: nn.Module,
    image: Tensor,
    *,
    passes: int,
    image_embedding: Tensor | None = None,
    norm: str = "running",
    noise: str = "each",
) -> Tensor:
    """Return the entropy [B, X, Y, Z], in nats, of the mean softmax over `passes` stochastic passes.

    Departure from the paper with `noise="shared"`: its passes differ by dropout and by noise on the input; here all
    passes see the same noise, so the half of the network in front of the first dropout runs once for all.

    Args:
        network: Maps (image, image_embedding) to logits [B, N, X, Y, Z]; its mode is restored.
        image: [B, C, X, Y, Z].
        passes: T of the paper.
        image_embedding: [B, K, D] or None, handed to `network`.
        norm: Statistics of BatchNorm, see `stochastic_mode`.
        noise: `each` pass its own, or `shared` by all; then `network` must be an `EncodeDecode`.
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1; got {passes}")
    mean = image.new_zeros(())
    with stochastic_mode(network, norm):
        if noise == "shared":
            halves = cast("EncodeDecode", network)
            maps = halves.encode(add_noise(image), image_embedding)
            for _ in range(passes):
                mean = mean + halves.decode(maps, image_embedding).float().softmax(dim=1) / passes
            return entropy_of(mean)
        for start in range(0, passes, PASSES_AT_ONCE):
            copies = min(PASSES_AT_ONCE, passes - start)
            noisy = add_noise(image.repeat(copies, 1, 1, 1, 1))
            own = None if image_embedding is None else image_embedding.repeat(copies, 1, 1)
            probability = network(noisy, own).float().softmax(dim=1)
            mean = mean + probability.reshape(copies, len(image), *probability.shape[1:]).sum(dim=0) / passes
    return entropy_of(mean)


def entropy_of(probability: Tensor) -> Tensor:
    """Return the entropy [B, X, Y, Z], in nats, of probabilities [B, N, X, Y, Z]."""
    entropy: Tensor = torch.special.entr(probability).sum(dim=1)
    return entropy
