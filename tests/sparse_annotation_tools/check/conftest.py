"""A sound dataset that each test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.dataset.make import make_dataset
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.phantom import CLASS_NAMES, write_phantom_set
from sparse_annotation_tools.prompts import embed_dataset
from sparse_annotation_tools.prompts.options import EmbeddingOptions

from .dataset import COMMAND, NAME, Dataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, propagate_by_copying: Any) -> Path:
    """A sound CT dataset of two classes, made by the real maker, registration aside."""
    root = tmp_path_factory.mktemp("made")
    scans = root / "scans"
    write_phantom_set(
        scans, labelled=3, unlabelled=2, test=1, shape=(12, 16, 20), spacing_mm=(3.0, 2.0, 2.0), classes=2
    )
    request = DatasetRequest(
        raw=root / "raw", preprocessed=root / "preprocessed", dataset=NAME, label_names=CLASS_NAMES, modality="CT",
        images=scans / "labelled" / "images", labels=scans / "labelled" / "labels", simulate="SCA",
        unlabelled=scans / "unlabelled" / "images", test_images=scans / "test" / "images",
        test_labels=scans / "test" / "labels", command=COMMAND,
    )  # fmt: skip
    options = EmbeddingOptions(encoder="alpha-clip-tiny")
    heard: list[str] = []
    make_dataset(
        request, embed=lambda folder: embed_dataset(folder, options), warn=heard.append, propagate=propagate_by_copying
    )
    return root


@pytest.fixture
def dataset(made: Path, nnunet_folders: Any) -> Dataset:
    """A copy of the sound dataset."""
    for part in ("raw", "preprocessed"):
        shutil.copytree(made / part / NAME, getattr(nnunet_folders, part) / NAME)
    return Dataset(nnunet_folders.raw / NAME, nnunet_folders.preprocessed / NAME)
