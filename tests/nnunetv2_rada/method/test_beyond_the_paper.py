"""What goes beyond the paper: noise that passes share, prompts that modulate the bottleneck, refreshed labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunetv2_rada.method.base import UNKNOWN
from nnunetv2_rada.method.co_training import CONFIDENT, mean_probability, refreshed, supervision
from nnunetv2_rada.method.guidance import GuidedNetwork, Prompts
from nnunetv2_rada.method.losses import supervised_loss
from nnunetv2_rada.method.uncertainty import predictive_entropy
from nnunetv2_rada.method.vnet import VNet
from sparse_annotation_tools.errors import UserError

IMAGE = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))


def _network(*, modulated: bool = False) -> GuidedNetwork:
    torch.manual_seed(0)
    prompts = Prompts(num_foreground=2, text_dim=8, image_dim=4)
    prompts.assign(text=torch.randn(2, 8), image=torch.randn(2, 4))
    return GuidedNetwork(VNet(in_channels=1, base_filters=4), num_classes=3, prompts=prompts, modulated=modulated)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_two_halves_are_the_network(modulated: bool, gradients: bool) -> None:
    """Without dropout, decode(encode(x)) is what forward gives, and the maps are as they were."""
    network = _network(modulated=modulated).eval()
    with torch.set_grad_enabled(gradients):
        maps = network.encode(IMAGE)
        kept = [map_.clone() for map_ in maps]
        assert torch.equal(network.decode(maps), network(IMAGE))
    assert all(torch.equal(map_, before) for map_, before in zip(maps, kept, strict=True))


def test_passes_that_share_noise_run_the_encoder_once() -> None:
    """They differ by dropout, so the entropy is not that of one pass, and nothing of the network changes."""
    network = _network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calls = {"encode": 0, "decode": 0}
    for name in calls:
        module = network.backbone.encoder[0] if name == "encode" else network.backbone.decoder[0]
        module.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    entropy = predictive_entropy(network, IMAGE, passes=5, noise="shared")
    assert calls == {"encode": 1, "decode": 5}
    assert entropy.shape == (2, 16, 16, 16)
    assert not torch.equal(entropy, predictive_entropy(network, IMAGE, passes=5, noise="shared"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training


def test_shared_noise_gives_nearly_the_same_entropy() -> None:
    """Over many passes the mean differs from that of passes with their own noise by less than half its spread."""
    network = _network().train()
    torch.manual_seed(1)
    each, shared = (predictive_entropy(network, IMAGE, passes=60, noise=noise) for noise in ("each", "shared"))
    assert (each - shared).abs().mean() < each.std() / 2


def test_modulation_begins_as_the_identity_and_learns_from_both_prompts_and_image() -> None:
    """The same logits at first; after that the embedding and the image decide how every channel is scaled."""
    plain, modulated = _network().eval(), _network(modulated=True).eval()
    modulated.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(plain(IMAGE), modulated(IMAGE))
    assert modulated.film is not None
    torch.nn.init.normal_(modulated.film.scale_and_shift.weight, std=0.5)
    maps = modulated.encode(IMAGE)
    other = modulated.encode(IMAGE, torch.randn(2, 2, 4))
    assert torch.equal(maps[0], other[0])
    assert not torch.allclose(maps[-1], other[-1])
    change = modulated(IMAGE) - plain(IMAGE)  # not one offset per class, as the paper's guidance is
    assert change.flatten(2).std(dim=2).min() > 0
    modulated(IMAGE).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in modulated.film.hidden.parameters())


@pytest.mark.parametrize("guidance", ["offset", "film"])
def test_prompts_modulate_where_the_setting_says(make_small, make_batch, guidance: str) -> None:
    """With `film`, and with it alone, every network has a modulation, which learns."""
    method = make_small(guidance=guidance)
    modulations = [network.film for network in method.networks.values()]
    assert [film is not None for film in modulations] == [guidance == "film"] * 3
    for _, loss in method.step(make_batch(), 100):
        loss.backward()
    assert all(film is None or film.scale_and_shift.weight.grad.any() for film in modulations)


@pytest.mark.parametrize("settings", [{"guidance": "film"}, {"refresh_after": 0.0}, {"stochastic_noise": "each"}])
def test_every_parameter_learns(make_small, make_batch, settings) -> None:
    """One step yields each view with a finite loss and finite gradients."""
    method = make_small(**settings)
    for name, loss in method.step(make_batch(), 100):
        method.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.networks[name].parameters())


def test_confident_predictions_replace_less_trusted_labels() -> None:
    """Where they may, above CONFIDENT and above the label's own weight; annotated voxels and doubt stay."""
    label, weight = torch.tensor([[[[1, 1, 1, 1, -1]]]]), torch.tensor([[[[0.5, 0.97, 0.5, 0.5, 0.0]]]])
    foreground = torch.tensor([0.05, 0.05, 0.2, 0.05, 0.96])
    agreed = torch.stack([1 - foreground, foreground])[None, :, None, None]
    where = torch.tensor([[[[True, True, True, False, True]]]])
    new_label, new_weight = refreshed(label, weight, agreed, where=where)
    assert CONFIDENT == 0.9
    assert new_label.tolist() == [[[[0, 1, 1, 1, 1]]]]
    torch.testing.assert_close(new_weight, torch.tensor([[[[0.95, 0.97, 0.5, 0.5, 0.96]]]]))
    assert new_label.dtype == label.dtype


