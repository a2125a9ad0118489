"""Properties of the losses that hold for any prediction, label and weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_rada.method.base import UNKNOWN
from nnunetv2_rada.method.losses import supervised_loss, weighted_cross_entropy, weighted_dice

SHAPE = (2, 3, 4, 2)
LOSSES = [weighted_cross_entropy, weighted_dice, supervised_loss]
cheap = settings(derandomize=True, deadline=None, max_examples=30)
seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, a label that is unknown here and there, and weights, in double precision."""
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((SHAPE[0], classes, *SHAPE[1:]), generator=random, dtype=torch.float64)
    label = torch.randint(UNKNOWN, classes, SHAPE, generator=random)
    return logits, label, torch.rand(SHAPE, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
@cheap
@given(seed=seeds)
def test_losses_are_finite_and_not_negative(loss, seed: int) -> None:
    """Dice is at most 1 as well."""
    value = loss(*drawn(seed))
    assert torch.isfinite(value)
    assert value >= 0
    if loss is weighted_dice:
        assert value <= 1


@pytest.mark.parametrize("loss", LOSSES)
@cheap
@given(seed=seeds)
def test_turning_and_flipping_a_volume_changes_no_loss(loss, seed: int) -> None:
    """They are sums over voxels."""
    logits, label, weight = drawn(seed)
    before = loss(logits, label, weight)
    assert torch.allclose(before, loss(logits.flip(3), label.flip(2), weight.flip(2)))
    assert torch.allclose(before, loss(logits.transpose(2, 4), label.transpose(1, 3), weight.transpose(1, 3)))


@pytest.mark.parametrize("loss", LOSSES)
@cheap
@given(seed=seeds)
def test_what_is_unknown_or_has_no_weight_changes_nothing(loss, seed: int) -> None:
    """Neither the loss nor the gradient of any other voxel."""
    logits, label, weight = drawn(seed)
    silent = (label == UNKNOWN) | (weight < 0.3)
    weight = torch.where(weight < 0.3, 0, weight)
    other = torch.where(silent[:, None], logits.flip(0), logits)
    gradients = []
    for each in (logits, other):
        each = each.detach().requires_grad_()
        value = loss(each, label, weight)
        value.backward()
        gradients.append((value.detach(), each.grad))
    (value, gradient), (other_value, other_gradient) = gradients
    assert torch.allclose(value, other_value)
    heard = ~silent[:, None].expand_as(logits)
    assert torch.allclose(gradient[heard], other_gradient[heard])
    assert not gradient[~heard].any()


@cheap
@given(seed=seeds, factor=st.floats(0.01, 100))
def test_cross_entropy_is_a_weighted_mean(seed: int, factor: float) -> None:
    """A common factor of the weights changes nothing; the classes' order does neither."""
    logits, label, weight = drawn(seed)
    value = weighted_cross_entropy(logits, label, weight)
    assert torch.allclose(value, weighted_cross_entropy(logits, label, factor * weight))
    turned = torch.where(label == UNKNOWN, UNKNOWN, 2 - label)
    assert torch.allclose(value, weighted_cross_entropy(logits.flip(1), turned, weight))


@pytest.mark.parametrize("loss", LOSSES)
@cheap
@given(seed=seeds)
def test_a_step_towards_the_label_never_costs(loss, seed: int) -> None:
    """Raising the logits of the right classes lowers the loss."""
    logits, label, weight = drawn(seed)
    right = torch.nn.functional.one_hot(label.clamp(min=0), logits.shape[1]).movedim(-1, 1)
    assert loss(logits + right, label, weight) <= loss(logits, label, weight) + 1e-12
