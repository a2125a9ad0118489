"""Training curves: each network's losses, beta, alpha, the share of trusted voxels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.report.palette import DASHES, OKABE_ITO, new_figure

Curves = Mapping[str, Sequence[float]]

_TITLES = {
    "loss": "loss",
    "supervised": "supervised loss",
    "unsupervised": "peer supervision loss",
    "beta": "weight of peer supervision (beta)",
    "alpha": "decay per slice of the label's weight (alpha)",
    "trusted": "share of trusted voxels",
    "lr": "learning rate",
}


def plot_curves(curves: Curves, path: Path | str) -> bool:
    """Write the curves to the PNG `path`, one value per epoch.

    Names before a slash share a panel: `loss/sagittal` and `loss/axial` are two lines in the panel `loss`. Values that
    are NaN or None leave a gap. A failure to draw or write is a warning: a picture must never end a training run.

    Returns:
        Whether the picture was written.
    """
    try:
        panels = _panels(curves)
        if not panels:
            return False
        figure = _draw(panels)
        with atomic_path(Path(path)) as temporary:
            figure.savefig(temporary, dpi=80)
    except Exception as error:  # whatever it is, training goes on
        warnings.warn(f"training curves not written to {path}: {error}", RuntimeWarning, stacklevel=2)
        return False
    return True


def _panels(curves: Curves) -> dict[str, dict[str, list[float]]]:
    """Group the non-empty curves: panel name -> line name -> values."""
    panels: dict[str, dict[str, list[float]]] = {}
    for name, values in curves.items():
        panel, _, line = name.partition("/")
        numbers = [math.nan if value is None else float(value) for value in values]
        if any(map(math.isfinite, numbers)):
            panels.setdefault(panel, {})[line] = numbers
    return panels


def _draw(panels: dict[str, dict[str, list[float]]]) -> Any:
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.2 * columns, 2.9 * rows)
    for position, (panel, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, position)
        axes.set_title(_TITLES.get(panel, panel), fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        for index, (line, values) in enumerate(lines.items()):
            axes.plot(
                range(1, len(values) + 1),
                values,
                color=OKABE_ITO[index % len(OKABE_ITO)],
                linestyle=DASHES[index % len(DASHES)],
                marker="." if len(values) < 40 else None,
                label=line or panel,
            )
        if len(lines) > 1:
            axes.legend(fontsize=8)
    return figure
