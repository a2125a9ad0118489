"""The network of alpha-clip-tiny, its file, and its encoder.

The text tower reads CLIP's own tokens. Of its table of 49,408 token embeddings training touches only those that occur
in its prompts; the others keep the values that they were drawn with and are not stored but drawn again. So a word that
was never seen in training has an embedding of its own, without meaning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.prompts.alpha_clip import add_alpha_channel
from sparse_annotation_tools.prompts.safetensors_bytes import with_sorted_metadata
from sparse_annotation_tools.prompts.tiny.drawing import SIDE

NAME = "alpha-clip-tiny"
WEIGHTS_FILE = Path(__file__).with_name("alpha_clip_tiny.safetensors")

CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIDE, "layers": [2, 2, 2, 1], "width": 12},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
"""Arguments of `open_clip.CLIP`. The image tower is CLIP's ResNet: it learns from far fewer slices than a ViT does."""

_TABLE = "token_embedding.weight"
_TABLE_SEED = 0


def new_model() -> open_clip.CLIP:
    """Return an untrained model with an alpha channel; weights drawn from torch's random state, tokens fixed."""
    model = open_clip.CLIP(**CONFIG)
    add_alpha_channel(model)
    with torch.no_grad():
        model.visual.conv1.weight[:, 3].normal_(std=float(model.visual.conv1.weight[:, :3].std()))
        model.token_embedding.weight.copy_(_untrained_tokens())
    return model


def save_model(model: open_clip.CLIP, path: Path, tokens: Tensor, metadata: dict[str, str]) -> None:
    """Write the weights atomically, of the token table only the rows `tokens` that training touched."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != _TABLE}
    state["token_embedding.ids"] = tokens.to(torch.int32)
    state["token_embedding.rows"] = model.token_embedding.weight.detach()[tokens].contiguous()
    with atomic_path(path) as temporary:
        temporary.write_bytes(with_sorted_metadata(save(state, metadata={**metadata, "config": json.dumps(CONFIG)})))


def load_model(path: Path = WEIGHTS_FILE) -> open_clip.CLIP:
    """Return the frozen trained model.

    Raises:
        UserError: the file is missing, damaged or of another version of this package.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}); install nnunetv2-rada again") from None
    model = new_model()
    try:
        state[_TABLE] = _untrained_tokens().index_copy(
            0, state.pop("token_embedding.ids").long(), state.pop("token_embedding.rows")
        )
        model.load_state_dict(state)
    except (KeyError, RuntimeError):
        raise UserError(f"{path} is of another version of this package; install nnunetv2-rada again") from None
    return model.eval().requires_grad_(False)


def _untrained_tokens() -> Tensor:
    """[49408, width]; numpy's legacy generator, whose numbers are the same in every version."""
    text = CONFIG["text_cfg"]
    numbers = np.random.RandomState(_TABLE_SEED).standard_normal((text["vocab_size"], text["width"]))
    return torch.from_numpy(0.02 * numbers).float()
