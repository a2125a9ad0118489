"""Equations 7 to 10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nnunetv2_rada.method.base import UNKNOWN
from nnunetv2_rada.method.losses import peer_loss, supervised_loss, weighted_cross_entropy, weighted_dice

DATA = Path(__file__).parents[2] / "data"
LOSSES = [weighted_cross_entropy, weighted_dice, supervised_loss]


def _random(classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 4, 5, 6, generator=generator, dtype=torch.float64)
    label = torch.randint(classes, (2, 4, 5, 6), generator=generator)
    return logits, label, torch.rand(2, 4, 5, 6, generator=generator, dtype=torch.float64)


def test_losses_equal_the_reference() -> None:
    """Weighted Dice to 1e-8; weighted cross-entropy too, though the reference adds 1e-5 to its divisor."""
    data = np.load(DATA / "losses.npz")
    logits, target, weight = (torch.from_numpy(data[name]) for name in ("logits", "target", "weight"))
    assert float(weighted_cross_entropy(logits, target, weight)) == pytest.approx(
        float(data["weighted_cross_entropy"]), abs=1e-8
    )
    assert float(weighted_dice(logits, target, weight)) == pytest.approx(float(data["weighted_dice"]), abs=1e-8)


def test_supervised_loss_is_half_of_each() -> None:
    """Eq. 9."""
    inputs = _random()
    torch.testing.assert_close(supervised_loss(*inputs), (weighted_cross_entropy(*inputs) + weighted_dice(*inputs)) / 2)


def test_equal_weights_give_the_plain_cross_entropy() -> None:
    """Any constant weight is the unweighted mean."""
    logits, label, _ = _random()
    expected = torch.nn.functional.cross_entropy(logits, label)
    for constant in (1.0, 0.01):
        weight = torch.full(label.shape, constant, dtype=torch.float64)
        torch.testing.assert_close(weighted_cross_entropy(logits, label, weight), expected)


def test_dice_of_a_perfect_prediction_is_zero_and_of_a_wrong_one_is_one() -> None:
    """At certain predictions."""
    _, label, weight = _random(2)
    perfect = torch.stack([label == 0, label == 1], dim=1) * 100.0
    assert float(weighted_dice(perfect, label, weight)) == pytest.approx(0, abs=1e-6)
    assert float(weighted_dice(perfect.flip(1), label, weight)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_weights_give_zero_loss_and_zero_gradient(loss) -> None:
    """Nothing known means nothing learned, and no division by zero."""
    logits, label, weight = _random()
    logits.requires_grad_()
    value = loss(logits, label, torch.zeros_like(weight))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_sample_without_weights_contributes_zero_and_still_counts() -> None:
    """The mean is over all samples of the batch."""
    logits, label, weight = _random()
    weight[1] = 0
    alone = weighted_cross_entropy(logits[:1], label[:1], weight[:1])
    torch.testing.assert_close(weighted_cross_entropy(logits, label, weight), alone / 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_voxels_have_no_weight(loss) -> None:
    """UNKNOWN with any weight equals weight 0."""
    logits, label, weight = _random()
    hidden = torch.rand(label.shape, generator=torch.Generator().manual_seed(5)) < 0.5
    by_label = loss(logits, torch.where(hidden, UNKNOWN, label).to(torch.int16), weight)
    by_weight = loss(logits, label, torch.where(hidden, 0, weight))
    assert torch.equal(by_label, by_weight)
    assert not torch.equal(by_weight, loss(logits, label, weight))


def test_peer_loss_ignores_what_the_peer_doubts() -> None:
    """Changing logits or labels outside the trusted voxels changes nothing."""
    logits, label, weight = _random()
    trusted = weight > 0.5
    doubted = ~trusted
    expected = peer_loss(logits, label, trusted)
    changed = torch.where(doubted[:, None], logits + torch.randn_like(logits), logits)
    assert torch.equal(peer_loss(changed, torch.where(doubted, 0, label), trusted), expected)
    assert not torch.equal(peer_loss(logits + torch.randn_like(logits), label, trusted), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_fp32_under_bf16_autocast(loss) -> None:
    """A sum over a million voxels in bf16 would lose most of them."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 100, 100, 100, generator=generator).bfloat16()
    label = torch.randint(2, (1, 100, 100, 100), generator=generator)
    weight = torch.rand(label.shape, generator=generator)
    expected = loss(logits.double(), label, weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, label, weight)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_certain_and_wrong_predictions_stay_finite(loss) -> None:
    """Logits at the ends of half precision give finite losses and gradients."""
    _, label, weight = _random(2)
    logits = (torch.stack([label == 1, label == 0], dim=1) * 60000.0).half().requires_grad_()
    value = loss(logits, label, weight)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
