"""What an encoder is, the choice among them, and the one that carries no semantics."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.slices import LabelledPlane

FloatArray = NDArray[np.float32]

RANDOM_STAMP = "encoder=random: carries no semantics"
"""Goes into metadata, logs, checkpoints and reports wherever random embeddings are used."""


class Encoder(Protocol):
    """A frozen dual encoder of class prompts and of regions of slices."""

    @property
    def metadata(self) -> dict[str, str]:
        """What identifies the encoder, for the metadata of `prompts.safetensors`."""

    def encode_text(self, prompts: Sequence[str]) -> FloatArray:
        """Return [len(prompts), D], not normalised."""

    def encode_region(self, plane: LabelledPlane, class_name: str, value: int) -> FloatArray:
        """Return [D] for the region of label `value` on the slice, not normalised; the region is never empty."""


def make_encoder(options: EmbeddingOptions, cache_folder: Path) -> Encoder:
    """Return the encoder that the options ask for.

    Args:
        options: `encoder` is one that makes embeddings, not `precomputed` or `none`.
        cache_folder: where embeddings are kept by content.

    Raises:
        UserError: its weights are missing, damaged, of another architecture or not the expected ones.
    """
    if options.encoder == "random" and options.seed is not None:
        return RandomEncoder(seed=options.seed)
    from sparse_annotation_tools.prompts.cache import EmbeddingCache

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # timm, which open_clip imports, uses what torch deprecates
        from sparse_annotation_tools.prompts.clip_encoder import make_clip_encoder
        from sparse_annotation_tools.prompts.tiny.encoder import make_tiny_encoder

    cache = EmbeddingCache(folder=cache_folder)
    makers = {"clip": make_clip_encoder, "alpha-clip": make_clip_encoder, "alpha-clip-tiny": make_tiny_encoder}
    return makers[options.encoder](options, cache)


@dataclass(frozen=True, kw_only=True)
class RandomEncoder:
    """Directions drawn by chance, the same for the same seed and name. For tests and ablations only."""

    seed: int
    size: int = 512

    @property
    def metadata(self) -> dict[str, str]:
        """Say plainly that this is random."""
        return {"encoder": "random", "stamp": RANDOM_STAMP, "seed": str(self.seed)}

    def encode_text(self, prompts: Sequence[str]) -> FloatArray:
        """Return [len(prompts), D], one random direction per prompt."""
        return np.stack([self._direction(f"text/{prompt}") for prompt in prompts])

    def encode_region(self, plane: LabelledPlane, class_name: str, value: int) -> FloatArray:
        """Return [D], a random direction per case, slice and class."""
        del value
        return self._direction(f"image/{plane.case}/{plane.key}/{class_name}")

    def _direction(self, name: str) -> FloatArray:
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        return generator.standard_normal(self.size).astype(np.float32)
