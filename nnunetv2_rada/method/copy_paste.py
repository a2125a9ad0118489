"""Bidirectional copy-paste (BCP). Bai et al., CVPR 2023 (arXiv:2305.00673)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nnunetv2_rada.config import Config
from nnunetv2_rada.method.base import Batch, Task
from nnunetv2_rada.method.losses import supervised_loss
from nnunetv2_rada.method.plain import PlainMethod
from nnunetv2_rada.method.teacher import CEILING, follow, make_teacher
from sparse_annotation_tools.errors import UserError

SIDE = 2 / 3  # of the pasted cuboid, as a share of each side of the patch
PSEUDO_WEIGHT = 0.5  # of the part with pseudo-labels
FIRST_STAGE = (700, 6000)  # share of the iterations on labelled samples alone
LEAST_FIRST_STAGE = 140  # iterations, unless that is more than half of them


class CopyPaste(PlainMethod):
    """Images and labels of two samples mixed by a random cuboid, in two stages.

    Stage 1, 700 of 6000 iterations: labelled samples are mixed with each other, L_sup on the result. Stage 2: labelled
    and unlabelled samples, each pasted into the other; the labelled part has its label, the other one the argmax of an
    averaged teacher, with half the weight. The teacher starts as the student of stage 1.

    Departure from the published code: in a training of less than 1200 iterations stage 1 is longer than its share, as
    what a student has learnt in 41 of 350 iterations makes a poor teacher (docs/results.md). The largest component of
    pseudo-labels is an option (`largest_component`), since it throws away one of two organs. Every pair is mixed both
    ways, so that a step sees as many samples as any other method's. Arguments as for `PlainMethod`.

    Raises:
        UserError: labelled and unlabelled samples of a batch make no pairs.
    """

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        if config.batch_labelled != config.batch_unlabelled:
            raise UserError(
                f"BCP pairs labelled with unlabelled samples, but batch_labelled is {config.batch_labelled} and "
                f"batch_unlabelled {config.batch_unlabelled}; set both to the same number"
            )
        self.teacher = make_teacher(self.networks["student"])

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the loss of the stage that the iteration belongs to; in stage 2 the teacher follows."""
        start = first_stage(self.config.num_iterations)
        mask = cuboid(batch.image.shape[2:], batch.image.device)
        if iteration < start:
            yield self.config.method, self._mixed_labelled(batch, mask)
            return
        if iteration == start:
            follow(self.teacher, self.networks["student"], 0.0)
        yield self.config.method, self._mixed_both_ways(batch, mask)
        follow(self.teacher, self.networks["student"], CEILING)

    def _mixed_labelled(self, batch: Batch, mask: Tensor) -> Tensor:
        """L_sup of every labelled sample with the next one's cuboid in it."""
        image = batch.image_labelled
        label, weight = self.target(batch)
        mixed, next_label, next_weight = (tensor.roll(1, dims=0) for tensor in (image, label, weight))
        logits = self.networks["student"](paste(mixed, image, mask))
        loss = supervised_loss(logits, paste(next_label, label, mask), paste(next_weight, weight, mask))
        self.record("sup", loss)
        return loss

    def _mixed_both_ways(self, batch: Batch, mask: Tensor) -> Tensor:
        """The sum over both ways to mix."""
        labelled, unlabelled = batch.image_labelled, batch.image_unlabelled
        label, weight = self.target(batch)
        pseudo = self._pseudo_label(unlabelled)
        student, total = self.networks["student"], labelled.new_zeros((), dtype=torch.float32)
        for image, of_label in ((paste(unlabelled, labelled, mask), ~mask), (paste(labelled, unlabelled, mask), mask)):
            logits = student(image)
            total = total + supervised_loss(logits, label, weight * of_label)
            total = total + PSEUDO_WEIGHT * supervised_loss(logits, pseudo, (~of_label).expand_as(pseudo).float())
        self.record("sup", total)
        return total

    @torch.no_grad()
    def _pseudo_label(self, image: Tensor) -> Tensor:
        """[U, X, Y, Z]: the teacher's argmax, with dropout and BatchNorm as in training, as published."""
        label: Tensor = self.teacher(image).max(dim=1).indices
        return largest_components(label, self.num_classes) if self.config.largest_component else label

    def method_state(self) -> dict[str, Any]:
        """The teacher."""
        return {"teacher": self.teacher.state_dict()}

    def load_method_state(self, state: dict[str, Any]) -> None:
        """Take back the teacher."""
        self.teacher.load_state_dict(state["teacher"])


def first_stage(num_iterations: int) -> int:
    """Return how many iterations stage 1 has of `num_iterations`."""
    share, of = FIRST_STAGE
    least = min(LEAST_FIRST_STAGE, num_iterations // 2)
    return max(-(-share * num_iterations // of), least)


def cuboid(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return a mask [X, Y, Z] that is true in a cuboid of 2/3 of each side, somewhere inside the patch."""
    mask = torch.zeros(tuple(shape), dtype=torch.bool, device=device)
    box = []
    for side in shape:
        length = int(side * SIDE)
        start = int(torch.randint(side - length + 1, ()))
        box.append(slice(start, start + length))
    mask[tuple(box)] = True
    return mask


def paste(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """Return `inside` where mask [X, Y, Z] is true, `outside` elsewhere."""
    return torch.where(mask, inside, outside)


def largest_components(label: Tensor, num_classes: int) -> Tensor:
    """Keep the largest connected component of each foreground class of label [U, X, Y, Z]; the rest is background."""
    kept = torch.zeros_like(label)
    for sample, volume in enumerate(label.cpu().numpy()):
        for k in range(1, num_classes):
            components, number = ndimage.label(volume == k)
            if number:
                largest = 1 + int(np.bincount(components.ravel())[1:].argmax())
                kept[sample][torch.from_numpy(components == largest).to(label.device)] = k
    return kept
