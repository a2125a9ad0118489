"""Mean Teacher (MT) and uncertainty-aware Mean Teacher (UA-MT).

Tarvainen and Valpola, NeurIPS 2017 (arXiv:1703.01780); Yu et al., MICCAI 2019 (arXiv:1907.07034).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import schedules
from nnunetv2_rada.method.base import Batch, Task
from nnunetv2_rada.method.plain import PlainMethod
from nnunetv2_rada.method.teacher import follow, make_teacher, warm_decay
from nnunetv2_rada.method.uncertainty import add_noise, predictive_entropy


class MeanTeacher(PlainMethod):
    """L_sup + b(t) * mean squared difference between the student's softmax and that of an averaged teacher.

    The teacher sees the unlabelled samples with noise, with dropout and BatchNorm as in training, as published. It is
    no network of the prediction; arguments as for `PlainMethod`.
    """

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.teacher = make_teacher(self.networks["student"])

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the student's loss; the teacher follows after the update."""
        target = self._teacher_softmax(batch.image_unlabelled)
        trusted = self.trusted(batch.image_unlabelled, iteration)
        logits = self.networks["student"](batch.image)
        squares = (logits[batch.num_labelled :].float().softmax(dim=1) - target).square()
        consistency = masked_mean(squares, trusted)
        self.record("consistency", consistency)
        yield self.config.method, self.supervised(logits, batch) + self.peer_weight(iteration) * consistency
        follow(self.teacher, self.networks["student"], warm_decay(iteration))

    def trusted(self, image: Tensor, iteration: int) -> Tensor:
        """Where [U, X, Y, Z] the teacher is believed: everywhere."""
        return image.new_ones((len(image), *image.shape[2:]), dtype=torch.bool)

    @torch.no_grad()
    def _teacher_softmax(self, image: Tensor) -> Tensor:
        """[U, N, X, Y, Z]."""
        probability: Tensor = self.teacher(add_noise(image)).float().softmax(dim=1)
        return probability

    def method_state(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": self.teacher.state_dict()}

    def load_method_state(self, state: dict[str, Any]) -> None:
        """Take back the teacher."""
        self.teacher.load_state_dict(state["teacher"])


class UncertaintyAwareMeanTeacher(MeanTeacher):
    """Mean Teacher whose teacher is believed only where its predictive entropy over T passes is below H(t)."""

    def trusted(self, image: Tensor, iteration: int) -> Tensor:
        """Where [U, X, Y, Z] the teacher's entropy is below the threshold."""
        config = self.config
        entropy = predictive_entropy(self.teacher, image, passes=config.stochastic_passes, norm=config.stochastic_norm)
        trusted = entropy < schedules.entropy_threshold(iteration, config.num_iterations, self.num_classes)
        self.record("trusted", trusted.float().mean())
        return trusted


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values [U, N, X, Y, Z] over the N outputs of the voxels in mask [U, X, Y, Z]; 0 where it is empty."""
    return (values * mask[:, None]).sum() / (values.shape[1] * mask.sum()).clamp(min=1)
