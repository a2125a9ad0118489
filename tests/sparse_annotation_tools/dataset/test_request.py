"""Tests of what is refused before any scan is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.dataset.request import DatasetRequest, check_request
from sparse_annotation_tools.errors import UserError


def request_for(raw: Path, **changes: Any) -> DatasetRequest:
    """Return a sound request, with changes."""
    standard: dict[str, Any] = {
        "raw": raw,
        "dataset": "Dataset101_LA",
        "images": raw.parent / "images",
        "labels": raw.parent / "labels",
        "label_names": ("left_atrium",),
    }
    return DatasetRequest(**{**standard, **changes})


@pytest.mark.parametrize("option", ["images", "labels", "unlabelled", "cases", "planes"])
def test_scans_inside_the_dataset_to_be_made_are_refused(tmp_path: Path, option: str) -> None:
    """--overwrite would delete the very scans that it reads, through a link as well."""
    raw = tmp_path / "raw"
    (raw / "Dataset101_LA" / "imagesTr").mkdir(parents=True)
    (tmp_path / "link").symlink_to(raw / "Dataset101_LA")
    others = {"images": None, "labels": None} if option == "cases" else {}
    field = {"planes": "planes_file"}.get(option, option)
    for folder in (raw / "Dataset101_LA", tmp_path / "link"):
        request = request_for(raw, overwrite=True, **{**others, field: folder / "imagesTr"})
        with pytest.raises(UserError, match=f"--{option} .*imagesTr lies in the dataset that is to be made"):
            check_request(request)


def test_scans_of_another_dataset_are_fine(tmp_path: Path) -> None:
    """A dataset may be made from the files of another one, whose name begins alike."""
    check_request(request_for(tmp_path / "raw", images=tmp_path / "raw" / "Dataset100_LA" / "imagesTr"))
    check_request(request_for(tmp_path / "raw", images=tmp_path / "raw" / "Dataset101_LA_scans"))
