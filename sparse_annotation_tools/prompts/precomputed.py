"""Embeddings from a file that the user made elsewhere, in the format of `prompts.safetensors`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.slices import foreground_classes
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import CasesFile


def read_precomputed(path: Path, classes: Sequence[str]) -> PromptStore:
    """Read a file of embeddings of these classes.

    Raises:
        UserError: there is none, or it is damaged or of other classes.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"--precomputed-file {path} {what}; expected a .safetensors file, check the path")
    return PromptStore.load(path, classes=classes)


def load_precomputed(path: Path, cases_file: CasesFile, options: EmbeddingOptions) -> PromptStore:
    """Read a file of embeddings for a dataset and note where it came from.

    Its metadata is kept, the stamp of a random encoder included; `encoder` becomes `precomputed`, the encoder that it
    names goes to `precomputed_encoder`, and the file's hash to `precomputed_sha256`. Embeddings of cases that are not
    labelled in this dataset are dropped.

    Raises:
        UserError: the file is damaged, of other classes, lacks a labelled case or is not the expected one.
    """
    store = read_precomputed(path, list(foreground_classes(cases_file)))
    missing = [case for case in cases_file.labelled if case not in store.images]
    if missing:
        raise UserError(
            f"{path} has no image embedding of the labelled cases {', '.join(missing)}; add image/CASE/VIEW"
        )
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if options.expected_sha256 and digest not in options.expected_sha256:
        raise UserError(f"{path} has SHA-256 {digest}, which is not among --expected-sha256; get the right file")
    metadata = {
        **store.metadata,
        "encoder": "precomputed",
        "precomputed_encoder": store.encoder,
        "precomputed_sha256": digest,
    }
    return replace(store, images={case: store.images[case] for case in cases_file.labelled}, metadata=metadata)
