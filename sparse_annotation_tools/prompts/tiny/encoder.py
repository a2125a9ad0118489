"""alpha-clip-tiny as an encoder of prompts and regions."""

from __future__ import annotations

from sparse_annotation_tools.prompts.cache import EmbeddingCache
from sparse_annotation_tools.prompts.clip_encoder import ClipEncoder
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.tiny.model import CONFIG, NAME, WEIGHTS_FILE, load_model
from sparse_annotation_tools.prompts.weights import file_sha256


def make_tiny_encoder(options: EmbeddingOptions, cache: EmbeddingCache) -> ClipEncoder:
    """Return the encoder that ships with this package.

    Raises:
        UserError: its file is missing, damaged or not the expected one.
    """
    digest = file_sha256(WEIGHTS_FILE, options.expected_sha256)
    metadata = {"encoder": NAME, "architecture": NAME, "clip_sha256": digest}
    return ClipEncoder(CONFIG, load_model, metadata, cache)
