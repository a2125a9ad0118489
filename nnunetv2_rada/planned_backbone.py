"""The network that nnU-Net planned, as the backbone of a guided network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import Tensor, nn

from nnunetv2_rada.method.base import Backbone
from sparse_annotation_tools.errors import UserError

DROPOUT = 0.5  # as in the V-Net; planned networks have none, and without it every stochastic pass would be the same


class PlannedBackbone(Backbone):
    """nnU-Net's planned encoder and decoder without deep supervision; dropout behind both maps that it hands out.

    Departure from the paper: its backbone is the V-Net.

    Args:
        network: an encoder-decoder of dynamic_network_architectures; its output layers are cut off.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        encoder, decoder = cast("Any", network.encoder), cast("Any", network.decoder)
        self.bottleneck_channels = int(encoder.output_channels[-1])
        self.decoder_channels = int(encoder.output_channels[0])
        decoder.seg_layers = nn.ModuleList(nn.Identity() for _ in decoder.seg_layers)
        decoder.deep_supervision = False
        del decoder.encoder  # a second name for the encoder, which would store its weights twice
        self.encoder, self.decoder = encoder, decoder
        self.bottleneck_dropout = nn.Dropout3d(DROPOUT)
        self.decoder_dropout = nn.Dropout3d(DROPOUT)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the planned encoder's maps for image [B, C, X, Y, Z], whose sides the planned strides divide."""
        return list(self.encoder(image))

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (bottleneck, decoder), both after dropout."""
        *skips, bottleneck = maps
        bottleneck = self.bottleneck_dropout(bottleneck)
        return bottleneck, self.decoder_dropout(self.decoder([*skips, bottleneck]))


def planned_backbones(configuration: ConfigurationManager, in_channels: int) -> Callable[[], PlannedBackbone]:
    """Return a function that builds the planned network anew, with fresh weights, at every call.

    Raises:
        UserError: the planned network is no encoder-decoder of the kind that nnU-Net plans by itself.
    """

    def build() -> PlannedBackbone:
        network = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            in_channels,
            1,
            deep_supervision=False,
        )
        if not (hasattr(network, "encoder") and hasattr(getattr(network, "decoder", None), "seg_layers")):
            raise UserError(
                f"the plans ask for {configuration.network_arch_class_name}, which has no encoder and decoder to tap; "
                "use plans of PlainConvUNet or ResidualEncoderUNet, or backbone vnet"
            )
        return PlannedBackbone(network)

    return build


def patch_multiples(architecture: dict[str, Any]) -> list[int]:
    """Return, per axis, the number of which each side of the planned network's input must be a multiple.

    Args:
        architecture: `arch_kwargs` of the plans.
    """
    return [math.prod(axis) for axis in zip(*architecture["strides"], strict=True)]
