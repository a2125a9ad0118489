"""A CLIP small enough for tests, with the image tower of the reference fixture in tests/data."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor

DATA = Path(__file__).parents[2] / "data"
ALPHA_FILE = DATA / "alpha_clip_tiny_visual.pth"


def tiny_config(*, quick_gelu: bool = True) -> dict[str, Any]:
    """Return arguments of `open_clip.CLIP`."""
    return {
        "embed_dim": 64,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }


def tiny_state(seed: int = 0) -> dict[str, Tensor]:
    """Return weights of both towers, drawn by chance."""
    torch.manual_seed(seed)
    return {name: tensor.clone() for name, tensor in open_clip.CLIP(**tiny_config()).state_dict().items()}


def reference() -> dict[str, np.ndarray]:
    """Return inputs of the official Alpha-CLIP and the embeddings that it gave for them."""
    with np.load(DATA / "alpha_clip_tiny.npz") as content:
        return dict(content)
