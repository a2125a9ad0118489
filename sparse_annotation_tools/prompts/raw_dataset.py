"""Find a raw dataset by the id or name that nnU-Net's commands take."""

from __future__ import annotations

import os
from pathlib import Path

from sparse_annotation_tools.errors import UserError


def raw_dataset_folder(dataset: str) -> Path:
    """Return `$nnUNet_raw/DatasetXXX_Name` for `101` or `Dataset101_LA`.

    Raises:
        UserError: nnUNet_raw is not set, or holds no such dataset, or more than one of this id.
    """
    root = os.environ.get("nnUNet_raw")  # noqa: SIM112 (nnU-Net's own spelling)
    if not root:
        raise UserError("nnUNet_raw is not set; export nnUNet_raw=FOLDER with the folder that holds your raw datasets")
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = sorted(path for path in Path(root).glob(pattern) if path.is_dir())
    if not found:
        raise UserError(f"no {pattern} in {root}; make it with rada-make-sparse-dataset, or check nnUNet_raw")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{len(found)} datasets in {root} have id {dataset}: {names}; give -d the whole name")
    return found[0]
