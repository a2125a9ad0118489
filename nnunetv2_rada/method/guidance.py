"""Cross-modal guidance: prompt embeddings and the image's own features shift each class's logit (eq. 3-5).

Shape suffixes: B samples, K foreground classes, N = K + 1 outputs (background first), D embedding size, XYZ space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnunetv2_rada.method.base import Backbone, Modulate

FEATURE_CHANNELS = 256  # of f_img and of E_ra; they do not scale with the base filters
GAMMA_CHANNELS = 8  # of gamma and Z
MAX_GROUPS = 16  # of both GroupNorm layers


def _group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 16 groups, or the largest number of groups that divides a narrower map."""
    return nn.GroupNorm(math.gcd(MAX_GROUPS, channels), channels)


class Prompts(nn.Module):
    """The frozen encoders' embeddings: one row of E_t and of E_v per foreground class.

    Both are buffers, so they travel with the weights of every network that holds this module, and prediction needs
    neither prompts nor encoders. They are NaN until `assign` or `load_state_dict` fills them.

    Departure from the paper: it leaves open which E_v serves volumes without a mask. One pooled E_v, the mean over the
    labelled training cases, is used for every volume; single samples may bring their own in training.

    Args:
        num_foreground: K.
        text_dim: Size of E_t; 0 leaves the text prompt out.
        image_dim: Size of E_v; 0 leaves the image prompt out.
    """

    text: Tensor
    image: Tensor

    def __init__(self, *, num_foreground: int, text_dim: int, image_dim: int) -> None:
        super().__init__()
        self.register_buffer("text", torch.full((num_foreground, text_dim), torch.nan))
        self.register_buffer("image", torch.full((num_foreground, image_dim), torch.nan))

    @property
    def dim(self) -> int:
        """D, the size of cat(E_t, E_v)."""
        return self.text.shape[1] + self.image.shape[1]

    @torch.no_grad()
    def assign(self, *, text: Tensor | None = None, image: Tensor | None = None) -> None:
        """Take E_t [K, Dt] and E_v [K, Dv] as they are; a prompt that is left out is ignored.

        Whether embeddings have length 1 is settled where they are stored (`rada-embed --normalise`).

        Raises:
            ValueError: a shape differs, an embedding is missing, or a value is not finite or a row all zero.
        """
        for name, buffer, value in (("text", self.text, text), ("image", self.image, image)):
            if buffer.shape[1] == 0:  # this prompt is left out
                continue
            if value is None or value.shape != buffer.shape:
                found = "none" if value is None else tuple(value.shape)
                raise ValueError(f"the {name} embedding must have shape {tuple(buffer.shape)}; got {found}")
            length = value.norm(dim=1)
            if not (torch.isfinite(length) & (length > 0)).all():
                raise ValueError(f"every row of the {name} embedding must be finite and not zero")
            buffer.copy_(value)

    def forward(self, image_embedding: Tensor | None = None) -> Tensor:
        """Return cat(E_t, E_v) [K, D], or [B, K, D] with the samples' own E_v [B, K, Dv].

        Rows of `image_embedding` that are NaN (no mask, or a class that is absent) take the pooled E_v.
        """
        if image_embedding is None or self.image.shape[1] == 0:
            return torch.cat([self.text, self.image], dim=1)
        own = image_embedding.to(self.image)
        image = torch.where(torch.isfinite(own), own, self.image)
        return torch.cat([self.text.expand(len(image), -1, -1), image], dim=-1)


class Adapter(nn.Module):
    """E_ra = Adapter(cat(E_t, E_v)), eq. 3: a bottleneck of two layers, then a projection to 256 features.

    "LN" in the paper is a linear layer, as in the code it builds on.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(dim, dim // 4, bias=False)
        self.expand = nn.Linear(dim // 4, dim, bias=False)
        self.project = nn.Linear(dim, FEATURE_CHANNELS)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return E_ra [..., 256] for embedding [..., D]."""
        return F.relu(self.project(F.relu(self.expand(F.relu(self.squeeze(embedding))))))


class _ImageAndPrompts(nn.Module):
    """cat(f_img, E_ra): what the image's bottleneck says beside what the prompts say of each foreground class."""

    def __init__(self, *, bottleneck_channels: int, prompts: Prompts) -> None:
        super().__init__()
        self.prompts = prompts
        self.norm = _group_norm(bottleneck_channels)
        self.image_feature = nn.Linear(bottleneck_channels, FEATURE_CHANNELS)
        self.adapter = Adapter(prompts.dim)

    def features(self, bottleneck: Tensor, image_embedding: Tensor | None) -> Tensor:
        """Return [B, K, 512]."""
        f_img = self.image_feature(F.relu(self.norm(bottleneck)).mean(dim=(2, 3, 4)))  # [B, 256]
        e_ra = self.adapter(self.prompts(image_embedding)).expand(len(f_img), -1, -1)  # [B, K, 256]
        return torch.cat([f_img[:, None].expand_as(e_ra), e_ra], dim=-1)


