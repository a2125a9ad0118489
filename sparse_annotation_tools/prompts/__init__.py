"""Frozen encoders that turn annotated slices and class names into embeddings, once, when a dataset is made.

Importing this package loads neither numpy nor torch, so that commands answer `--help` at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparse_annotation_tools.prompts.options import EmbeddingOptions

if TYPE_CHECKING:
    from sparse_annotation_tools.prompts.store import PromptStore

__all__ = ["EmbeddingOptions", "PromptStore", "check_encoder", "embed_dataset"]


def check_encoder(options: EmbeddingOptions, *, modality: str, class_names: Sequence[str]) -> None:
    """Read the encoder's weights and encode the prompts, so that mistakes come up before hours go into a dataset.

    Raises:
        UserError: a weight file, a file of embeddings or a prompt is what `embed_dataset` would refuse.
    """
    from sparse_annotation_tools.prompts import dataset_embedding

    dataset_embedding.check_encoder(options, modality, class_names)


def embed_dataset(dataset_folder: Path, options: EmbeddingOptions) -> None:
    """Encode the annotated slices and class names of a raw dataset into `rada/prompts.safetensors`.

    See `sparse_annotation_tools.prompts.dataset_embedding.embed_dataset`.
    """
    from sparse_annotation_tools.prompts import dataset_embedding

    dataset_embedding.embed_dataset(Path(dataset_folder), options)


def __getattr__(name: str) -> Any:
    if name == "PromptStore":
        from sparse_annotation_tools.prompts.store import PromptStore

        return PromptStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
