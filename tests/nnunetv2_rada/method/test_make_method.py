"""The table of methods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from torch import Tensor, nn

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import METHODS, make_method
from nnunetv2_rada.method.base import Backbone, Method
from sparse_annotation_tools.errors import UserError


class _TwoConvs(Backbone):
    """The smallest possible backbone."""

    bottleneck_channels, decoder_channels = 24, 20

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv3d(1, 24, 2, stride=2), nn.ConvTranspose3d(24, 20, 2, stride=2)

    def encode(self, image: Tensor) -> list[Tensor]:
        return [self.down(image)]

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return maps[-1], self.up(maps[-1])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_name_builds_its_method(name: str) -> None:
    """From the arguments alone."""
    guided = name == "co_training"
    labels = "per_view" if name in ("co_training", "desco") else "none"
    config = Config(method=name, base_filters=4, text_prompt=guided, image_prompt=guided, pseudo_labels=labels)
    method = make_method(config, in_channels=1, num_classes=3, text_dim=8, image_dim=8, views=("sagittal", "axial"))
    assert isinstance(method, Method)
    assert method.views == ("sagittal", "axial")[: len(method.views)]


def test_an_unknown_name_lists_the_known_ones() -> None:
    """As a mistake that the user can mend."""
    with pytest.raises(UserError, match=r"'cotraining', expected one of .*co_training"):
        make_method(
            Config(method="cotraining"), in_channels=1, num_classes=2, text_dim=8, image_dim=8, views=("axial",)
        )


def test_another_backbone_can_be_put_into_every_branch() -> None:
    """Also one whose widths 16 groups do not divide."""
    method = make_method(
        Config(), in_channels=1, num_classes=2, text_dim=8, image_dim=8, views=("a", "b"), make_backbone=_TwoConvs
    )
    backbones = [network.backbone for network in method.networks.values()]
    assert all(isinstance(backbone, _TwoConvs) for backbone in backbones)
    assert backbones[0] is not backbones[1]


def test_importing_the_table_does_not_import_torch() -> None:
    """It is read where only the names are wanted."""
    code = "import sys, nnunetv2_rada.method; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