class Guidance(_ImageAndPrompts):
    """gamma = MLP(cat(f_img, E_ra)), eq. 4, for each foreground class.

    The 1x1x1 convolutions of the reference see a 1x1x1 map, so they are linear layers here. There is no non-linearity
    between the four, as in the reference.
    """

    def __init__(self, *, bottleneck_channels: int, prompts: Prompts) -> None:
        super().__init__(bottleneck_channels=bottleneck_channels, prompts=prompts)
        self.gamma = nn.Sequential(
            nn.Linear(2 * FEATURE_CHANNELS, 256), nn.Linear(256, 128), nn.Linear(128, 64), nn.Linear(64, GAMMA_CHANNELS)
        )

    def forward(self, bottleneck: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        """Return gamma [B, K, 8]."""
        gamma: Tensor = self.gamma(self.features(bottleneck, image_embedding))
        return gamma


class FiLM(_ImageAndPrompts):
    """Scale and shift of every channel of the bottleneck, from the prompts and the bottleneck itself.

    Beyond the paper, whose guidance shifts each class's logit and nothing else; this reaches what the decoder makes of
    an image. Feature-wise linear modulation, Perez et al. 2018; it begins as the identity.
    """

    def __init__(self, *, bottleneck_channels: int, prompts: Prompts) -> None:
        super().__init__(bottleneck_channels=bottleneck_channels, prompts=prompts)
        self.hidden = nn.Linear(2 * FEATURE_CHANNELS, FEATURE_CHANNELS)
        self.scale_and_shift = nn.Linear(FEATURE_CHANNELS, 2 * bottleneck_channels)
        nn.init.zeros_(self.scale_and_shift.weight)
        nn.init.zeros_(self.scale_and_shift.bias)

    def forward(self, bottleneck: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        """Return the bottleneck [B, C, x, y, z], modulated; what several classes say is averaged."""
        hidden = F.relu(self.hidden(self.features(bottleneck, image_embedding).mean(dim=1)))
        scale, shift = self.scale_and_shift(hidden)[:, :, None, None, None].chunk(2, dim=1)
        modulated: Tensor = bottleneck * (1 + scale) + shift
        return modulated


class GuidedNetwork(nn.Module):
    """One sub-network: backbone, guidance and head, logits = W(Z + gamma) + b (eq. 5).

    gamma is constant over space and W is linear, so the guidance is one logit offset per sample and class, W gamma,
    and no map of gamma is ever made. For the same reason Z is not made either: its 1x1x1 convolution and W are
    multiplied into one. Both are exact.

    Departure from the paper: it treats one foreground class. With several, gamma is per class,
    logit_k = w_k (Z + gamma_k) + b_k, and the background uses the mean gamma; with one class that is the paper's.

    Args:
        backbone: Gives the bottleneck and the last decoder map.
        num_classes: N, background included.
        prompts: The embeddings, shared by all networks; None builds a network without any guidance.
        modulated: Whether the prompts also scale and shift the bottleneck (`FiLM`).
    """

    def __init__(
        self, backbone: Backbone, *, num_classes: int, prompts: Prompts | None, modulated: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.film = (
            FiLM(bottleneck_channels=backbone.bottleneck_channels, prompts=prompts)
            if modulated and prompts is not None
            else None
        )
        self.guidance = (
            Guidance(bottleneck_channels=backbone.bottleneck_channels, prompts=prompts) if prompts is not None else None
        )
        self.head_norm = _group_norm(backbone.decoder_channels)
        self.head = nn.Conv3d(backbone.decoder_channels, GAMMA_CHANNELS, 1)
        self.output = nn.Conv3d(GAMMA_CHANNELS, num_classes, 1)

    @property
    def prompts(self) -> Prompts | None:
        """The embeddings; None without guidance."""
        return None if self.guidance is None else self.guidance.prompts

    def forward(self, image: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        """Return logits [B, N, X, Y, Z] for image [B, C, X, Y, Z]; `image_embedding` as for `Prompts.forward`."""
        bottleneck, decoder = self.backbone(image, self._modulation(image_embedding))
        return self._logits(bottleneck, decoder, image_embedding)

    def encode(self, image: Tensor, image_embedding: Tensor | None = None) -> list[Tensor]:
        """Return what dropout has no part in; `decode` makes logits of it, another time with another mask."""
        *skips, bottleneck = self.backbone.encode(image)
        modulate = self._modulation(image_embedding)
        return [*skips, bottleneck if modulate is None else modulate(bottleneck)]

    def decode(self, maps: Sequence[Tensor], image_embedding: Tensor | None = None) -> Tensor:
        """Return logits [B, N, X, Y, Z] for what `encode` returned."""
        bottleneck, decoder = self.backbone.decode(maps)
        return self._logits(bottleneck, decoder, image_embedding)

    def _modulation(self, image_embedding: Tensor | None) -> Modulate | None:
        if self.film is None:
            return None
        return partial(self.film, image_embedding=image_embedding)

    def _logits(self, bottleneck: Tensor, decoder: Tensor, image_embedding: Tensor | None) -> Tensor:
        # PyTorch's GroupNorm takes up to 50 times as long backwards on a CPU where channels lie last.
        features = F.relu_(self.head_norm(decoder.contiguous())).flatten(2)  # [B, F, V] with V = XYZ
        assert self.head.bias is not None
        w = self.output.weight.flatten(1)  # [N, 8]
        weight = w @ self.head.weight.flatten(1)  # [N, F]
        bias = F.linear(self.head.bias, w, self.output.bias)[None]  # [1, N]
        if self.guidance is not None:
            bias = bias + self.logit_offset(bottleneck, image_embedding)  # [B, N]
        # As a matrix product: a 1x1x1 convolution to so few channels costs three times as much on CPU.
        logits = torch.baddbmm(bias[:, :, None], weight.expand(len(features), -1, -1), features)
        return logits.view(*logits.shape[:2], *decoder.shape[2:])

    def logit_offset(self, bottleneck: Tensor, image_embedding: Tensor | None = None) -> Tensor:
        """Return W gamma [B, N]."""
        assert self.guidance is not None
        gamma = self.guidance(bottleneck, image_embedding)
        gamma = torch.cat([gamma.mean(dim=1, keepdim=True), gamma], dim=1)  # [B, N, 8]
        return (gamma * self.output.weight.flatten(1)).sum(dim=-1)
