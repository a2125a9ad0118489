"""Prompts, adapter, gamma and head of one guided network."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nnunetv2_rada.method.guidance import GuidedNetwork, Prompts
from nnunetv2_rada.method.vnet import VNet

DATA = Path(__file__).parents[2] / "data"

# The reference's module names -> ours. Inside a backbone block, `conv.{3i}` is convolution i, `conv.{3i+1}` its norm.
BLOCKS = {
    "block_one": "encoder.0",
    "block_two": "encoder.1",
    "block_three": "encoder.2",
    "block_four": "encoder.3",
    "block_five": "encoder.4",
    "block_six": "decoder.0",
    "block_seven": "decoder.1",
    "block_eight": "decoder.2",
    "block_nine": "decoder.3",
}
RESAMPLERS = {
    "block_one_dw": "down.0",
    "block_two_dw": "down.1",
    "block_three_dw": "down.2",
    "block_four_dw": "down.3",
    "block_five_up": "up.0",
    "block_six_up": "up.1",
    "block_seven_up": "up.2",
    "block_eight_up": "up.3",
}
BRANCH = {
    "GAP.0": "guidance.norm",
    "GAP.3": "guidance.image_feature",
    "adapter.fc.0": "guidance.adapter.squeeze",
    "adapter.fc.2": "guidance.adapter.expand",
    "text_to_vision": "guidance.adapter.project",
    "controller1": "guidance.gamma.0",
    "controller2": "guidance.gamma.1",
    "controller3": "guidance.gamma.2",
    "controller4": "guidance.gamma.3",
    "precls_conv.0": "head_norm",
    "precls_conv.2": "head",
    "last_out_conv": "output",
}
UNUSED = ("backbone.out_conv", "temp_conv", "out_conv")  # the reference never calls them


def _our_name(reference: str) -> str:
    if reference == "organ_embedding":
        return "guidance.prompts.text"
    module, kind = reference.rsplit(".", 1)
    if module in BRANCH:
        return f"{BRANCH[module]}.{kind}"
    _, block, _, index = module.split(".")
    part = "norm" if int(index) % 3 else "conv"
    if block in BLOCKS:
        return f"backbone.{BLOCKS[block]}.{int(index) // 3}.{part}.{kind}"
    return f"backbone.{RESAMPLERS[block]}.{part}.{kind}"


def _fill(name: str, shape: tuple[int, ...]) -> Tensor:
    i = np.arange(int(np.prod(shape)))
    return torch.from_numpy(0.05 * np.sin(0.37 * i + zlib.crc32(name.encode()) % 1000)).reshape(shape)


def _reference_value(name: str, shape: tuple[int, ...]) -> Tensor:
    fill = _fill(name, shape)
    if name == "organ_embedding":
        return fill * 20
    if len(shape) > 1:
        return fill * 20 / np.sqrt(np.prod(shape[1:]))
    return 1 + fill if name.endswith(("running_var", ".weight")) else fill


@pytest.fixture(scope="module")
def reference_network() -> GuidedNetwork:
    """The text-only binary network with the deterministic weights of the reference, in double precision."""
    prompts = Prompts(num_foreground=1, text_dim=512, image_dim=0)
    network = GuidedNetwork(VNet(in_channels=1), num_classes=2, prompts=prompts).double().eval()
    own = network.state_dict()
    shapes = json.loads((DATA / "sgtc_network_parameters.json").read_text())
    loaded = {
        _our_name(name): _reference_value(name, tuple(shape)).reshape(own[_our_name(name)].shape)
        for name, shape in shapes.items()
        if not name.startswith(UNUSED)
    }
    not_in_reference = {name for name in own if name.endswith(("num_batches_tracked", "prompts.image"))}
    network.load_state_dict(loaded | {name: own[name] for name in not_in_reference}, strict=True)
    return network


def _network(*, num_classes: int = 2, text_dim: int = 12, image_dim: int = 8) -> GuidedNetwork:
    torch.manual_seed(0)
    prompts = Prompts(num_foreground=num_classes - 1, text_dim=text_dim, image_dim=image_dim)
    prompts.assign(text=torch.randn(num_classes - 1, text_dim), image=torch.randn(num_classes - 1, image_dim))
    return GuidedNetwork(VNet(in_channels=1, base_filters=4), num_classes=num_classes, prompts=prompts).eval()


@pytest.mark.parametrize("gradients", [True, False], ids=["plain", "folded"])
def test_text_only_network_equals_the_reference(reference_network: GuidedNetwork, gradients: bool) -> None:
    """Every stored map of the published network is met to 1e-8 in double precision."""
    image = _fill("input", (2, 1, 32, 32, 16)) * 20
    expected = np.load(DATA / "sgtc_network.npz")
    with torch.set_grad_enabled(gradients):
        bottleneck, decoder = reference_network.backbone(image)
        guidance = reference_network.guidance
        assert guidance is not None
        logits = reference_network(image)
        found = {
            "bottleneck_mean": bottleneck.mean(dim=(2, 3, 4)),
            "decoder_mean": decoder.mean(dim=(2, 3, 4)),
            "task_encoding": guidance.adapter(guidance.prompts()),
            "gamma": guidance(bottleneck)[:, 0],
            "logits_even_voxels": logits[:, :, ::2, ::2, ::2],
            "logits_mean": logits.mean(dim=(2, 3, 4)),
            "logits_sd": logits.std(dim=(2, 3, 4), correction=0),
        }
    for name, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), expected[name], rtol=0, atol=1e-8, err_msg=name)


def test_offset_and_merged_head_equal_the_written_out_formula() -> None:
    """Logits are W(Z + gamma) + b with Z and gamma made explicitly, gamma per class, background the mean gamma."""
    network = _network(num_classes=4).double()
    image = torch.randn(2, 1, 16, 16, 32, dtype=torch.float64)
    bottleneck, decoder = network.backbone(image)
    assert network.guidance is not None
    gamma = network.guidance(bottleneck)
    z = network.head(torch.relu(network.head_norm(decoder)))
    for n in range(4):
        gamma_n = gamma.mean(dim=1) if n == 0 else gamma[:, n - 1]
        expected = network.output(z + gamma_n[:, :, None, None, None])[:, n]
        torch.testing.assert_close(network(image)[:, n], expected, rtol=0, atol=1e-12)


def test_replacing_the_image_embedding_changes_gamma_and_logits() -> None:
    """E_v has an effect, and by a constant per class over space only."""
    network = _network()
    image = torch.randn(2, 1, 16, 16, 16)
    assert network.guidance is not None
    assert network.prompts is not None
    bottleneck = network.backbone(image)[0]
    gamma, logits = network.guidance(bottleneck), network(image)
    network.prompts.assign(text=network.prompts.text, image=torch.randn(1, 8))
    assert (network.guidance(bottleneck) - gamma).abs().max() > 1e-4
    change = network(image) - logits
    assert change.abs().max() > 1e-5
    assert (change - change.mean(dim=(2, 3, 4), keepdim=True)).abs().max() < 1e-5


def test_the_adapter_learns_and_the_embeddings_do_not() -> None:
    """Gradients reach every adapter layer; E_t and E_v are buffers without any."""
    network = _network().train()
    network(torch.randn(2, 1, 32, 16, 16))[:, 1].mean().backward()
    assert network.guidance is not None
    for name, parameter in network.guidance.adapter.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    names = {name for name, _ in network.named_parameters()}
    assert not any("prompts" in name for name in names)
    assert network.prompts is not None
    assert network.prompts.text.grad is None
    assert network.prompts.image.grad is None


def test_a_sample_may_bring_its_own_image_embedding() -> None:
    """Only that sample's logits change; NaN rows take the pooled embedding."""
    network = _network(num_classes=3)
    image = torch.randn(2, 1, 16, 16, 16)
    own = torch.full((2, 2, 8), torch.nan)
    pooled = network(image)
    torch.testing.assert_close(network(image, own), pooled)
    own[1, 0] = torch.randn(8)
    changed = network(image, own)
    torch.testing.assert_close(changed[0], pooled[0])
    change = (changed[1] - pooled[1]).abs().amax(dim=(1, 2, 3))
    assert change[:2].min() > 1e-6  # class 1 and, through the mean gamma, the background
    torch.testing.assert_close(changed[1, 2], pooled[1, 2])


