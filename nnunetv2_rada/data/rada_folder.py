"""Keep a copy of the raw dataset's `rada/` folder beside the preprocessed data, where training reads it.

Clusters often lack nnUNet_raw; and nnU-Net takes its folds from the preprocessed folder.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.schema import CasesFile, RadaFolder

SPLITS = "splits_final.json"


def sync_rada_folder(raw_dataset: Path | None, preprocessed_dataset: Path) -> RadaFolder:
    """Copy what is new or changed of `raw_dataset`/rada to `preprocessed_dataset`/rada; put our folds in place.

    Args:
        raw_dataset: the raw dataset's folder, or None where there is no nnUNet_raw on this machine.
        preprocessed_dataset: the preprocessed dataset's folder.

    Raises:
        UserError: neither place has a `rada/` folder, or has no cases.json that can be read, or no folds.
    """
    copy = preprocessed_dataset / "rada"
    source = raw_dataset / "rada" if raw_dataset is not None else None
    if source is not None and (source / "cases.json").is_file():
        _check(RadaFolder(root=source))  # a damaged one must not replace a sound copy
        _mirror(source, copy)
    elif not (copy / "cases.json").is_file():
        raise UserError(
            f"neither {source or 'nnUNet_raw'} nor {copy} holds cases.json, which RADA trains from; "
            "make the dataset with rada-make-sparse-dataset"
        )
    folder = RadaFolder(root=copy)
    _check(folder)
    _put(folder.splits_file, preprocessed_dataset / SPLITS)
    return folder


def number_of_folds(folder: RadaFolder) -> int:
    """Return how many folds the dataset has.

    Raises:
        UserError: `splits_final.json` is missing or damaged.
    """
    path, remake = folder.splits_file, "make the dataset again with rada-make-sparse-dataset"
    try:
        return len(load_json(path))
    except FileNotFoundError:
        raise UserError(f"{path} not found; {remake}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); {remake}") from None


def _check(folder: RadaFolder) -> None:
    CasesFile.load(folder)
    number_of_folds(folder)


def _mirror(source: Path, copy: Path) -> None:
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and not path.name.startswith(".")}
    for relative in sorted(
        files, key=lambda path: path.name == "cases.json"
    ):  # cases.json last: it vouches for the rest
        _put(source / relative, copy / relative)
    for path in list(copy.rglob("*")):
        # Dot files are another training's unfinished copies.
        if path.is_file() and not path.name.startswith(".") and path.relative_to(copy) not in files:
            path.unlink(missing_ok=True)


def _put(source: Path, target: Path) -> None:
    if target.is_file() and source.stat().st_size == target.stat().st_size and _hash(source) == _hash(target):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _hash(path: Path) -> bytes:
    return sha256(path.read_bytes()).digest()
