"""Tests of the picture of suggested slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from sparse_annotation_tools.report.palette import new_figure
from sparse_annotation_tools.report.slice_picture import _SUGGESTED as LINE
from sparse_annotation_tools.report.slice_picture import ShownSlice, SuggestionPicture, _cut

SHAPE, SPACING_MM = (10, 20, 30), (4.0, 2.0, 1.0)


def picture(**changes: Any) -> SuggestionPicture:
    """A picture of a bright block, with one slice of each view suggested."""
    image = np.zeros(SHAPE, np.float32)
    image[3:7, 5:12, 8:20] = 100
    shown = [ShownSlice(plane=plane, title="annotate", focus=(4, 8, 10)) for plane in ((2, 10), (1, 8), (0, 4))]
    standard: dict[str, Any] = {"title": "case", "image": image, "spacing_mm": SPACING_MM, "shown": shown}
    return SuggestionPicture(**{**standard, **changes})


def pixels_near(path: Path, colour: Any) -> int:
    """Pixels of a colour."""
    return int((np.abs(matplotlib.image.imread(path)[..., :3] - to_rgb(colour)).max(axis=-1) < 0.05).sum())


@pytest.mark.slow
def test_the_slice_its_place_and_what_is_known_are_shown(tmp_path: Path) -> None:
    """A line where the slice cuts the other views; labels and doubt add to the picture; one row a slice."""
    picture().write(tmp_path / "plain.png")
    assert pixels_near(tmp_path / "plain.png", LINE) > 300
    label = np.zeros(SHAPE, np.uint8)
    label[3:7, 5:12, 8:20] = 1
    picture(label=label, wrong=np.full(SHAPE, 0.2, np.float32), drawn=[(0, 2)]).write(tmp_path / "rich.png")
    plain, rich = (matplotlib.image.imread(tmp_path / name)[..., :3] for name in ("plain.png", "rich.png"))
    assert np.ptp(plain, axis=-1).mean() < np.ptp(rich, axis=-1).mean()
    picture(shown=picture().shown[:1]).write(tmp_path / "one.png")
    assert matplotlib.image.imread(tmp_path / "one.png").shape[0] < plain.shape[0] / 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "plain.png", "rich.png"]


@pytest.mark.parametrize(
    ("cut", "plane", "runs_along_x", "expected_mm"),
    [
        ((0, 4), (2, 10), False, 10.5),
        ((0, 4), (1, 8), True, 17.0),
        ((1, 8), (0, 4), True, 40.0 - 18.0),  # the head is on top
        ((2, 10), (1, 8), False, 17.0),
    ],
)
def test_lines_lie_where_the_slice_cuts(
    cut: tuple[int, int], plane: tuple[int, int], runs_along_x: bool, expected_mm: float
) -> None:
    """In mm from the upper left corner, in the middle of the slice's voxels."""
    axes = new_figure(2, 2).add_subplot()
    picture()._line(axes, cut, plane, "red", "-")
    (line,) = axes.get_lines()
    found = line.get_ydata() if runs_along_x else line.get_xdata()
    assert list(found) == pytest.approx([expected_mm, expected_mm])


def test_the_head_is_on_top_and_the_front_is_up() -> None:
    """Upright arrays run to the head and to the back."""
    gradient = np.broadcast_to(np.arange(10.0)[:, None, None], SHAPE)
    for axis in (1, 2):
        assert _cut(gradient, (axis, 3))[0].mean() > _cut(gradient, (axis, 3))[-1].mean()
    to_the_back = np.broadcast_to(np.arange(20.0)[None, :, None], SHAPE)
    assert _cut(to_the_back, (0, 3))[0].mean() < _cut(to_the_back, (0, 3))[-1].mean()
