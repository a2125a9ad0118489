"""Cross pseudo supervision (CPS). Chen et al., CVPR 2021 (arXiv:2106.01226)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nnunetv2_rada.method.base import Batch
from nnunetv2_rada.method.losses import peer_loss
from nnunetv2_rada.method.plain import PlainMethod


class CrossPseudoSupervision(PlainMethod):
    """Two networks of different initialisation; on unlabelled samples each learns the other's argmax, all of it.

    L = L_sup(a) + L_sup(b) + b(t) [CE(a, argmax b) + CE(b, argmax a)], one joint update.
    """

    names = ("a", "b")

    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the sum of both networks' losses."""
        logits = {name: network(batch.image) for name, network in self.networks.items()}
        unlabelled = {name: own[batch.num_labelled :] for name, own in logits.items()}
        pseudo = {name: own.detach().max(dim=1).indices for name, own in unlabelled.items()}
        everywhere = torch.ones_like(pseudo["a"], dtype=torch.bool)
        crossed = peer_loss(unlabelled["a"], pseudo["b"], everywhere)
        crossed = crossed + peer_loss(unlabelled["b"], pseudo["a"], everywhere)
        supervised = self.supervised(logits["a"], batch) + self.supervised(logits["b"], batch)
        self.record("sup", supervised)
        self.record("peer", crossed)
        yield self.config.method, supervised + self.peer_weight(iteration) * crossed
