"""SASSNet: shape-aware adversarial learning. Li et al., MICCAI 2020 (arXiv:2007.10732)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from nnunetv2_rada.config import Config
from nnunetv2_rada.method.base import Batch, Task
from nnunetv2_rada.method.dual_task import TwoHeadedMethod

DISCRIMINATOR = "discriminator"
DISCRIMINATOR_RATE = 1e-4
ADVERSARIAL_CEILING = 0.015  # of lambda(t)
UNLABELLED, LABELLED = 0, 1  # outputs of the discriminator


class Discriminator(nn.Module):
    """Tells from signed distances and image whether a sample is labelled.

    Args:
        num_maps: K, channels of the signed distance.
        in_channels: C, channels of the image.
        width: Channels after the first convolution; 64 as published.
    """

    def __init__(self, *, num_maps: int, in_channels: int, width: int = 64) -> None:
        super().__init__()
        self.from_distance = _halving(num_maps, width)
        self.from_image = _halving(in_channels, width)
        self.deeper = nn.ModuleList(_halving(a, b) for a, b in pairwise([width, 2 * width, 4 * width, 8 * width]))
        self.dropout = nn.Dropout3d(0.5)
        self.output = nn.Linear(8 * width, 2)

    def forward(self, distance: Tensor, image: Tensor) -> Tensor:
        """Return logits [B, 2], unlabelled first; sides are multiples of 16."""
        x = self.from_distance(distance) + self.from_image(image)
        for convolution in self.deeper:
            x = convolution(self.dropout(F.leaky_relu(x, 0.2)))
        logits: Tensor = self.output(F.leaky_relu(x, 0.2).mean(dim=(2, 3, 4)))
        return logits


def _halving(in_channels: int, channels: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, channels, 4, stride=2, padding=1)


class SASSNet(TwoHeadedMethod):
    """L = Dice + .3 MSE(d, sdf) + lambda(t) CE(D(d_u, x_u), labelled), lambda_max .015; then D learns from all samples.

    Departure from the published code: the discriminator learns from the distances of the training pass, detached, in
    place of another pass after the update. Its width follows `base_filters` (64 at 16).
    """

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.discriminator = Discriminator(
            num_maps=self.num_classes - 1, in_channels=self.in_channels, width=4 * self.config.base_filters
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """SGD for the network, Adam for the discriminator."""
        adam = Adam(self.discriminator.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.9, 0.99))
        return {**super().optimizers(), DISCRIMINATOR: adam}

    def learning_rate(self, iteration: int) -> dict[str, float]:
        """The discriminator's rate is constant."""
        return {**super().learning_rate(iteration), DISCRIMINATOR: DISCRIMINATOR_RATE}

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the network's loss, then the discriminator's."""
        logits, distance = self.student.both(batch.image)
        labelled = batch.num_labelled
        self.discriminator.eval()  # no dropout in what teaches the network, as published
        opinion = self.discriminator(distance[labelled:], batch.image_unlabelled).float()
        adversarial = F.cross_entropy(opinion, _all(LABELLED, opinion))
        self.record("adversarial", adversarial)
        supervised = self.two_headed_loss(logits, distance, batch)
        yield self.config.method, supervised + self.ramp(iteration, ADVERSARIAL_CEILING) * adversarial

        self.discriminator.train()
        opinion = self.discriminator(distance.detach(), batch.image).float()
        truth = torch.cat([_all(LABELLED, opinion[:labelled]), _all(UNLABELLED, opinion[labelled:])])
        loss = F.cross_entropy(opinion, truth)
        self.record(DISCRIMINATOR, loss)
        yield DISCRIMINATOR, loss

    def method_state(self) -> dict[str, Any]:
        """The discriminator; its optimizer is among `optimizers`."""
        return {DISCRIMINATOR: self.discriminator.state_dict()}

    def load_method_state(self, state: dict[str, Any]) -> None:
        """Take back the discriminator."""
        self.discriminator.load_state_dict(state[DISCRIMINATOR])


def _all(kind: int, opinion: Tensor) -> Tensor:
    return torch.full((len(opinion),), kind, dtype=torch.long, device=opinion.device)
