"""Grad-CAM over windows: where it is exact, where it is zero, and where a trained network's heat lies."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnunetv2_rada.explain.grad_cam import grad_cam, tapped
from nnunetv2_rada.method.guidance import GuidedNetwork, Prompts
from nnunetv2_rada.method.plain import PlainNetwork
from nnunetv2_rada.method.vnet import VNet
from sparse_annotation_tools.phantom import make_phantom

PATCH = (16, 32, 16)


def guided(seed: int = 0, base_filters: int = 4) -> GuidedNetwork:
    """A network with random weights and embeddings."""
    torch.manual_seed(seed)
    prompts = Prompts(num_foreground=1, text_dim=8, image_dim=8)
    prompts.assign(text=torch.randn(1, 8), image=torch.randn(1, 8))
    return GuidedNetwork(VNet(in_channels=1, base_filters=base_filters), num_classes=2, prompts=prompts).eval()


def plain(seed: int = 0) -> PlainNetwork:
    """A network with random weights and a plain output."""
    torch.manual_seed(seed)
    return PlainNetwork(VNet(in_channels=1, base_filters=4), num_classes=2).eval()


def predicted_class(network: nn.Module, image: torch.Tensor) -> int:
    """The class that a random network predicts most."""
    with torch.no_grad():
        return int(network(image[None]).argmax(1).float().mean().round())


def output_weight(network: nn.Module) -> torch.Tensor:
    """[2, F]: the linear map from the tapped features to the logits."""
    if isinstance(network, GuidedNetwork):
        return network.output.weight.flatten(1) @ network.head.weight.flatten(1)
    return network.output.weight.flatten(1)


@pytest.mark.parametrize("network", [guided(), plain()], ids=["guided", "plain"])
def test_at_the_decoder_heat_is_the_log_odds_without_their_constant(network: nn.Module) -> None:
    """The output is linear in the tapped features, so of two classes their weighted sum is the difference of logits."""
    image = torch.randn(1, *PATCH, generator=torch.Generator().manual_seed(1))
    value = predicted_class(network, image)
    with torch.no_grad():
        features = network.backbone(image[None])[1]
        features = F.relu(network.head_norm(features)) if isinstance(network, GuidedNetwork) else features
        weight = output_weight(network)
        expected = F.relu(torch.einsum("f,bfxyz->xyz", weight[value] - weight[1 - value], features))
    heat = grad_cam(network, image, value=value, patch=PATCH).heat
    assert expected.max() > 0
    torch.testing.assert_close(heat, expected / expected.max(), rtol=1e-3, atol=1e-4)


def test_what_is_added_to_all_logits_changes_no_heat() -> None:
    """A softmax does not see it, so it is no reason for a prediction."""
    network, image = plain(), torch.randn(1, *PATCH)
    value = predicted_class(network, image)
    before = grad_cam(network, image, value=value, patch=PATCH).heat
    with torch.no_grad():
        network.output.weight.add_(torch.randn_like(network.output.weight[:1]))
    after = grad_cam(network, image, value=value, patch=PATCH).heat
    assert before.any()
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", ["decoder", "bottleneck"])
@pytest.mark.parametrize("shape", [(12, 20, 16), (40, 33, 17)], ids=["smaller than a window", "several windows"])
def test_heat_covers_any_scan(layer: str, shape: tuple[int, int, int]) -> None:
    """Heat has the scan's shape and lies between 0 and 1; its maximum is 1 or it is 0 throughout."""
    network, image = plain(), torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    found = grad_cam(network, image, value=0, patch=PATCH, layer=layer)
    assert found.heat.shape == shape
    assert found.logits.shape == (2, *shape)
    assert torch.isfinite(found.heat).all()
    assert found.heat.min() >= 0
    assert found.heat.max().item() in (0, 1)


def test_the_bottleneck_counts_what_the_decoder_makes_of_it() -> None:
    """A plain network has no other way from the bottleneck to its output, and its gradient there is not zero."""
    network, image = plain(), torch.randn(1, *PATCH)
    with tapped(network, "bottleneck") as latest:
        logits = network(image[None])
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), latest())
    assert gradient.shape == (1, 64, 1, 2, 1)
    assert gradient.abs().max() > 0


def test_a_class_that_is_predicted_nowhere_has_no_heat() -> None:
    """There is no score to take a gradient of: the map is 0, not NaN."""
    network, image = guided(), torch.randn(1, *PATCH)
    with torch.no_grad():
        network.output.bias[1] = -1e6
    found = grad_cam(network, image, value=1, patch=PATCH)
    assert found.logits.argmax(0).max() == 0
    assert torch.equal(found.heat, torch.zeros(PATCH))


def test_a_zero_gradient_gives_no_heat() -> None:
    """An output that no feature reaches is predicted everywhere, by its bias: the map is 0, not NaN."""
    network, image = plain(), torch.randn(1, *PATCH)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.tensor([0.0, 1.0]))
    assert torch.equal(grad_cam(network, image, value=1, patch=PATCH).heat, torch.zeros(PATCH))


def test_the_network_is_left_as_it_was() -> None:
    """No hook stays, no weight has a gradient."""
    network, image = guided(), torch.randn(1, *PATCH)
    grad_cam(network, image, value=predicted_class(network, image), patch=PATCH, layer="bottleneck")
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_unknown_layer_is_refused() -> None:
    """The layers that there are stand in the message."""
    with (
        pytest.raises(ValueError, match="decoder, bottleneck; got 'middle'"),
        tapped(plain(), "middle"),
    ):
        pass


@pytest.mark.slow
def test_a_trained_networks_heat_lies_on_the_organ() -> None:
    """A network that has learnt a phantom is hottest in the organ, in a phantom that it has not seen."""
    network = guided(base_filters=8).train()
    seen, unseen = ([phantom(seed) for seed in seeds] for seeds in (range(2), (7,)))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for step in range(20):
        image, label = seen[step % len(seen)]
        loss = F.cross_entropy(network(image[None]), label[None], weight=torch.tensor([0.2, 0.8]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image, label = unseen[0]
    heat = grad_cam(network, image, value=1, patch=(32, 32, 32)).heat
    organ = label == 1
    assert organ[torch.unravel_index(heat.argmax(), heat.shape)]
    assert heat[organ].mean() > 4 * heat[~organ].mean()


def phantom(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image [1, X, Y, Z], normalised, and label [X, Y, Z] of one organ."""
    made = make_phantom(seed, shape=(32, 32, 48), spacing_mm=(2.5, 2.5, 2.0), classes=1)
    image = torch.as_tensor(made.image, dtype=torch.float32)[None]
    return (image - image.mean()) / image.std(), torch.as_tensor(made.label, dtype=torch.long)
