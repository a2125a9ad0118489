"""Does the embedding follow the mask? Retrieval among the organs of one drawn slice, with controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from sparse_annotation_tools.prompts.preprocessing import normalised
from sparse_annotation_tools.prompts.templates import TEMPLATES, fill_template
from sparse_annotation_tools.prompts.tiny.drawing import Drawing, draw, draw_anatomy
from sparse_annotation_tools.prompts.tiny.organs import NAMES, ORGANS

SEED = 20_000_000
"""First seed of drawings that training never sees."""

CONTROLS: dict[str, Callable[[Tensor], Tensor]] = {
    "right mask": lambda share: share,
    "mask hidden": torch.ones_like,
    "mask empty": torch.zeros_like,
    "mask inverted": lambda share: 1 - share,
}
"""What the model is shown instead of the share of the mask."""


def retrieval_accuracy(model: open_clip.CLIP, slices: int = 200) -> dict[str, float]:
    """Return how often the nearest prompt, among the organs visible on the slice, is that of the masked organ.

    Every visible organ of a slice is asked for once, so whoever ignores the mask is right once a slice: `chance` is
    the exact expectation for any answer that does not depend on the mask.

    Returns:
        A share per entry of `CONTROLS`, and `chance`.
    """
    text = text_embeddings(model, TEMPLATES["containing"])
    right = dict.fromkeys(CONTROLS, 0)
    asked = shown = 0
    for drawing in held_out_drawings(slices):
        organs = np.flatnonzero(drawing.visible & (drawing.kinds < len(ORGANS)))
        if len(organs) < 2:
            continue
        candidates = text[torch.from_numpy(drawing.kinds[organs])]
        shown += 1
        asked += len(organs)
        for control, change in CONTROLS.items():
            similarity = _embedded(model, drawing, organs, change) @ candidates.T
            right[control] += int((similarity.argmax(dim=1) == torch.arange(len(organs))).sum())
    return {**{control: count / asked for control, count in right.items()}, "chance": shown / asked}


def text_embeddings(model: open_clip.CLIP, template: str) -> Tensor:
    """[len(NAMES), D], length 1."""
    with torch.inference_mode():
        return F.normalize(model.encode_text(open_clip.SimpleTokenizer()(fill_template(template, NAMES))), dim=1)


def held_out_drawings(count: int) -> list[Drawing]:
    """Drawings that training never sees."""
    drawings = []
    for position in range(count):
        generator = np.random.default_rng(SEED + position)
        drawings.append(draw(draw_anatomy(generator), generator))
    return drawings


def _embedded(
    model: open_clip.CLIP, drawing: Drawing, regions: np.ndarray, change: Callable[[Tensor], Tensor]
) -> Tensor:
    """[n, D], length 1."""
    share = change(torch.from_numpy(drawing.masks[regions]).float())
    grey = torch.from_numpy(drawing.image).expand_as(share)
    with torch.inference_mode():
        return F.normalize(model.encode_image(normalised(grey, share)), dim=1)
