"""The V-Net backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_rada.method.vnet import ConvNormReLU, VNet


def _settled(network: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and weights that are far from the identity."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.1)
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.num_features, generator=generator))
                module.bias.copy_(torch.randn(module.num_features, generator=generator))
    return network


def test_number_of_parameters_is_the_published_one() -> None:
    """9,448,866 with a two-class output convolution of 34, which the guided network does not have."""
    assert sum(p.numel() for p in VNet(in_channels=1).parameters()) == 9_448_866 - 34


def test_concatenated_skips_add_exactly_the_wider_first_convolutions() -> None:
    """Each decoder block's first 3x3x3 convolution doubles its input width, nothing else changes."""
    added, concatenated = (
        sum(p.numel() for p in VNet(in_channels=1, base_filters=4, skip=skip).parameters())
        for skip in ("add", "concat")
    )
    assert concatenated - added == sum(27 * width * width for width in (4, 8, 16, 32))


@pytest.mark.parametrize("skip", ["add", "concat"])
def test_taps_have_the_promised_shapes(skip: str) -> None:
    """The bottleneck is 16 times smaller and wider, the decoder map has the image's size and the base width."""
    network = VNet(in_channels=2, base_filters=4, skip=skip)
    bottleneck, decoder = network(torch.randn(2, 2, 32, 16, 48))
    assert bottleneck.shape == (2, network.bottleneck_channels, 2, 1, 3)
    assert decoder.shape == (2, network.decoder_channels, 32, 16, 48)
    assert (network.bottleneck_channels, network.decoder_channels) == (64, 4)


def test_a_side_that_four_halvings_do_not_divide_is_named() -> None:
    """The error gives the rule and what was found."""
    with pytest.raises(ValueError, match=r"multiple of 16; got \(16, 24, 16\)"):
        VNet(in_channels=1, base_filters=4)(torch.zeros(1, 1, 16, 24, 16))


def test_an_unknown_way_to_join_skips_is_refused() -> None:
    """Only add and concat exist."""
    with pytest.raises(ValueError, match="add or concat"):
        VNet(in_channels=1, skip="sum")


def test_dropout_zeroes_whole_channels_of_both_taps_in_training_only() -> None:
    """About half of the channels of each tap are gone in training; none by dropout in evaluation."""
    torch.manual_seed(0)
    network = VNet(in_channels=1, base_filters=8)
    image = torch.randn(4, 1, 32, 32, 32)
    for tap in network(image):
        silent = (tap.flatten(2).abs().sum(dim=2) == 0).float().mean()
        assert 0.3 < silent < 0.8
    network.eval()
    decoder = network(image)[1]
    assert ((decoder.flatten(2).abs().sum(dim=2) == 0).float().mean()) < 0.3


@pytest.mark.parametrize("transposed", [False, True])
def test_folding_batchnorm_into_a_convolution_is_exact(transposed: bool) -> None:
    """Without gradients, evaluation equals conv, norm and relu one after the other, to rounding of double."""
    conv = nn.ConvTranspose3d(3, 5, 2, stride=2) if transposed else nn.Conv3d(3, 5, 3, padding=1)
    unit = _settled(ConvNormReLU(conv)).double().eval()
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    expected = torch.relu(unit.norm(unit.conv(x)))
    with torch.no_grad():
        torch.testing.assert_close(unit(x), expected, rtol=0, atol=1e-12)
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("skip", ["add", "concat"])
def test_folding_leaves_the_whole_network_and_its_parameters_as_they_are(skip: str) -> None:
    """With and without gradients evaluation gives the same maps, and no parameter or statistic changes a bit."""
    network = _settled(VNet(in_channels=1, base_filters=4, skip=skip)).double().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.randn(1, 1, 16, 32, 16, dtype=torch.float64)
    expected = network(image)
    with torch.no_grad():
        folded = network(image)
    for a, b in zip(folded, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_batch_statistics_are_never_folded() -> None:
    """In training mode the no-grad output is that of batch statistics, and the running ones move."""
    unit = ConvNormReLU(nn.Conv3d(1, 2, 3, padding=1)).train()
    x = 5 + torch.randn(2, 1, 4, 4, 4)
    with torch.no_grad():
        y = unit(x)
    assert unit.norm.num_batches_tracked == 1
    torch.testing.assert_close(y, torch.relu(nn.BatchNorm3d(2)(unit.conv(x))))


@pytest.mark.parametrize("skip", ["add", "concat"])
def test_without_gradient_the_maps_are_the_same(skip: str) -> None:
    """What is done in place there (skips, dropout) changes neither the result nor the image."""
    network = VNet(in_channels=1, base_filters=4, skip=skip).eval()
    network.decoder_dropout.train()
    network.bottleneck_dropout.train()
    image = torch.randn(2, 1, 16, 16, 16)
    before = image.clone()
    torch.manual_seed(0)
    expected = network(image)
    torch.manual_seed(0)
    with torch.no_grad():
        found = network(image)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(image, before)
