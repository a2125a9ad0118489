"""The picture of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.io import imread

from nnunetv2_rada.compare.paper import find
from nnunetv2_rada.compare.plots import _OURS, _PAPER, draw
from nnunetv2_rada.compare.results import RowResult
from nnunetv2_rada.compare.rows import TABLES, Table
from nnunetv2_rada.compare.statistics import Scores

_TABLE = TABLES["IV"]


def _scores(dice: float | None) -> dict[str, Any]:
    return {
        "mean": {"organ": {"dice": dice}},
        "sd": {"organ": {"dice": 0.1}},
        "cases": {"a": {"organ": {"dice": dice}}},
    }


def _results(*scores: dict[int, Scores], paper: str | None = None, table: Table = _TABLE) -> list[RowResult]:
    return [
        RowResult(
            entry=entry, dataset="given", scores=of_row, failures={}, impossible="", iterations=(20,), seconds=1.0,
            embeddings="none", paper=find(paper, table.paper_tables, entry.paper),
        )
        for entry, of_row in zip(table.entries, scores, strict=True)
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


@pytest.mark.parametrize("name", ["fig4", "fig5"])
def test_figures_of_the_paper_have_our_rows_and_its_numbers(tmp_path: Path, name: str) -> None:
    """Fig. 4 over beta and Fig. 5 over prompt planes: every row's mean, and the paper's where its text names one."""
    table = TABLES[name]
    pixels = []
    for scored in (0, len(table.entries)):
        scores = [{0: _scores(0.7 + 0.01 * number)} if number < scored else {} for number in range(len(table.entries))]
        path = tmp_path / f"{scored}.png"
        draw(path, table, _results(*scores, paper="LA", table=table), ["organ"], scores[-1])
        picture = imread(path)[..., :3] / 255
        pixels.append([int((np.abs(picture - to_rgb(each)).max(axis=-1) < 0.1).sum()) for each in (_OURS, _PAPER)])
    (nothing, paper), (ours, still) = pixels
    assert nothing == 0
    assert ours > 20 * len(table.entries)
    assert paper > 20
    assert still > 20
