"""Predictive entropy of stochastic passes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_rada.method.uncertainty import predictive_entropy, stochastic_mode
from nnunetv2_rada.method.vnet import VNet


class _Constant(nn.Module):
    """Logits that depend on nothing."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        return self.logits.view(1, -1, 1, 1, 1).expand(len(image), -1, *image.shape[2:])


class _Recorder(_Constant):
    """Keeps the images that it was shown."""

    def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        self.seen = torch.cat([getattr(self, "seen", image[:0]), image])
        return super().forward(image, image_embedding)


def test_entropy_of_known_predictions() -> None:
    """ln C for no idea, 0 for certainty (also where a probability underflows to 0)."""
    image = torch.zeros(2, 1, 3, 4, 5)
    no_idea = predictive_entropy(_Constant(0, 0, 0), image, passes=3)
    torch.testing.assert_close(no_idea, torch.full((2, 3, 4, 5), math.log(3)))
    assert torch.equal(predictive_entropy(_Constant(0, 1000), image, passes=2), torch.zeros(2, 3, 4, 5))


def test_entropy_is_that_of_the_mean_not_the_mean_of_entropies() -> None:
    """Passes that are certain of different classes leave all the doubt there is."""

    class Alternating(_Constant):
        def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
            sign = 1 - 2 * (torch.arange(len(image)) % 2).view(-1, 1, 1, 1, 1)
            return sign * super().forward(image)

    entropy = predictive_entropy(Alternating(50, -50), torch.zeros(1, 1, 2, 2, 2), passes=4)
    torch.testing.assert_close(entropy, torch.full((1, 2, 2, 2), math.log(2)))


def test_every_pass_sees_its_own_clipped_noise() -> None:
    """Standard deviation .1, cut at .2, drawn anew for each pass and sample."""
    torch.manual_seed(0)
    recorder = _Recorder(0, 0)
    predictive_entropy(recorder, torch.zeros(2, 1, 16, 16, 16), passes=3)
    noise = recorder.seen
    assert noise.shape[0] == 6
    assert noise.abs().max() == pytest.approx(0.2)
    assert noise.std().item() == pytest.approx(0.096, abs=0.002)
    correlation = torch.corrcoef(noise.flatten(1))
    assert (correlation - torch.eye(6)).abs().max() < 0.1


@pytest.mark.parametrize("passes", [1, 3, 4, 5, 8])
def test_passes_that_share_a_call_are_counted_right(passes: int) -> None:
    """Every sample is seen by exactly T passes, with its own embedding, and keeps its own entropy."""

    class PerSample(_Recorder):
        def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
            assert image_embedding is not None
            assert torch.equal(image.mean(dim=(1, 2, 3, 4)) > 5, image_embedding[:, 0, 0] == 1)
            sure = 100.0 * image_embedding[:, :, :, None, None]  # [B, 1, 1, 1, 1]
            return super().forward(image) * sure

    image = torch.zeros(2, 1, 2, 2, 2)
    image[1] = 10
    network = PerSample(1, -1)
    entropy = predictive_entropy(network, image, passes=passes, image_embedding=torch.tensor([[[0.0]], [[1.0]]]))
    assert len(network.seen) == 2 * passes
    torch.testing.assert_close(entropy[0], torch.full((2, 2, 2), math.log(2)))
    assert torch.equal(entropy[1], torch.zeros(2, 2, 2))


def test_stochastic_mode_is_dropout_alone_and_is_undone() -> None:
    """BatchNorm evaluates, dropout drops; the former modes come back even after an error."""
    network = VNet(in_channels=1, base_filters=4).train()
    network.up.eval()
    before = {name: module.training for name, module in network.named_modules()}

    def fail_inside() -> None:
        with stochastic_mode(network):
            assert all(m.training == isinstance(m, nn.Dropout3d) for m in network.modules())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert {name: module.training for name, module in network.named_modules()} == before


def test_passes_differ_by_dropout_and_leave_no_trace() -> None:
    """Two passes disagree, no statistic moves, and nothing asks for gradients."""
    torch.manual_seed(0)

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vnet, self.out = VNet(in_channels=1, base_filters=4), nn.Conv3d(4, 2, 1)

        def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
            return 10 * self.out(self.vnet(image)[1])

    network = Head().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.randn(1, 1, 16, 16, 16)
    first, second = (predictive_entropy(network, image, passes=1) for _ in range(2))
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_passes_may_take_batchnorm_from_the_batch_as_the_published_code_does() -> None:
    """With `batch` every module trains: statistics move once per call, and the passes come two at a time."""
    network = nn.Sequential(nn.BatchNorm3d(1), nn.Dropout3d(0.5)).eval()
    with stochastic_mode(network, "batch"):
        assert all(module.training for module in network.modules())
    assert not any(module.training for module in network.modules())

    class Normed(_Recorder):
        def __init__(self) -> None:
            super().__init__(0, 0)
            self.norm, self.calls = nn.BatchNorm3d(1), []

        def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
            self.calls.append(len(image))
            return super().forward(self.norm(image), image_embedding)

    normed = Normed().train()
    predictive_entropy(normed, torch.ones(2, 1, 4, 4, 4), passes=5, norm="batch")
    assert normed.calls == [4, 4, 2]
    assert normed.norm.num_batches_tracked == 3


def test_no_passes_are_refused() -> None:
    """An entropy of nothing does not exist."""
    with pytest.raises(ValueError, match="at least 1; got 0"):
        predictive_entropy(_Constant(0, 0), torch.zeros(1, 1, 2, 2, 2), passes=0)
