"""Embeddings by content: what was encoded once is never encoded again, and a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.atomic import atomic_path

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmbeddingCache:
    """One small .npy file per embedding in `folder`, named by the hash of everything that it depends on."""

    folder: Path

    def get_or_encode(self, encoder: str, content: bytes, encode: Callable[[], FloatArray]) -> FloatArray:
        """Return the stored embedding of `content` by `encoder`, or make, store and return it.

        Args:
            encoder: what identifies architecture and weights.
            content: the encoder's whole input: a preprocessed image with its mask, or a prompt.
            encode: makes the embedding, [D] float32.
        """
        digest = hashlib.sha256(encoder.encode() + b"\0" + content).hexdigest()
        path = self.folder / f"{digest}.npy"
        try:
            stored: FloatArray = np.load(path, allow_pickle=False)
            return stored
        except (OSError, ValueError, EOFError):  # not there, or damaged
            embedding = encode()
        with atomic_path(path) as temporary:
            np.save(temporary, embedding)
        return embedding
