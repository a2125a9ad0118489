"""Tests of the records of finished scans, which may come from a killed run or from anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.suggestion.files import ListedSlice, Record, SuggestionFolder

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def content() -> dict[str, Any]:
    """A record as JSON."""
    drawn = ListedSlice(view="axial", axis=0, index=3, state="drawn", score=4.5, ras_mm="S 1.0", itk_snap="z 4")
    record = Record(case="a", made_from="f" * 64, rule="first slices", slices=(drawn,))
    loaded: dict[str, Any] = json.loads(json.dumps(asdict(record)))
    return loaded


def read(folder: Path, content: object) -> Record | None:
    """Write a record and read it."""
    (folder / "suggestions").mkdir()
    (folder / "suggestions" / "a.json").write_text(json.dumps(content))
    return SuggestionFolder(root=folder).record("a")


def test_a_whole_record_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    """As it was written."""
    record = read(tmp_path, content)
    assert record is not None
    assert json.loads(json.dumps(asdict(record))) == content


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(case="b"),
        lambda content: content.update(slices={}),
        lambda content: content.update(slices=""),
        lambda content: content.update(more=1),
        lambda content: content.pop("rule"),
        lambda content: content["slices"][0].update(view="Axial"),
        lambda content: content["slices"][0].update(index=-1),
        lambda content: content["slices"][0].update(score="4.5"),
    ],
)
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: dict[str, Any], change: Change) -> None:
    """Its scan is looked at again."""
    change(content)
    assert read(tmp_path, content) is None
