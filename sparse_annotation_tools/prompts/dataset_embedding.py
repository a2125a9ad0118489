"""Encode a raw dataset: every labelled case's annotated slices and every class's prompt, once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.progress import progress
from sparse_annotation_tools.prompts.encoders import Encoder, FloatArray, make_encoder
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.precomputed import load_precomputed, read_precomputed
from sparse_annotation_tools.prompts.slices import (
    LabelledPlane,
    foreground_classes,
    labelled_planes,
    preprocessing_record,
)
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.prompts.templates import fill_template, resolve_template
from sparse_annotation_tools.schema import CasesFile, RadaFolder

CACHE_FOLDER = Path(".rada_cache") / "embeddings"
"""Inside the raw dataset: embeddings by content, safe to delete."""


def embed_dataset(dataset_folder: Path, options: EmbeddingOptions) -> None:
    """Write `rada/prompts.safetensors` of a raw dataset.

    With `--encoder none` an existing file is removed: the dataset then serves trainers without prompts.

    Args:
        dataset_folder: `nnUNet_raw/DatasetXXX_Name` with a `rada/cases.json`.
        options: which encoder, and how.

    Raises:
        UserError: the dataset is not whole, or the encoder's weights are missing, damaged or of another architecture.
    """
    folder = RadaFolder(root=Path(dataset_folder) / "rada")
    cases_file = CasesFile.load(folder)
    if options.encoder == "none":
        folder.prompts_file.unlink(missing_ok=True)
        return
    if not cases_file.labelled:
        raise UserError(f"{dataset_folder} has no labelled case, so there is no slice to encode; label at least one")
    if options.precomputed_file is not None:
        store = load_precomputed(options.precomputed_file, cases_file, options)
    else:
        encoder = make_encoder(options, Path(dataset_folder) / CACHE_FOLDER)
        store = encode(Path(dataset_folder), cases_file, encoder, options)
    store.save(folder.prompts_file)
    report(store, cases_file)


def check_encoder(options: EmbeddingOptions, modality: str, class_names: Sequence[str]) -> None:
    """Raise `UserError` where the encoder's weights, its file of embeddings or the prompts cannot be used."""
    if options.precomputed_file is not None:
        read_precomputed(options.precomputed_file, class_names)
    elif options.encoder != "none":
        prompts = fill_template(resolve_template(options.prompt, modality), class_names)
        with tempfile.TemporaryDirectory() as empty:  # nothing is cached there, so the weights are read
            make_encoder(options, Path(empty)).encode_text(prompts)


def encode(dataset_folder: Path, cases_file: CasesFile, encoder: Encoder, options: EmbeddingOptions) -> PromptStore:
    """Return the embeddings of a dataset's classes and annotated slices."""
    classes = foreground_classes(cases_file)
    template = resolve_template(options.prompt, cases_file.modality)
    text_kt = np.zeros((len(classes), 0), dtype=np.float32)
    if template:
        text_kt = encoder.encode_text(fill_template(template, list(classes)))
    images: dict[str, dict[str, FloatArray]] = {}
    count = sum(len(cases_file.cases[case].slices) for case in cases_file.labelled)
    planes = labelled_planes(dataset_folder, cases_file, options)
    with progress(count, "encoding slices") as shown:
        for plane in planes:
            rows_kd = _encode_plane(plane, classes, encoder)
            if rows_kd is not None:
                images.setdefault(plane.case, {})[plane.key] = rows_kd
            shown.update()
    _check_coverage(images, classes, cases_file)
    metadata = {
        **encoder.metadata,
        "template": template,
        "prompt_planes": options.prompt_planes,
        "normalise": options.normalise,
        "preprocessing": preprocessing_record(cases_file, options),
    }
    store = PromptStore(classes=tuple(classes), text_kt=text_kt, images=images, metadata=metadata)
    return store if options.normalise == "raw" else store.normalised()


def report(store: PromptStore, cases_file: CasesFile) -> None:
    """Print what the user must know: the stamp, and classes that prompt planes do not show."""
    if store.stamp:
        print(f"NOTE: {store.stamp}")
    for line in store.absences(cases_file.labelled):
        print(line)


def _encode_plane(plane: LabelledPlane, classes: dict[str, int], encoder: Encoder) -> FloatArray | None:
    """[K, D] with NaN rows for absent classes; None for a slice that shows no class. No empty mask is encoded."""
    rows: dict[int, FloatArray] = {}
    for position, (name, value) in enumerate(classes.items()):
        if plane.mask(value).any():
            rows[position] = encoder.encode_region(plane, name, value)
    if not rows:
        return None
    size = len(next(iter(rows.values())))
    absent = np.full(size, np.nan, dtype=np.float32)
    return np.stack([rows.get(position, absent) for position in range(len(classes))])


def _check_coverage(images: dict[str, dict[str, FloatArray]], classes: dict[str, int], cases_file: CasesFile) -> None:
    """Every labelled case has an embedding, and every class is seen in at least one case."""
    bare = [case for case in cases_file.labelled if case not in images]
    if bare:
        raise UserError(
            f"no annotated slice of {', '.join(bare)} shows any class; annotate a slice with foreground, "
            f"or move the case to the unlabelled ones"
        )
    for position, name in enumerate(classes):
        shown = any(not np.isnan(rows[position]).any() for slices in images.values() for rows in slices.values())
        if not shown:
            raise UserError(f"class {name} is on no annotated slice of any case; annotate one, or drop the class")
