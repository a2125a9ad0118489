"""The picture of suggested slices: each one large, and beside it where it cuts the two other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.report.palette import OKABE_ITO, class_colour, new_figure
from sparse_annotation_tools.slices.planes import Plane, on_plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS

Array = NDArray[Any]

_SUGGESTED, _DRAWN, _DOUBT = OKABE_ITO[6], "white", OKABE_ITO[5]
# Left, right, top and bottom of each upright view as radiologists look at it.
_LETTERS = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
_BARS_MM = (1, 2, 5, 10, 20, 50, 100)
_WINDOW_PERCENTILES = (0.5, 99.5)
_PANEL_INCH = 3.2


@dataclass(frozen=True, kw_only=True)
class ShownSlice:
    """One suggested slice: its plane, its title, and the point (z, y, x) on it that the other views are cut through."""

    plane: Plane
    title: str
    focus: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class SuggestionPicture:
    """What to draw of one scan. Arrays are upright [z, y, x], see `upright.Upright`.

    Attributes:
        title: above everything.
        image: of any number type.
        spacing_mm: voxel size along the axes.
        shown: the suggested slices; with none of them, the picture says so.
        drawn: planes that are annotated already.
        label: classes to outline, annotated or predicted; None for none.
        wrong: probability that the label is wrong; None where nothing is predicted.
    """

    title: str
    image: Array
    spacing_mm: tuple[float, float, float]
    shown: Sequence[ShownSlice]
    drawn: Sequence[Plane] = ()
    label: Array | None = None
    wrong: Array | None = None

    def write(self, path: Path) -> None:
        """Write the picture as PNG, atomically."""
        figure = new_figure(3 * _PANEL_INCH, (_PANEL_INCH + 0.3) * len(self.shown) + 0.8)
        figure.suptitle(self.title if self.shown else f"{self.title}\nno slice to suggest", fontsize=10)
        grid = figure.add_gridspec(max(1, len(self.shown)), 3, width_ratios=(1.5, 1, 1))
        for row, shown in enumerate(self.shown):
            others = [axis for axis in range(3) if axis != shown.plane[0]]
            cuts = [shown.plane, *((axis, shown.focus[axis]) for axis in others)]
            for column, cut in enumerate(cuts):
                axes = figure.add_subplot(grid[row, column])
                self._draw(axes, cut, shown)
                axes.set_title(shown.title if column == 0 else f"{VIEW_OF_AXIS[cut[0]]}, for orientation", fontsize=8)
        figure.text(0.01, 0.005, self._legend(), fontsize=7)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=110)

    def _draw(self, axes: Any, cut: Plane, shown: ShownSlice) -> None:
        low, high = np.percentile(self.image, _WINDOW_PERCENTILES)
        height_mm, width_mm = (
            side * step
            for axis, (side, step) in enumerate(zip(self.image.shape, self.spacing_mm, strict=True))
            if axis != cut[0]
        )
        frame = {"extent": (0, width_mm, height_mm, 0), "interpolation": "nearest"}
        axes.imshow(_cut(self.image, cut), cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **frame)
        if self.wrong is not None:
            axes.imshow(_layer(_cut(self.wrong, cut)), **frame)
        if self.label is not None:
            self._outline(axes, _cut(self.label, cut), (height_mm, width_mm))
        for planes, colour, style in (([shown.plane], _SUGGESTED, "-"), (self.drawn, _DRAWN, ":")):
            for plane in planes:
                self._line(axes, cut, plane, colour, style)
        self._mark(axes, VIEW_OF_AXIS[cut[0]], width_mm, height_mm)

    def _outline(self, axes: Any, label: Array, size_mm: tuple[float, float]) -> None:
        rows, columns = ((np.arange(n) + 0.5) * mm / n for n, mm in zip(label.shape, size_mm, strict=True))
        for value in (int(each) for each in np.unique(label) if each > 0):
            mask = (label == value).astype(float)
            axes.contour(columns, rows, mask, levels=[0.5], colors=[class_colour(value)], linewidths=1.2)

    def _line(self, axes: Any, cut: Plane, plane: Plane, colour: str, style: str) -> None:
        """Draw where `plane` crosses the cut, which it does along a row or a column."""
        axis, index = plane
        if axis == cut[0]:
            return
        middle_mm = (index + 0.5) * self.spacing_mm[axis]
        if axis == min(other for other in range(3) if other != cut[0]):  # its axis runs along the rows
            height_mm = self.image.shape[axis] * self.spacing_mm[axis]
            axes.axhline(height_mm - middle_mm if _is_head_up(cut[0]) else middle_mm, color=colour, ls=style, lw=1.5)
        else:
            axes.axvline(middle_mm, color=colour, ls=style, lw=1.5)

    def _mark(self, axes: Any, view: str, width_mm: float, height_mm: float) -> None:
        """Write the orientation letters and a scale bar."""
        left, right, top, bottom = _LETTERS[view]
        box = {"facecolor": "black", "alpha": 0.5, "pad": 1, "linewidth": 0}
        for x, y, letter in ((0.03, 0.5, left), (0.97, 0.5, right), (0.5, 0.96, top), (0.5, 0.04, bottom)):
            style = {"color": "white", "fontsize": 8, "ha": "center", "va": "center", "bbox": box}
            axes.text(x, y, letter, transform=axes.transAxes, **style)
        bar_mm = max((mm for mm in _BARS_MM if mm <= 0.35 * width_mm), default=_BARS_MM[0])
        x, y = 0.06 * width_mm, 0.95 * height_mm
        axes.plot([x, x + bar_mm], [y, y], color="white", lw=2, solid_capstyle="butt")
        axes.text(x, y - 0.02 * height_mm, f"{bar_mm} mm", color="white", fontsize=7, va="bottom", bbox=box)
        axes.set_xlim(0, width_mm)
        axes.set_ylim(height_mm, 0)
        axes.set_xticks([])
        axes.set_yticks([])

    def _legend(self) -> str:
        parts = ["yellow line: the suggested slice"]
        if self.drawn:
            parts.append("dotted: annotated already")
        if self.label is not None:
            parts.append("outline: label")
        if self.wrong is not None:
            parts.append("purple: where the prediction is probably wrong")
        return "; ".join(parts)


def _is_head_up(axis: int) -> bool:
    """Whether the rows of cuts across this upright axis run from feet to head, and are turned over."""
    return axis != 0


def _cut(volume: Array, plane: Plane) -> Array:
    """Return a plane as radiologists look at it: head or front on top, the patient's right on the left side."""
    cut: Array = volume[on_plane(plane)]
    return cut[::-1] if _is_head_up(plane[0]) else cut


def _layer(wrong: Array) -> Array:
    """Return an RGBA layer that is the stronger the more doubt there is; a coin's toss (0.5) is the most."""
    from matplotlib.colors import to_rgb

    layer = np.zeros((*wrong.shape, 4))
    layer[..., :3] = to_rgb(_DOUBT)
    layer[..., 3] = np.clip(wrong / 0.5, 0, 1) * 0.6
    return layer
