"""The one abstraction: a way to train from sparse labels, in pure PyTorch.

Shape suffixes: L labelled samples, B all samples, V views (networks), C image channels, N output channels
(background first), XYZ space, K foreground classes, D embedding size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

UNKNOWN = -1  # label value of a voxel about which nothing is known: weight 0 in every loss


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A two-stream batch: labelled samples first, unlabelled samples behind.

    Attributes:
        image: [B, C, X, Y, Z] float.
        label: [L, V, X, Y, Z] int16; per network the propagated label with every annotated plane pasted in, or
            `UNKNOWN`.
        distance: [L, V, X, Y, Z] float; raw slices to the nearest source slice of the network.
        annotation: [L, X, Y, Z] int16; the class where an annotator drew (background is 0), `UNKNOWN` elsewhere.
        plane: [L, V, X, Y, Z] int16; per network, the number (from 1) of the annotated plane of its own that covers the
            voxel, 0 where none does; None where no method asks for it.
        confidence: [L, X, Y, Z] float in 0..1; of the fused label where that is what `label` holds, else None.
        image_embedding: [B, K, D] the samples' own E_v where a method asks for it, else None.
    """

    image: Tensor
    label: Tensor
    distance: Tensor
    annotation: Tensor
    plane: Tensor | None = None
    confidence: Tensor | None = None
    image_embedding: Tensor | None = None

    @property
    def num_labelled(self) -> int:
        """L."""
        return self.label.shape[0]

    @property
    def image_labelled(self) -> Tensor:
        """[L, C, X, Y, Z]."""
        return self.image[: self.num_labelled]

    @property
    def image_unlabelled(self) -> Tensor:
        """[B - L, C, X, Y, Z]."""
        return self.image[self.num_labelled :]

    def part(self, index: int, parts: int) -> Batch:
        """Return part `index` of a batch that holds `parts` equal ones: its share of both streams.

        Raises:
            ValueError: a stream cannot be divided so.
        """
        labelled, unlabelled = self.num_labelled, len(self.image) - self.num_labelled
        if labelled % parts or unlabelled % parts:
            raise ValueError(f"{labelled} + {unlabelled} samples do not make {parts} batches")

        def share(tensor: Tensor) -> Tensor:
            return tensor.tensor_split(parts)[index]

        def both(tensor: Tensor) -> Tensor:
            return torch.cat([share(tensor[:labelled]), share(tensor[labelled:])])

        return Batch(
            image=both(self.image),
            label=share(self.label),
            distance=share(self.distance),
            annotation=share(self.annotation),
            plane=None if self.plane is None else share(self.plane),
            confidence=None if self.confidence is None else share(self.confidence),
            image_embedding=None if self.image_embedding is None else both(self.image_embedding),
        )


Modulate = Callable[[Tensor], Tensor]


class Backbone(nn.Module, ABC):
    """An encoder-decoder that hands out its bottleneck and its last decoder map, both after dropout."""

    bottleneck_channels: int
    """Channels of the bottleneck map."""
    decoder_channels: int
    """Channels of the decoder map."""

    @abstractmethod
    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's maps for image [B, C, X, Y, Z], the bottleneck last; dropout has no part in them."""

    @abstractmethod
    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (bottleneck [B, *, x, y, z], decoder [B, *, X, Y, Z]) for what `encode` returned, which is kept."""

    def forward(self, image: Tensor, modulate: Modulate | None = None) -> tuple[Tensor, Tensor]:
        """Return (bottleneck, decoder); `modulate` changes the bottleneck before it is decoded."""
        *skips, bottleneck = self.encode(image)
        return self.decode([*skips, bottleneck if modulate is None else modulate(bottleneck)])


MakeBackbone = Callable[[], Backbone]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a method is to segment, and with which backbone.

    Attributes:
        in_channels: image channels.
        num_classes: N, background included.
        text_dim: size of the text embedding E_t; 0 if there is none.
        image_dim: size of the image embedding E_v; 0 if there is none.
        views: names of the dataset's label channels, in their order.
        make_backbone: builds one network's backbone; None builds the paper's V-Net.
    """

    in_channels: int
    num_classes: int
    text_dim: int
    image_dim: int
    views: tuple[str, ...]
    make_backbone: MakeBackbone | None = None


class Method(nn.Module, ABC):
    """A way to train from sparse labels.

    A trainer drives it like this, once per iteration:

    ```
    for name, loss in method.step(batch, iteration):
        optimizers[name].zero_grad(); loss.backward(); clip; optimizers[name].step()
    ```

    Code after a `yield` runs after that update. `networks` is what prediction needs and what is saved as network
    weights; everything else a method owns (teachers, discriminators) goes through `method_state`.
    """

    views: tuple[str, ...] = ()
    """Names of the networks' label and distance channels in `Batch`, in channel order."""

    batches_per_step: int = 1
    """Batches that one step takes, joined to one: `Batch.part` divides them again."""

    uses_unlabelled: bool = True
    """Whether a step looks at unlabelled samples; where it does not, none are drawn."""

    networks: nn.ModuleDict
    """The networks that prediction needs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.scalars: dict[str, Tensor] = {}
        """Detached 0-d tensors of the latest step, for curves: for example `loss/sagittal`, `beta`, `trusted`."""

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Return new optimizers by name; the trainer owns and saves them."""

    @abstractmethod
    def step(self, batch: Batch, iteration: int) -> Iterator[tuple[str, Tensor]]:
        """Yield (optimizer name, loss) once per update of iteration `iteration` (from 0)."""

    @abstractmethod
    def predict(self, image: Tensor) -> Tensor:
        """Return logits [B, N, X, Y, Z] for image [B, C, X, Y, Z], a fresh tensor."""

    @abstractmethod
    def learning_rate(self, iteration: int) -> dict[str, float]:
        """Return the learning rate of each optimizer for this iteration."""

    @torch.no_grad()
    def assign_class_shares(self, shares: Tensor) -> None:
        """Let every network begin by predicting each class as often as it is annotated.

        Departure from the paper, which says nothing on initialisation: with PyTorch's own, a network first learns that
        nearly all is background, for hundreds of iterations where foreground is rare. There the gradient of the Dice
        loss has died, and at a small budget the network never leaves it. Every network ends in a 1x1x1 convolution
        `output`, whose bias starts at the logarithm of the shares (as in focal loss, Lin et al. 2017, section 4.1).

        Args:
            shares: [N] of each class, background first; positive.
        """
        log_shares = shares.log()
        for network in self.networks.values():
            bias = cast("Tensor", cast("nn.Conv3d", network.output).bias)
            bias.copy_(log_shares - log_shares.mean())

    def method_state(self) -> dict[str, Any]:
        """State that is neither network weights nor optimizers."""
        return {}

    def load_method_state(self, state: dict[str, Any]) -> None:
        """Take back what `method_state` returned."""

    def record(self, name: str, value: Tensor | float) -> None:
        """Keep a scalar of this step for the curves."""
        self.scalars[name] = torch.as_tensor(value).detach()
