"""Settings reach the parts of co-training that they are about."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_rada.method.base import Batch


@pytest.mark.parametrize(("skip", "maps"), [("add", 1), ("concat", 2)])
def test_skips_join_as_the_setting_says(make_small, skip: str, maps: int) -> None:
    """In every network, each decoder stage reads one sum, or two maps beside each other."""
    for network in make_small(skip=skip).networks.values():
        for stage in network.backbone.decoder:
            assert stage[0].conv.in_channels == maps * stage[0].conv.out_channels


def _three_of(batch: Batch) -> Batch:
    """A batch of three parts, as sequential updates take it."""
    labels = {name: torch.cat([getattr(batch, name)] * 3) for name in ("label", "distance", "annotation")}
    return Batch(image=torch.cat([batch.image_labelled] * 3 + [batch.image_unlabelled] * 3), **labels)


@pytest.mark.parametrize(
    ("updates", "norm", "times"),
    [("joint", "running", 1), ("joint", "batch", 2), ("sequential", "running", 1), ("sequential", "batch", 5)],
)
def test_passes_without_gradient_use_the_statistics_of_the_setting(
    make_small, make_batch, updates: str, norm: str, times: int
) -> None:
    """Those of the batch enter the running ones: of both stochastic passes at once, and of a peer's argmax."""
    method = make_small(updates=updates, stochastic_norm=norm, stochastic_noise="each", stochastic_passes=2)
    batch = make_batch() if updates == "joint" else _three_of(make_batch())
    list(method.step(batch, 75))
    layers = [module for module in method.modules() if isinstance(module, nn.BatchNorm3d)]
    assert {int(layer.num_batches_tracked) for layer in layers} == {times}  # the training forward is one of them
