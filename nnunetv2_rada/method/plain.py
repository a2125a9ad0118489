"""What the compared methods share: networks with a plain output, one SGD, and one kind of labels.

Shape suffixes as in `nnunetv2_rada.method.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import schedules
from nnunetv2_rada.method.base import Backbone, Batch, Method, Task
from nnunetv2_rada.method.co_training import supervision
from nnunetv2_rada.method.ensemble import ensemble_logits
from nnunetv2_rada.method.losses import supervised_loss
from nnunetv2_rada.method.sgd import learning_rate, make_sgd
from nnunetv2_rada.method.vnet import VNet
from sparse_annotation_tools.errors import UserError


class PlainNetwork(nn.Module):
    """A backbone and a 1x1x1 output convolution.

    Args:
        backbone: Gives the last decoder map.
        num_classes: N, background included.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.output = nn.Conv3d(backbone.decoder_channels, num_classes, 1)

    def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        """Return logits [B, N, X, Y, Z] for image [B, C, X, Y, Z]; there are no prompts, so no embedding is used."""
        logits: Tensor = self.output(self.backbone(image)[1])
        return logits

    def encode(self, image: Tensor, image_embedding: Tensor | None = None) -> list[Tensor]:
        """Return what dropout has no part in; `decode` makes logits of it, another time with another mask."""
        return self.backbone.encode(image)

    def decode(self, maps: Sequence[Tensor], image_embedding: Tensor | None = None) -> Tensor:
        """Return logits [B, N, X, Y, Z] for what `encode` returned."""
        logits: Tensor = self.output(self.backbone.decode(maps)[1])
        return logits


class PlainMethod(Method):
    """Base of the compared methods: `names` plain networks, updated together by one SGD.

    Departure from the published methods, none of which was fed with single slices: every supervised term has weight 1
    on annotated voxels and 0 elsewhere (`pseudo_labels` is `none`). With `fused` they learn from the registered label
    of all slices and its confidence instead. Augmentation, clipping and iterations are those of every other trainer.

    Args:
        config: Settings of the run.
        task: What is segmented; its embeddings are not used.

    Raises:
        UserError: the settings ask for prompts, for one label a view, or for a network that is not there.
    """

    names: ClassVar[tuple[str, ...]] = ("student",)
    """Names of the networks."""

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__()
        check_plain(config)
        if config.pseudo_labels == "per_view":
            raise UserError(
                f"method {config.method} has no network per view; set pseudo_labels to none (annotated planes only) or "
                "fused (registered labels)"
            )
        if config.inference not in ("ensemble", *self.names):
            raise UserError(f"setting inference is {config.inference!r}, expected ensemble or {', '.join(self.names)}")
        self.config = config
        self.views = task.views[:1]
        self.in_channels, self.num_classes = task.in_channels, task.num_classes

        def vnet() -> Backbone:
            return VNet(in_channels=task.in_channels, base_filters=config.base_filters, skip=config.skip)

        build = task.make_backbone or vnet
        self.networks = nn.ModuleDict({name: self.make_network(build()) for name in self.names})

    def make_network(self, backbone: Backbone) -> nn.Module:
        """Return one network; it maps an image to logits."""
        return PlainNetwork(backbone, num_classes=self.num_classes)

    def optimizers(self) -> dict[str, Optimizer]:
        """One SGD over all networks, under the method's name."""
        return {self.config.method: make_sgd(self.networks.parameters(), self.config)}

    def learning_rate(self, iteration: int) -> dict[str, float]:
        """The schedule of every trainer."""
        return {self.config.method: learning_rate(iteration, self.config)}

    def predict(self, image: Tensor) -> Tensor:
        """Return the log of the networks' mean softmax [B, N, X, Y, Z], or one network's logits; in fp32."""
        return ensemble_logits(self.networks, image, self.config.inference)

    def target(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return label and weight [L, X, Y, Z] of the labelled half."""
        return supervision(batch, 0, alpha=1.0, pseudo_labels=self.config.pseudo_labels)

    def supervised(self, logits: Tensor, batch: Batch) -> Tensor:
        """L_sup of logits [B or L, N, X, Y, Z], the labelled samples first."""
        loss = supervised_loss(logits[: batch.num_labelled], *self.target(batch))
        self.record("sup", loss)
        return loss

    def peer_weight(self, iteration: int) -> float:
        """b(t), the weight of the unsupervised term: from .0007 to .1 (or a fixed one, `beta_schedule`)."""
        weight = schedules.peer_weight(iteration, self.config.num_iterations, self.config.beta_schedule)
        self.record("beta", 2 * weight)
        return weight


def check_plain(config: Config) -> None:
    """Refuse prompts for a method that has none.

    Raises:
        UserError: `text_prompt` or `image_prompt` is on.
    """
    if config.text_prompt or config.image_prompt:
        raise UserError(f"method {config.method} takes no prompts; set text_prompt and image_prompt to false")
