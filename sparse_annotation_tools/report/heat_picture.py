"""The picture of heat maps: three planes of one scan, and what each network looks at on them (the paper's Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.files.volumes import Geometry
from sparse_annotation_tools.report.palette import OKABE_ITO, new_figure
from sparse_annotation_tools.report.upright_cut import (
    TRUTH_COLOUR,
    box_around,
    cut,
    grey,
    height_to_width,
    largest_slice,
    outline,
    show_grey,
)
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright

Array = NDArray[Any]

_COLOURS = "inferno"  # lightness rises with the heat, so it reads in grey and for colour-blind people; jet does not
_PREDICTED = OKABE_ITO[1]
_STRONGEST = 0.8  # opacity of heat 1; that of 0 is 0
_PANEL_INCH = 2.2


@dataclass(frozen=True, kw_only=True)
class ShownHeat:
    """One column: a network's heat [z, y, x] of 0 to 1, and where it predicts the class."""

    name: str
    heat: Array
    predicted: Array


def heat_picture(
    path: Path,
    *,
    title: str,
    image: Array,
    geometry: Geometry,
    truth: Array | None,
    shown: Sequence[ShownHeat],
) -> None:
    """Write a PNG, PDF or SVG with one row a view and one column a network.

    Each view is cut where the truth is largest, or where there is none, what the networks predict.

    Args:
        path: file to write.
        title: above everything.
        image: [z, y, x].
        geometry: of the scan.
        truth: where the class truly is, if that is known.
        shown: the networks.
    """
    upright = Upright.of(geometry.direction, geometry.shape)
    spacing_mm = upright.triple(geometry.spacing_mm)
    grey_image = grey(upright.array(image))
    true = None if truth is None else upright.array(truth)
    predicted = [upright.array(each.predicted) for each in shown]
    heats = [upright.array(each.heat) for each in shown]
    target = true if true is not None and true.any() else np.sum(predicted, axis=0)
    if not target.any():
        target = np.sum(heats, axis=0)
    box = box_around([target > 0, *predicted], spacing_mm)
    planes = [(axis, largest_slice(target, axis)) for axis in range(3)]
    heights = [height_to_width(plane, box, spacing_mm, target.shape) for plane in planes]
    figure = new_figure(_PANEL_INCH * (len(shown) + 1) + 0.9, _PANEL_INCH * sum(heights) + 1.4)
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(3, len(shown) + 1, squeeze=False, height_ratios=heights)
    for plane, row in zip(planes, panels, strict=True):
        for column, axes in enumerate(row):
            show_grey(axes, grey_image, plane, box, spacing_mm)
            if column:
                drawn = axes.imshow(
                    cut(heats[column - 1], plane, box),
                    cmap=_COLOURS,
                    vmin=0,
                    vmax=1,
                    alpha=_STRONGEST * cut(heats[column - 1], plane, box),
                    aspect=axes.get_aspect(),
                    interpolation="nearest",
                )
                outline(axes, cut(predicted[column - 1], plane, box), colour=_PREDICTED, width=1.3)
            if true is not None:
                outline(axes, cut(true, plane, box), colour=TRUTH_COLOUR, width=1.6, style="dotted")
        row[0].set_ylabel(VIEW_OF_AXIS[plane[0]], fontsize=9)
    for axes, name in zip(panels[0], ["image", *(each.name for each in shown)], strict=True):
        axes.set_title(name, fontsize=9)
    figure.colorbar(drawn, ax=panels, shrink=0.5, label="heat, 1 = largest in the scan").ax.tick_params(labelsize=8)
    figure.legend(handles=_legend(true is not None), loc="outside lower center", ncols=2, fontsize=8, facecolor="#BBB")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _legend(with_truth: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_PREDICTED, linewidth=1.3, label="predicted by this network")]
    if with_truth:
        handles.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=1.6, linestyle="dotted", label="truth"))
    return handles
