"""The V-Net of the paper: plain conv blocks, added skips, and two tapped feature maps.

Shape suffixes: B samples, C input channels, F base filters, XYZ space.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnunetv2_rada.method.base import Backbone

ENCODER_CONVS = (1, 2, 3, 3, 3)  # 3x3x3 convolutions of each stage on the way down
DECODER_CONVS = (3, 3, 2, 1)  # and of each stage on the way up
DIVISOR = 2 ** (len(ENCODER_CONVS) - 1)  # four halvings: each side of an input must be a multiple of it


class ConvNormReLU(nn.Module):
    """Convolution, BatchNorm3d, ReLU.

    Where BatchNorm uses its running statistics and no gradient is wanted, the three are one convolution: the
    normalisation is folded exactly into a scaled copy of the weights, and the trained parameters are never touched.
    """

    def __init__(self, conv: nn.Conv3d | nn.ConvTranspose3d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm3d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(norm(conv(x)))."""
        if self.norm.training or torch.is_grad_enabled():
            return F.relu_(self.norm(self.conv(x)))
        weight, bias = self._folded()
        convolve = F.conv_transpose3d if isinstance(self.conv, nn.ConvTranspose3d) else F.conv3d
        stride, padding = self.conv.stride, cast("tuple[int, ...]", self.conv.padding)
        return F.relu_(convolve(x, weight, bias, stride=stride, padding=padding))

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution that equals norm(conv(.)) on running statistics."""
        norm, conv = self.norm, self.conv
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert conv.bias is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        output_axis = 1 if isinstance(conv, nn.ConvTranspose3d) else 0
        shape = [1] * conv.weight.ndim
        shape[output_axis] = -1
        return conv.weight * scale.view(shape), (conv.bias - norm.running_mean) * scale + norm.bias


def _block(in_channels: int, channels: int, convs: int) -> nn.Sequential:
    """`convs` 3x3x3 convolutions, the first of which changes the width."""
    widths = [in_channels] + [channels] * convs
    return nn.Sequential(*(ConvNormReLU(nn.Conv3d(a, b, 3, padding=1)) for a, b in pairwise(widths)))


class VNet(Backbone):
    """Encoder-decoder over five stages of F, 2F, 4F, 8F and 16F channels (paper section IV-B).

    Departure from the paper: its appendix says skips are concatenated; the code it builds on adds them, and only added
    skips give the published number of parameters. `skip="concat"` does as the appendix says. The paper names one
    dropout layer, the code has two: after the bottleneck and after the last decoder block.

    Args:
        in_channels: C.
        base_filters: F.
        skip: `add` or `concat`.
        dropout: Probability of both Dropout3d layers.
    """

    def __init__(self, *, in_channels: int, base_filters: int = 16, skip: str = "add", dropout: float = 0.5) -> None:
        super().__init__()
        if skip not in ("add", "concat"):
            raise ValueError(f"skip must be add or concat; got {skip!r}")
        self.skip = skip
        widths = [base_filters * 2**stage for stage in range(len(ENCODER_CONVS))]
        self.bottleneck_channels, self.decoder_channels = widths[-1], widths[0]
        joined = 2 if skip == "concat" else 1
        self.encoder = nn.ModuleList(
            _block(width if stage else in_channels, width, convs)
            for stage, (width, convs) in enumerate(zip(widths, ENCODER_CONVS, strict=True))
        )
        self.down = nn.ModuleList(ConvNormReLU(nn.Conv3d(a, b, 2, stride=2)) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            ConvNormReLU(nn.ConvTranspose3d(a, b, 2, stride=2)) for a, b in pairwise(reversed(widths))
        )
        self.decoder = nn.ModuleList(
            _block(joined * width, width, convs) for width, convs in zip(widths[-2::-1], DECODER_CONVS, strict=True)
        )
        self.bottleneck_dropout = nn.Dropout3d(dropout)
        self.decoder_dropout = nn.Dropout3d(dropout)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the five stages, [B, F, X, Y, Z] to [B, 16F, X/16, Y/16, Z/16].

        Raises:
            ValueError: a side of `image` [B, C, X, Y, Z] is not a multiple of 16.
        """
        if any(side % DIVISOR for side in image.shape[2:]):
            raise ValueError(f"each side of the image must be a multiple of {DIVISOR}; got {tuple(image.shape[2:])}")
        if image.device.type == "cpu":  # every map follows the image's memory format; a step costs a quarter less
            image = image.to(memory_format=torch.channels_last_3d)
        maps = [self.encoder[0](image)]
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            maps.append(block(down(maps[-1])))
        return maps

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the bottleneck [B, 16F, X/16, Y/16, Z/16] and decoder [B, F, X, Y, Z] maps, both after dropout."""
        *skips, x = maps
        bottleneck = x = self.bottleneck_dropout(x)
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = block(self._join(up(x), skip))
        return bottleneck, _drop(self.decoder_dropout, x)

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        if self.skip == "concat":
            return torch.cat([x, skip], dim=1)
        return x + skip if torch.is_grad_enabled() else x.add_(skip)


def _drop(dropout: nn.Dropout3d, x: Tensor) -> Tensor:
    """Apply dropout, in place where no gradient needs the map: new memory costs passes without gradient a tenth."""
    return F.dropout3d(x, dropout.p, dropout.training, inplace=not torch.is_grad_enabled())
