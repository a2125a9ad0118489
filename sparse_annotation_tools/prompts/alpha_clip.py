"""Alpha-CLIP on open_clip's own model: one convolution over four channels.

Alpha-CLIP (Sun et al. 2024) changes CLIP's image tower at one place: x = conv1(rgb) + conv1_alpha(alpha), both patch
convolutions without bias. That sum is one convolution over the four channels rgb + alpha, so open_clip's model serves
unchanged once its `visual.conv1` has a fourth input channel.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import ARCHITECTURES
from sparse_annotation_tools.prompts.weights import check_names_and_shapes

ALPHA_WEIGHT = "conv1_alpha.weight"


def clip_config(architecture: str) -> dict[str, Any]:
    """Return open_clip's configuration of an OpenAI model: the one with QuickGELU, which the weights were made with."""
    config: dict[str, Any] = deepcopy(open_clip.get_model_config(f"{architecture}-quickgelu"))
    return config


def build_clip(config: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> open_clip.CLIP:
    """Return a frozen CLIP with three image channels and exactly these weights.

    Args:
        config: arguments of `open_clip.CLIP`.
        state: weights of both towers in open_clip's (and OpenAI's) names.
        path: where they came from, for messages.

    Raises:
        UserError: the weights are of another architecture, or not whole.
    """
    model = open_clip.CLIP(**config)
    check_tower(config, state, path, prefix="visual.")
    check_names_and_shapes(path, state, {name: tensor.shape for name, tensor in model.state_dict().items()})
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def add_alpha_channel(
    model: open_clip.CLIP, alpha_state: Mapping[str, Tensor] | None = None, path: Path = Path()
) -> None:
    """Give the image tower a fourth channel, in place.

    Without `alpha_state` its weights are zero, which is plain CLIP exactly. With it, the whole image tower takes
    Alpha-CLIP's weights.

    Args:
        model: CLIP with three image channels.
        alpha_state: Alpha-CLIP's image tower, as `open_clip_names` returns it.
        path: where it came from, for messages.

    Raises:
        UserError: the weights are of another architecture, or not whole.
    """
    visual = model.visual
    rgb = visual.conv1
    weight = torch.cat([rgb.weight, torch.zeros_like(rgb.weight[:, :1])], dim=1)
    visual.conv1 = nn.Conv2d(4, rgb.out_channels, rgb.kernel_size, rgb.stride, rgb.padding, bias=False)
    visual.conv1.weight = nn.Parameter(weight, requires_grad=False)
    if alpha_state is not None:
        check_names_and_shapes(path, alpha_state, {name: tensor.shape for name, tensor in visual.state_dict().items()})
        visual.load_state_dict(alpha_state)
        visual.requires_grad_(False)
        if not alpha_state["conv1.weight"][:, 3].any():
            warnings.warn(f"{path}: the alpha channel's weights are all zero, so masks have no influence", stacklevel=2)


def open_clip_names(config: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return Alpha-CLIP's released image tower under open_clip's names, its two patch convolutions joined.

    Raises:
        UserError: it has no alpha convolution, or is of another architecture.
    """
    if ALPHA_WEIGHT not in state or "conv1.weight" not in state:
        raise UserError(
            f"{path} has no {ALPHA_WEIGHT}, so it is not Alpha-CLIP's image tower; give one of its released "
            f"clip_*.pth files, or use --encoder clip"
        )
    check_tower(config, state, path)
    rgb, alpha = state["conv1.weight"], state[ALPHA_WEIGHT]
    if alpha.shape != (rgb.shape[0], 1, *rgb.shape[2:]):
        raise UserError(
            f"{path}: {ALPHA_WEIGHT} is {list(alpha.shape)}, expected one channel like conv1's; get it again"
        )
    renamed = {
        name.replace(".attn.in_proj.", ".attn.in_proj_"): tensor
        for name, tensor in state.items()
        if name != ALPHA_WEIGHT
    }
    return {**renamed, "conv1.weight": torch.cat([rgb, alpha], dim=1)}


def check_tower(config: Mapping[str, Any], state: Mapping[str, Tensor], path: Path, prefix: str = "") -> None:
    """Raise `UserError` unless width, patch and grid are the configuration's; name the architecture they belong to."""
    patches, positions = state.get(f"{prefix}conv1.weight"), state.get(f"{prefix}positional_embedding")
    if patches is None or patches.ndim != 4 or positions is None or positions.ndim != 2:
        raise UserError(
            f"{path} holds no ViT image tower ({prefix}conv1.weight and {prefix}positional_embedding are missing); "
            f"give CLIP weights as --clip-weights and Alpha-CLIP's as --alpha-weights"
        )
    found = (patches.shape[0], patches.shape[-1], positions.shape[0])
    if found == _tower(config):
        return
    fitting = [name for name in ARCHITECTURES if _tower(clip_config(name)) == found]
    hint = f"give --architecture {fitting[0]}" if fitting else f"use weights of {', '.join(ARCHITECTURES)}"
    raise UserError(f"{path} has an image tower of {_described(found)}, expected {_described(_tower(config))}; {hint}")


def _tower(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Width, patch size and number of positions."""
    vision = config["vision_cfg"]
    return vision["width"], vision["patch_size"], (vision["image_size"] // vision["patch_size"]) ** 2 + 1


def _described(tower: tuple[int, int, int]) -> str:
    width, patch, positions = tower
    return f"width {width}, patch {patch} and {positions} positions"
