"""Train alpha-clip-tiny: `python -m sparse_annotation_tools.prompts.tiny.train`.

Each step draws anatomies, two drawings of each, and asks of every region: the name of its organ among all names, the
name with "bright" or "dark" among all of those, and the same organ in the other drawing of its anatomy among all
regions of the batch. Names are CLIP's loss over every prompt there is; the likeness of two drawings makes embeddings of
one structure in two scans agree. One mask of each drawing is inverted as well: it shows everything but one organ, and
of all names that organ's must be the least like it. Without this an inverted mask only falls to chance.

Everything follows from the seed: drawings from (seed, step), weights and prompts from torch's and numpy's generators.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.prompts.preprocessing import normalised
from sparse_annotation_tools.prompts.templates import PLACEHOLDER, TEMPLATES, resolve_template
from sparse_annotation_tools.prompts.tiny.drawing import draw, draw_anatomy
from sparse_annotation_tools.prompts.tiny.evaluation import retrieval_accuracy
from sparse_annotation_tools.prompts.tiny.model import WEIGHTS_FILE, new_model, save_model
from sparse_annotation_tools.prompts.tiny.organs import NAMES, ORGANS

SHADES = ("dark", "bright")
PROMPT_TEMPLATES = (
    PLACEHOLDER,
    TEMPLATES["containing"],
    TEMPLATES["photo"],
    *(resolve_template("modality", modality) for modality in ("CT", "MR")),
)
CAPTIONS = (*NAMES, *(f"{shade} {organ.name}" for organ in ORGANS for shade in SHADES))
"""Plain names first, then a dark and a bright one for each organ."""

ANATOMIES_PER_STEP = 8
KEEP_EVERY = 50
"""Steps between two lines of output, and between two states to go on from."""
TEMPERATURE = 0.1
"""Of the likeness of two drawings; that of image and text is learnt, as in CLIP."""


def train(steps: int, seed: int, learning_rate: float, progress: Path | None = None) -> open_clip.CLIP:
    """Return a trained model; with a file `progress`, go on where a run of the same settings was stopped."""
    torch.manual_seed(seed)
    model = new_model().requires_grad_(True).train()
    tokens = caption_tokens()
    optimizer = torch.optim.AdamW(_groups(model), lr=learning_rate, betas=(0.9, 0.98))
    settings = {"steps": steps, "seed": seed, "learning_rate": learning_rate}
    first = _restored(progress, settings, model, optimizer)
    started = time.process_time()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, steps)
        losses = _losses(model, _batch(seed, step), tokens[step % len(tokens)])
        optimizer.zero_grad()
        torch.autograd.backward(list(losses.values()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if (step + 1) % KEEP_EVERY == 0:
            values = "  ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            print(f"step {step + 1}/{steps}  {values}  {time.process_time() - started:.0f} CPU-s", flush=True)
            _keep(progress, settings, model, optimizer, step + 1)
    return model.eval().requires_grad_(False)


def _keep(
    progress: Path | None,
    settings: dict[str, float],
    model: open_clip.CLIP,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    if progress is not None:
        state = {"settings": settings, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        with atomic_path(progress) as temporary:
            torch.save(state, temporary)


def _restored(
    progress: Path | None, settings: dict[str, float], model: open_clip.CLIP, optimizer: torch.optim.Optimizer
) -> int:
    """Take back what `_keep` kept and return the next step; 0 where nothing of these settings was kept."""
    if progress is None or not progress.is_file():
        return 0
    state = torch.load(progress, weights_only=True)
    if state["settings"] != settings:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def caption_tokens() -> Tensor:
    """[templates, captions, 77]; every prompt of the training."""
    tokenizer = open_clip.SimpleTokenizer()
    return torch.stack(
        [tokenizer([template.replace(PLACEHOLDER, caption) for caption in CAPTIONS]) for template in PROMPT_TEMPLATES]
    )


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """All visible regions of one step's drawings, then what lies around one organ of each drawing."""

    pixels: Tensor
    """[B + A, 4, S, S]"""
    kinds: Tensor
    """[B] positions in `NAMES`."""
    shades: Tensor
    """[B] positions in `SHADES`."""
    organs: Tensor
    """[B] the same number for the same organ of the same anatomy."""
    left_out: Tensor
    """[A] positions in `NAMES` of the organ that an inverted mask leaves out."""


