"""The picture of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from skimage.io import imread

from nnunetv2_rada.compare.paper import find
from nnunetv2_rada.compare.plots import draw
from nnunetv2_rada.compare.results import RowResult
from nnunetv2_rada.compare.rows import TABLES
from nnunetv2_rada.compare.statistics import Scores

_TABLE = TABLES["IV"]


def _scores(dice: float | None) -> dict[str, Any]:
    return {
        "mean": {"organ": {"dice": dice}},
        "sd": {"organ": {"dice": 0.1}},
        "cases": {"a": {"organ": {"dice": dice}}},
    }


def _results(*scores: dict[int, Scores], paper: str | None = None) -> list[RowResult]:
    return [
        RowResult(
            entry=entry, dataset="given", scores=of_row, failures={}, impossible="", iterations=(20,), seconds=1.0,
            embeddings="none", paper=find(paper, _TABLE.paper_tables, entry.paper),
        )
        for entry, of_row in zip(_TABLE.entries, scores, strict=True)
    ]  # fmt: skip


def test_seeds_paper_and_missing_rows_are_drawn(tmp_path: Path) -> None:
    """Every one of them changes the picture; a row without any number, or with an empty one, stops nothing."""
    two = {0: _scores(0.8), 1: _scores(0.82)}
    pictures = []
    for name, results in {
        "without": _results({}, {}, {}, two),
        "row": _results({0: _scores(0.7)}, {}, {}, two),
        "paper": _results({0: _scores(0.7)}, {}, {}, two, paper="LA"),
        "empty": _results({0: _scores(0.7)}, {0: _scores(None)}, {}, two),
    }.items():
        path = tmp_path / f"{name}.png"
        draw(path, _TABLE, results, ["organ"], two)
        pictures.append(imread(path))
    assert all(picture.std() > 10 for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert pictures[1].shape != pictures[2].shape or not np.array_equal(pictures[1], pictures[2])
