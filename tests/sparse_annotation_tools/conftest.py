"""What tests of datasets share: small phantom sets, a stand-in for registration, and a way to compare folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.dataset.make import make_dataset
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.schema import CasesFile

SHAPE = (12, 16, 20)
SPACING_MM = (3.0, 2.0, 2.0)


def copy_slice(
    image: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    axis: int,
    index: int,
    label: NDArray[np.uint8],
    settings: object,
    seed: int,
) -> NDArray[np.uint8]:
    """Stand in for registration: carry the label unchanged through the volume."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))


@pytest.fixture(scope="session")
def propagate_by_copying() -> Callable[..., NDArray[np.uint8]]:
    """A propagation without registration."""
    return copy_slice


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    """A set of 3 labelled, 2 unlabelled and 1 test phantom with two classes."""
    folder = tmp_path / "phantoms"
    write_phantom_set(folder, labelled=3, unlabelled=2, test=1, shape=SHAPE, spacing_mm=SPACING_MM, classes=2)
    return folder


@pytest.fixture
def request_for(nnunet_folders: Any) -> Callable[..., DatasetRequest]:
    """Make a request for the phantoms in a folder; keyword arguments change it."""

    def make(folder: Path, **changes: Any) -> DatasetRequest:
        standard: dict[str, Any] = {
            "raw": nnunet_folders.raw,
            "preprocessed": nnunet_folders.preprocessed,
            "dataset": "Dataset101_Phantom",
            "images": folder / "labelled" / "images",
            "labels": folder / "labelled" / "labels",
            "unlabelled": folder / "unlabelled" / "images",
            "test_images": folder / "test" / "images",
            "test_labels": folder / "test" / "labels",
            "label_names": ("lobed_organ", "bean_organ"),
            "simulate": "SCA",
            "command": "rada-make-sparse-dataset ...",
        }
        return DatasetRequest(**{**standard, **changes})

    return make


@pytest.fixture
def make_quickly() -> Callable[..., CasesFile]:
    """Make a dataset without registration and without embeddings; warnings go to the list `warnings`, if given."""

    def make(request: DatasetRequest, warnings: list[str] | None = None, **replaced: Any) -> CasesFile:
        heard: list[str] = [] if warnings is None else warnings
        parts: dict[str, Any] = {"embed": lambda folder: None, "warn": heard.append, "propagate": copy_slice}
        return make_dataset(request, **{**parts, **replaced})

    return make


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """Return every file of a folder with its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


@pytest.fixture
def write_volume() -> Callable[..., Path]:
    """Write an array (z, y, x) as a volume, on the grid of `like` where given."""

    def write(path: Path, array: NDArray[Any], like: Path | None = None, **geometry: Any) -> Path:
        image = sitk.GetImageFromArray(array)
        if like is not None:
            image.CopyInformation(sitk.ReadImage(str(like)))
        for name, value in geometry.items():
            getattr(image, f"Set{name.title()}")(value)
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))
        return path

    return write


@pytest.fixture
def read_array() -> Callable[[Path], NDArray[Any]]:
    """Read a volume's array (z, y, x)."""
    return lambda path: sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
