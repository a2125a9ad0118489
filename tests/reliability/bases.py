"""The folders that rows start from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantom_dataset import write_small_phantoms

from reliability.commands import COMMANDS
from reliability.place import Place
from reliability.stock import SETTINGS_FILE, plan, save_model

Base = Callable[[str], Path]


def copy_slice(image: Any, spacing_mm: Any, axis: int, index: int, label: Any, settings: Any, seed: int) -> Any:
    """Stand in for registration, which no row is about: carry the label unchanged through the volume."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))


def make_base(root: Path, name: str) -> Path:
    """Return a prepared folder by name; made when it is first asked for."""
    folder = root / name
    if not folder.is_dir():
        _MAKERS[name](folder, lambda other: make_base(root, other))
    return folder


def make_place(root: Path, base: Path, patch: pytest.MonkeyPatch) -> Place:
    """Return a fresh copy of a prepared folder, which the environment points at; nothing registers."""
    from sparse_annotation_tools.dataset.make import make_dataset

    shutil.copytree(base, root, symlinks=True)
    place = Place(root=root, patch=patch)
    patch.setitem(make_dataset.__kwdefaults__, "propagate", copy_slice)
    for name in ("raw", "preprocessed", "results"):
        patch.setenv(f"nnUNet_{name}", str(root / name))
    if (root / SETTINGS_FILE).is_file():
        patch.setenv("RADA_CONFIG", str(root / SETTINGS_FILE))
    return place


def _scans(folder: Path, base: Base) -> None:
    for name in ("raw", "preprocessed", "results", "work"):
        (folder / name).mkdir(parents=True)
    write_small_phantoms(folder / "inputs", labelled=2, unlabelled=1, test=1)


def _dataset(folder: Path, base: Base) -> None:
    command = COMMANDS["rada-make-sparse-dataset"]
    with pytest.MonkeyPatch.context() as patch:
        place = make_place(folder, base("scans"), patch)
        assert command.main()(command.argv(place, {})) == 0
    shutil.rmtree(place.dataset / ".propagated")


def _predictions(folder: Path, base: Base) -> None:
    shutil.copytree(base("scans"), folder)
    shutil.copytree(folder / "inputs" / "labelled" / "labels", folder / "inputs" / "predictions")


def _report(folder: Path, base: Base) -> None:
    shutil.copytree(base("dataset"), folder)
    shutil.copytree(folder / "inputs" / "test" / "labels", folder / "inputs" / "predictions")


def _model(folder: Path, base: Base) -> None:
    with pytest.MonkeyPatch.context() as patch:
        make_place(folder, base("dataset"), patch)
        plan(folder)
        patch.setenv("RADA_CONFIG", str(folder / SETTINGS_FILE))
        save_model(folder)


_MAKERS: dict[str, Callable[[Path, Base], None]] = {
    "scans": _scans,
    "dataset": _dataset,
    "predictions": _predictions,
    "report": _report,
    "model": _model,
}
