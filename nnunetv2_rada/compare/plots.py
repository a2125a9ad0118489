"""A picture of a table: every seed, its mean, and the paper's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.results import RowResult
from nnunetv2_rada.compare.rows import REFERENCE, Table
from nnunetv2_rada.compare.statistics import Scores, paired_difference, summary
from sparse_annotation_tools.files.atomic import atomic_path

_ROW_INCHES = 0.32
_OURS, _PAPER, _MUTED = "#2a6f97", "#c8553d", "#8a8a8a"


def draw(
    path: Path, table: Table, results: Sequence[RowResult], classes: Sequence[str], reference: Mapping[int, Scores]
) -> None:
    """Draw Dice of each row, and its paired difference to the reference; one line of panels a class.

    Args:
        path: PNG file to write.
        table: what it shows.
        results: its rows.
        classes: names of the classes.
        reference: scores of the reference row by seed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = (1.2 + _ROW_INCHES * len(results)) * len(classes)
    figure = Figure(figsize=(10, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(table.title)
    axes = figure.subplots(len(classes), 2, sharey="row", squeeze=False, width_ratios=(3, 2))
    for (dice, difference), name in zip(axes, classes, strict=True):
        _draw_dice(dice, results, name)
        _draw_differences(difference, results, name, reference)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_dice(axes: Any, results: Sequence[RowResult], name: str) -> None:
    """Seeds as rings, their mean as a bar, the paper's mean and spread over cases as a diamond."""
    for position, result in enumerate(results):
        seeds = [scores["mean"][name]["dice"] for scores in result.scores.values()]
        seeds = [value for value in seeds if value is not None]
        if seeds:
            mean = summary(list(result.scores.values()), name, "dice").mean
            axes.plot(seeds, [position] * len(seeds), "o", mfc="none", color=_OURS, markersize=6)
            axes.plot([mean], [position], "|", color=_OURS, markersize=16, markeredgewidth=2)
        else:
            why = (result.status or "not run").partition(":")[0]
            axes.annotate(why, (0.01, position), xycoords=("axes fraction", "data"), color=_MUTED, va="center", size=8)
        if result.paper and "dice" in result.paper.mean:
            axes.plot([result.paper.mean["dice"]], [position], "D", color=_PAPER, markersize=5)
    axes.set_yticks(range(len(results)), [result.entry.label for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlabel(f"Dice, {name} (rings: seeds; bar: their mean; diamond: the paper)", size=8)
    axes.grid(axis="x", alpha=0.3)


def _draw_differences(axes: Any, results: Sequence[RowResult], name: str, reference: Mapping[int, Scores]) -> None:
    """Mean paired difference and its bootstrap interval."""
    for position, result in enumerate(results):
        if not result.scores or not reference or result.scores == reference:
            continue
        difference = paired_difference(result.scores, reference, name, "dice")
        if difference is not None:
            axes.plot([difference.low, difference.high], [position] * 2, color=_OURS)
            axes.plot([difference.mean], [position], "s", color=_OURS, markersize=4)
    axes.axvline(0, color=_MUTED, linewidth=1)
    axes.set_xlabel(f"Dice minus {REFERENCE}, paired (95 % bootstrap interval)", size=8)
    axes.grid(axis="x", alpha=0.3)