def test_embeddings_reach_the_adapter_as_they_are() -> None:
    """Pooled or a sample's own, text or image: their length is the store's business (`--normalise`)."""
    prompts = Prompts(num_foreground=1, text_dim=3, image_dim=2)
    prompts.assign(text=torch.tensor([[3.0, 0.0, 4.0]]), image=torch.tensor([[0.0, 0.5]]))
    assert prompts().tolist() == [[3, 0, 4, 0, 0.5]]
    own = torch.tensor([[[7.0, 1.0]], [[torch.nan, torch.nan]]])
    assert prompts(own).tolist() == [[[3, 0, 4, 7, 1]], [[3, 0, 4, 0, 0.5]]]


def test_embeddings_travel_with_the_weights() -> None:
    """A network built from shapes alone predicts the same after a strict load_state_dict."""
    trained = _network()
    prompts = Prompts(num_foreground=1, text_dim=12, image_dim=8)
    fresh = GuidedNetwork(VNet(in_channels=1, base_filters=4), num_classes=2, prompts=prompts).eval()
    assert prompts.text.isnan().all()
    fresh.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(prompts.text, trained.state_dict()["guidance.prompts.text"])
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(fresh(image), trained(image))


def test_forgotten_embeddings_cannot_go_unnoticed() -> None:
    """Without assign, logits are NaN."""
    prompts = Prompts(num_foreground=1, text_dim=12, image_dim=8)
    network = GuidedNetwork(VNet(in_channels=1, base_filters=4), num_classes=2, prompts=prompts)
    assert network(torch.randn(1, 1, 32, 16, 16)).isnan().all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.ones(1, 9), r"image embedding must have shape \(1, 8\); got \(1, 9\)"),
        (None, r"image embedding must have shape \(1, 8\); got none"),
        (torch.zeros(1, 8), "finite and not zero"),
        (torch.full((1, 8), torch.nan), "finite and not zero"),
    ],
)
def test_a_wrong_embedding_is_refused(image: Tensor | None, message: str) -> None:
    """Shape, presence and values are checked when embeddings are assigned."""
    prompts = Prompts(num_foreground=1, text_dim=0, image_dim=8)
    with pytest.raises(ValueError, match=message):
        prompts.assign(image=image)


def test_without_prompts_there_is_no_guidance_branch() -> None:
    """The network is backbone and head alone, and works."""
    network = GuidedNetwork(VNet(in_channels=1, base_filters=4), num_classes=2, prompts=None)
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"backbone", "head_norm", "head", "output"}
    assert network(torch.randn(1, 1, 32, 16, 16)).shape == (1, 2, 32, 16, 16)
