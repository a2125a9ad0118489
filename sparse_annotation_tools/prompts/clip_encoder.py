"""CLIP and Alpha-CLIP as an encoder of prompts and regions, with OpenAI's and Alpha-CLIP's own weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from huggingface_hub import try_to_load_from_cache
from open_clip.pretrained import download_pretrained, get_pretrained_cfg

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.alpha_clip import add_alpha_channel, build_clip, clip_config, open_clip_names
from sparse_annotation_tools.prompts.cache import EmbeddingCache
from sparse_annotation_tools.prompts.encoders import FloatArray
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.preprocessing import model_input
from sparse_annotation_tools.prompts.slices import LabelledPlane
from sparse_annotation_tools.prompts.weights import file_sha256, read_state_dict

_OPENAI_FILES = {"ViT-B-16": "ViT-B-16.pt", "ViT-L-14": "ViT-L-14.pt", "ViT-L-14-336": "ViT-L-14-336px.pt"}
_ALPHA_FILES = {
    "ViT-B-16": "clip_b16_grit+mim_fultune_4xe.pth",
    "ViT-L-14": "clip_l14_grit+mim_fultune_6xe.pth",
    "ViT-L-14-336": "clip_l14_336_grit_20m_4xe.pth",
}


class ClipEncoder:
    """A frozen open_clip model with an alpha channel. The model is built only when something is not in the cache.

    Args:
        config: arguments of `open_clip.CLIP`.
        make_model: builds the model of that configuration, with four image channels.
        metadata: what identifies the encoder; with the input it names the cache's entries.
        cache: where embeddings are kept.
    """

    def __init__(
        self,
        config: dict[str, Any],
        make_model: Callable[[], open_clip.CLIP],
        metadata: dict[str, str],
        cache: EmbeddingCache,
    ) -> None:
        self.metadata = metadata
        self._make_model = make_model
        self._cache = cache
        self._identity = json.dumps(metadata, sort_keys=True)
        self._image_size: int = config["vision_cfg"]["image_size"]
        self._tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])

    @cached_property
    def model(self) -> open_clip.CLIP:
        """The model itself."""
        return self._make_model()

    def encode_text(self, prompts: Sequence[str]) -> FloatArray:
        """Return [len(prompts), D], not normalised.

        Raises:
            UserError: a prompt has more tokens than the text tower reads; it would be cut silently.
        """
        return np.stack([self._encode_prompt(prompt) for prompt in prompts])

    def encode_region(self, plane: LabelledPlane, class_name: str, value: int) -> FloatArray:
        """Return [D] for the region of label `value` on the slice, not normalised."""
        del class_name  # the image tower sees pixels only
        pixels = model_input(
            plane.image,
            plane.mask(value),
            pixel_mm=plane.pixel_mm,
            grey_range=plane.grey_range,
            size=self._image_size,
        )

        def encode() -> FloatArray:
            with torch.inference_mode():
                embedding: FloatArray = self.model.encode_image(pixels[None])[0].numpy()
            return embedding

        return self._cache.get_or_encode(self._identity, b"image" + pixels.numpy().tobytes(), encode)

    def _encode_prompt(self, prompt: str) -> FloatArray:
        limit = self._tokenizer.context_length
        length = len(self._tokenizer.encode(prompt)) + 2  # start and end of text
        if length > limit:
            raise UserError(
                f"prompt {prompt!r} has {length} tokens, but the text encoder reads {limit}; shorten --prompt or the "
                f"class's name"
            )

        def encode() -> FloatArray:
            with torch.inference_mode():
                embedding: FloatArray = self.model.encode_text(self._tokenizer([prompt]))[0].numpy()
            return embedding

        return self._cache.get_or_encode(self._identity, b"text" + prompt.encode(), encode)


def make_clip_encoder(options: EmbeddingOptions, cache: EmbeddingCache) -> ClipEncoder:
    """Return the encoder for `--encoder clip` and `alpha-clip`.

    Departure from the paper: without Alpha-CLIP's weights (`clip`) the mask has no influence; this is its "SGTC + CLIP
    vision encoder" row.

    Raises:
        UserError: a weight file is missing, damaged, of another architecture or not the expected one.
    """
    alpha_path = options.alpha_weights
    if alpha_path is not None and not alpha_path.is_file():
        raise UserError(f"--alpha-weights {alpha_path} {_fault(alpha_path)}. {_ways(options)}")
    clip_path = _clip_path(options)
    config = clip_config(options.architecture)
    expected = options.expected_sha256
    metadata = {
        "encoder": options.encoder,
        "architecture": options.architecture,
        "clip_sha256": file_sha256(clip_path, expected),
    }
    if alpha_path is not None:
        metadata["alpha_sha256"] = file_sha256(alpha_path, expected)
        metadata["licence"] = "Alpha-CLIP's weights are for research only"

    def make_model() -> open_clip.CLIP:
        alpha_state = None
        if alpha_path is not None:
            alpha_state = open_clip_names(config, read_state_dict(alpha_path, expected), alpha_path)
        model = build_clip(config, read_state_dict(clip_path, expected), clip_path)
        add_alpha_channel(model, alpha_state, alpha_path or clip_path)
        return model

    return ClipEncoder(config, make_model, metadata, cache)


def _fault(path: Path) -> str:
    """Say why a path leads to no file."""
    return "is a folder, expected a file" if path.is_dir() else "does not exist"


def _clip_path(options: EmbeddingOptions) -> Path:
    """The file of both CLIP towers; for `openai` what open_clip has cached, or else what it downloads."""
    if options.clip_weights != "openai":
        path = Path(options.clip_weights)
        if not path.is_file():
            raise UserError(f"--clip-weights {path} {_fault(path)}. {_ways(options)}")
        return path
    known = get_pretrained_cfg(f"{options.architecture}-quickgelu", "openai")
    cached = try_to_load_from_cache(known["hf_hub"].rstrip("/"), "open_clip_model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    try:  # OpenAI's own file: its hash is known, and without a network this fails at once, which the hub does not
        return Path(download_pretrained(known, prefer_hf_hub=False))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"OpenAI's CLIP weights of {options.architecture} are not on this machine and cannot be downloaded "
            f"({error}). {_ways(options)}"
        ) from None


def _ways(options: EmbeddingOptions) -> str:
    """Every way to get embeddings when weight files are not there."""
    name = options.architecture
    files = f"OpenAI's CLIP ({_OPENAI_FILES[name]}, or open_clip's .safetensors of it) as --clip-weights FILE"
    if options.encoder == "alpha-clip":
        files = f"two files: {files}, and Alpha-CLIP's image tower ({_ALPHA_FILES[name]}) as --alpha-weights FILE"
    return (
        f"{name} needs {files}; or encode on another machine and give --encoder precomputed --precomputed-file FILE; "
        f"or use the built-in --encoder alpha-clip-tiny. Where to get them: docs/how-to/weights.md"
    )