def _batch(seed: int, step: int) -> _Batch:
    generator = np.random.default_rng((seed, step))
    pixels, around_pixels, kinds, shades, organs, left_out = [], [], [], [], [], []
    for position in range(ANATOMIES_PER_STEP):
        anatomy = draw_anatomy(generator)
        for _ in range(2):
            drawing = draw(anatomy, generator)
            visible = np.flatnonzero(drawing.visible)
            soft = generator.random() < 0.5
            pixels.append(_pixels(drawing.image, drawing.masks[visible], soft=soft))
            kinds.append(drawing.kinds[visible])
            shades.append(drawing.bright[visible])
            organs.append(position * len(drawing.kinds) + visible)
            shown = visible[drawing.kinds[visible] < len(ORGANS)]
            if len(shown) > 0:
                out = generator.choice(shown)
                around_pixels.append(_pixels(drawing.image, ~drawing.masks[out][None], soft=soft))
                left_out.append(drawing.kinds[out])
    kind, shade, organ = (torch.from_numpy(np.concatenate(part)).long() for part in (kinds, shades, organs))
    return _Batch(
        pixels=torch.cat([*pixels, *around_pixels]),
        kinds=kind,
        shades=shade,
        organs=organ,
        left_out=torch.tensor(left_out, dtype=torch.long),
    )


def _pixels(image: NDArray[np.float32], masks: NDArray[np.bool_], *, soft: bool) -> Tensor:
    """[n, 4, S, S]; soft masks look like masks that were resized."""
    share = torch.from_numpy(masks).float()
    if soft:
        share = F.avg_pool2d(share[:, None], 3, stride=1, padding=1)[:, 0]
    return normalised(torch.from_numpy(image).expand_as(share), share)


def _losses(model: open_clip.CLIP, batch: _Batch, tokens: Tensor) -> dict[str, Tensor]:
    image = F.normalize(model.encode_image(batch.pixels), dim=1)
    text = F.normalize(model.encode_text(tokens), dim=1)
    logits = model.logit_scale.exp() * image @ text.T
    of_names, of_shades = logits[:, : len(NAMES)], logits[:, len(NAMES) :]
    count = len(batch.kinds)
    is_organ = batch.kinds < len(ORGANS)
    return {
        "name": F.cross_entropy(of_names[:count], batch.kinds),
        "shade": 0.5 * F.cross_entropy(of_shades[:count][is_organ], (2 * batch.kinds + batch.shades)[is_organ]),
        "around": F.cross_entropy(-of_names[count:], batch.left_out),
        "likeness": 0.5 * _likeness_loss(image[:count], batch.kinds, batch.shades, batch.organs),
    }


def _likeness_loss(image: Tensor, kinds: Tensor, shades: Tensor, organs: Tensor) -> Tensor:
    """Cross-entropy of finding the same organ in the other drawing of its anatomy.

    Regions of the same name and shade in other anatomies are no wrong answers: they are left out.
    """
    itself = torch.eye(len(image), dtype=torch.bool)
    same = (organs[:, None] == organs) & ~itself & (kinds < len(ORGANS))
    alike = (kinds[:, None] == kinds) & (shades[:, None] == shades) & ~same
    similarity = (image @ image.T / TEMPERATURE).masked_fill(alike | itself, -torch.inf)
    asked = same.any(dim=1)
    return F.cross_entropy(similarity[asked], same[asked].long().argmax(dim=1))


def _groups(model: open_clip.CLIP) -> list[dict[str, Any]]:
    """Weights of matrices decay; the token table does not, so that rows of unseen words stay as drawn."""
    decaying: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (decaying if parameter.ndim >= 2 and "embedding" not in name else free).append(parameter)
    return [{"params": decaying, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over a twentieth, then half a cosine."""
    warm = max(1, steps // 20)
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def main(argv: Sequence[str] | None = None) -> None:
    """Train, evaluate on held-out drawings, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, default=WEIGHTS_FILE, metavar="FILE")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    args = parser.parse_args(argv)
    progress = args.output.with_suffix(".progress.pt")
    model = train(args.steps, args.seed, args.learning_rate, progress)
    accuracy = retrieval_accuracy(model)
    print("  ".join(f"{name} {share:.3f}" for name, share in accuracy.items()))
    settings = {name: str(getattr(args, name)) for name in ("steps", "seed", "learning_rate")}
    used = torch.unique(caption_tokens())
    save_model(model, args.output, used, {**settings, **{name: f"{share:.3f}" for name, share in accuracy.items()}})
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