def test_refreshed_labels_begin_when_they_are_told_to(make_small, make_batch, monkeypatch) -> None:
    """From that share of the iterations on, from the labelled half of all networks."""
    asked: list[int] = []

    def counted(logits: object, num_labelled: int) -> Tensor:
        asked.append(num_labelled)
        return mean_probability(logits, num_labelled)  # type: ignore[arg-type]

    monkeypatch.setattr("nnunetv2_rada.method.co_training.mean_probability", counted)
    method, batch = make_small(refresh_after=0.5, num_iterations=150), make_batch()
    for iteration in (0, 74, 75, 149):
        list(method.step(batch, iteration))
    assert asked == [2, 2]


@pytest.mark.parametrize("labels", [{"pseudo_labels": "per_view"}, {"pseudo_labels": "none", "planes": "pair"}])
@pytest.mark.parametrize(("iteration", "refreshes"), [(74, False), (75, True)])
def test_each_network_learns_the_refreshed_label(make_small, make_batch, labels, iteration, refreshes) -> None:
    """Certain networks replace labels within the scan; annotated planes, also those not seen, stay as they are."""
    method, batch = make_small(refresh_after=0.5, alpha=0.9, num_iterations=150, **labels), make_batch()
    batch.label[:, :, 12:], batch.annotation[:, 12:] = UNKNOWN, UNKNOWN  # beyond the scan
    batch.label[:, 1, 9] = UNKNOWN  # within it, though one view knows nothing
    with torch.no_grad():
        for network in method.networks.values():
            network.output.weight.zero_()
            network.output.bias.copy_(torch.tensor([0.0, 7.0]))
    logits = torch.tensor([0.0, 7.0]).reshape(1, 2, 1, 1, 1).expand(2, 2, 16, 16, 16)
    certain = 1 / (1 + math.exp(-7))
    list(method.step(batch, iteration))
    replaced = (batch.annotation == UNKNOWN) & (torch.arange(16) < 12).reshape(16, 1, 1) & torch.tensor(refreshes)
    for v, view in enumerate(method.views):
        label, weight = supervision(batch, v, alpha=0.9, **labels)
        label, weight = torch.where(replaced, 1, label), torch.where(replaced, certain, weight)
        torch.testing.assert_close(method.scalars[f"sup/{view}"], supervised_loss(logits, label, weight))


def test_refreshing_asks_all_networks_at_once(make_small) -> None:
    """So it does not go with updates one after the other."""
    with pytest.raises(UserError, match="set updates to joint"):
        make_small(refresh_after=0.5, updates="sequential")


@pytest.mark.parametrize(("optimizer", "momentum", "last"), [("paper", 0.9, 1e-4), ("nnunet", 0.99, 1e-2 / 150**0.9)])
def test_the_optimizer_is_the_papers_or_nnunets(make_small, optimizer: str, momentum: float, last: float) -> None:
    """Its momentum, and the rate at the last iteration."""
    method = make_small(optimizer=optimizer, num_iterations=150)
    assert {group["momentum"] for sgd in method.optimizers().values() for group in sgd.param_groups} == {momentum}
    assert method.learning_rate(0) == dict.fromkeys(method.views, 0.01)
    assert method.learning_rate(149) == pytest.approx(dict.fromkeys(method.views, last))
