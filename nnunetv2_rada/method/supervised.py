"""The floor of every comparison: a V-Net that learns from annotated planes alone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from nnunetv2_rada.method.base import Batch
from nnunetv2_rada.method.plain import PlainMethod


class Supervised(PlainMethod):
    """L_sup (eq. 9) on labelled samples alone."""

    uses_unlabelled = False

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield L_sup."""
        logits = self.networks["student"](batch.image_labelled)
        yield self.config.method, self.supervised(logits, batch)
