"""Dual-task consistency (DTC): labels and signed distances. Luo et al., AAAI 2021 (arXiv:2009.04448)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import schedules
from nnunetv2_rada.method.base import Backbone, Batch, Task
from nnunetv2_rada.method.losses import weighted_dice
from nnunetv2_rada.method.plain import PlainMethod, PlainNetwork
from nnunetv2_rada.method.signed_distance import plane_distances

DISTANCE_WEIGHT = 0.3  # of the distance term, as published
STEEPNESS = 1500.0  # of the sigmoid that makes a probability of a distance, as published


class TwoHeadedNetwork(PlainNetwork):
    """A plain network with a second head: the signed distance to each foreground class, in -1..1."""

    def __init__(self, backbone: Backbone, *, num_classes: int) -> None:
        super().__init__(backbone, num_classes=num_classes)
        self.distance = nn.Conv3d(backbone.decoder_channels, num_classes - 1, 1)

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, N, X, Y, Z] and distances [B, K, X, Y, Z] for image [B, C, X, Y, Z]; in fp32."""
        decoder = self.backbone(image)[1]
        return self.output(decoder).float(), self.distance(decoder).float().tanh()


class TwoHeadedMethod(PlainMethod):
    """Base of DTC and SASSNet: weighted Dice (no cross-entropy) + .3 * mean squared error of the signed distance.

    Departure from the published methods: the distance is two-dimensional, inside annotated planes, and only there.
    Arguments as for `PlainMethod`.
    """

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.views = task.views  # the planes of all of them

    def make_network(self, backbone: Backbone) -> nn.Module:
        """Return a network with two heads."""
        return TwoHeadedNetwork(backbone, num_classes=self.num_classes)

    @property
    def student(self) -> TwoHeadedNetwork:
        """The one network."""
        return cast("TwoHeadedNetwork", self.networks["student"])

    def two_headed_loss(self, logits: Tensor, distance: Tensor, batch: Batch) -> Tensor:
        """The supervised part, from outputs of at least the labelled samples."""
        labelled = batch.num_labelled
        dice = weighted_dice(logits[:labelled], *self.target(batch))
        target, known = plane_distances(batch, self.num_classes)
        error = ((distance[:labelled] - target).square() * known).sum() / known.sum().clamp(min=1)
        self.record("sup", dice)
        self.record("distance", error)
        return dice + DISTANCE_WEIGHT * error

    def ramp(self, iteration: int, ceiling: float) -> float:
        """lambda(t), which rises to `ceiling`."""
        weight = ceiling * schedules.ramp(iteration, self.config.num_iterations)
        self.record("lambda", weight)
        return weight


class DualTaskConsistency(TwoHeadedMethod):
    """Two heads that must agree: L = Dice + .3 MSE(d, sdf) + lambda(t) * mean (sigmoid(-1500 d) - p)^2, lambda_max 1.

    The consistency is over all samples and foreground classes.
    """

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss."""
        logits, distance = self.student.both(batch.image)
        supervised = self.two_headed_loss(logits, distance, batch)
        consistency = (probability_of(distance) - logits.softmax(dim=1)[:, 1:]).square().mean()
        self.record("consistency", consistency)
        yield self.config.method, supervised + self.ramp(iteration, 1.0) * consistency


def probability_of(distance: Tensor) -> Tensor:
    """Return sigmoid(-1500 d), the smooth step from background (d > 0) to foreground (d < 0)."""
    return torch.sigmoid(-STEEPNESS * distance)
