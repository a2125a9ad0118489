"""Training curves are drawn quickly, atomically, and never end a training run."""

from __future__ import annotations

import math
import time
from pathlib import Path

import matplotlib.image
import pytest

from sparse_annotation_tools.report.curves import plot_curves

CURVES: dict[str, list[float]] = {
    "loss/sagittal": [0.9, 0.7, 0.5],
    "loss/coronal": [0.9, math.nan, 0.4],
    "loss/axial": [0.8, 0.6, 0.5],
    "beta": [0.001, 0.01, 0.1],
    "alpha": [0.97, 0.94, 0.5],
    "trusted": [0.2, 0.6, 0.9],
}


def _ink(path: Path) -> float:
    """Share of pixels that are not white."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return float((pixels.min(axis=-1) < 0.9).mean())


def test_a_run_is_drawn_with_a_gap_where_a_value_is_missing(tmp_path: Path) -> None:
    """The picture has one panel per prefix and shows more with values than without."""
    assert plot_curves(CURVES, tmp_path / "curves.png")
    assert plot_curves({"beta": [0.1, 0.2]}, tmp_path / "one.png")
    four_panels = matplotlib.image.imread(tmp_path / "curves.png").shape
    one_panel = matplotlib.image.imread(tmp_path / "one.png").shape
    assert four_panels[0] > one_panel[0]
    assert four_panels[1] == pytest.approx(3 * one_panel[1], abs=2)
    assert _ink(tmp_path / "curves.png") > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "one.png"]


def test_a_long_run_is_drawn_in_under_a_second(tmp_path: Path) -> None:
    """A thousand epochs of six curves cost less than a second of computing."""
    plot_curves(CURVES, tmp_path / "curves.png")  # imports matplotlib
    begin = time.process_time()
    assert plot_curves({name: values * 333 for name, values in CURVES.items()}, tmp_path / "curves.png")
    assert time.process_time() - begin < 1.0


def test_nothing_to_draw_writes_nothing(tmp_path: Path) -> None:
    """No curve, an empty one and one of NaN only give no picture and no warning."""
    assert not plot_curves({}, tmp_path / "curves.png")
    assert not plot_curves({"beta": [], "alpha": [math.nan]}, tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """Training goes on when the picture cannot be written, and the old picture stays."""
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="training curves not written"):
        assert not plot_curves(CURVES, blocker / "curves.png")


def test_a_value_that_is_no_number_is_a_warning(tmp_path: Path) -> None:
    """A wrong value from a method does not end training either."""
    with pytest.warns(RuntimeWarning, match="training curves not written"):
        assert not plot_curves({"beta": ["high"]}, tmp_path / "curves.png")  # type: ignore[list-item]
