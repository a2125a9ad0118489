"""DeSCO: dense-sparse co-training of two networks. Cai et al., CVPR 2023 (arXiv:2303.13090)."""

from __future__ import annotations

from torch import nn

from nnunetv2_rada.config import Config
from nnunetv2_rada.method.base import Backbone, Task
from nnunetv2_rada.method.co_training import CoTraining
from nnunetv2_rada.method.guidance import Prompts
from nnunetv2_rada.method.plain import PlainNetwork, check_plain
from sparse_annotation_tools.errors import UserError


class DeSCO(CoTraining):
    """Co-training of two plain networks, each with the label registered from its own slice, weighted alpha**d.

    L = (1 - b) L_sup + b * CE against the peer where the peer is certain: what co-training is with one peer.
    Departure from the published code, which predicts with its first network: the mean softmax of both by default
    (`inference`). Labels off the annotated planes matter unless `pseudo_labels` is `none`.

    Args:
        config: Settings of the run; `networks` names the two views.
        in_channels: Image channels.
        num_classes: Outputs, background included.
        text_dim: Not used.
        image_dim: Not used.
        views: Names of the dataset's label channels.
        make_backbone: Builds one network's backbone; None builds the paper's V-Net.

    Raises:
        UserError: the settings ask for prompts, or not for two networks.
    """

    def __init__(self, config: Config, task: Task) -> None:
        check_plain(config)
        super().__init__(config, task)
        if len(self.views) != 2:
            raise UserError(
                f"DeSCO trains two networks, but the settings name {len(self.views)} ({', '.join(self.views)}); "
                'set networks to two views, for example ["axial", "coronal"]'
            )

    @property
    def prompts(self) -> Prompts | None:
        """None: there are no prompts."""
        return None

    def make_network(self, backbone: Backbone, prompts: Prompts | None) -> nn.Module:
        """Return one network with a plain output."""
        return PlainNetwork(backbone, num_classes=self.num_classes)
