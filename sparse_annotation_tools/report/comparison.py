"""The picture of several methods side by side: one slice of each scan, with Dice (the paper's Fig. 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.evaluation.metrics import overlap_metrics
from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.files.label_maps import LabelMap, Labels, find_label_maps, foreground_values
from sparse_annotation_tools.files.volumes import SUFFIXES, Volume, read_label_of_scan, read_volume, stem_of
from sparse_annotation_tools.report.palette import class_colour, new_figure
from sparse_annotation_tools.report.upright_cut import (
    TRUTH_COLOUR,
    Box,
    box_around,
    cut,
    grey,
    height_to_width,
    largest_slice,
    outline,
    show_grey,
)
from sparse_annotation_tools.slices.planes import Plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright

Array = NDArray[Any]

_CHANNEL = "_0000"
_ROWS = 3  # scans shown unless they are named
_PANEL_INCH = 2.0
_TRUTH_WIDTH, _WIDTH = 2.6, 1.2  # the truth lies below and is wider, so that a prediction on it hides nothing


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """What to show.

    Attributes:
        images: folder of scans.
        truth: folder of dense label maps.
        predictions: folder by the name of the method.
        labels: the classes.
        cases: scans to show, in this order; empty for the worst, the middle and the best, by the Dice of all methods.
        view: of the slice; None for the one in which the truth is largest.
        index: of the slice in the file, from 0; None for the slice of the view that shows most of the truth.
    """

    images: Path
    truth: Path
    predictions: Mapping[str, Path]
    labels: Labels
    cases: tuple[str, ...] = ()
    view: str | None = None
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One scan, everything upright."""

    case: str
    slice_name: str
    plane: Plane
    box: Box
    spacing_mm: tuple[float, float, float]
    image: Array
    truth: Array
    predictions: Mapping[str, Array]
    dice: Mapping[str, Mapping[str, float]]

    @property
    def proportion(self) -> float:
        """Height to width of its panels."""
        return height_to_width(self.plane, self.box, self.spacing_mm, self.truth.shape)


def comparison_figure(request: ComparisonRequest, path: Path) -> list[str]:
    """Write the figure, as PNG, PDF or SVG by the ending of `path`.

    Returns:
        One line for each row: case, view and index of its slice.

    Raises:
        UserError: a folder lacks a case or has none in common with the others, a file lies on another grid, a class is
            unknown, or the slice is outside the scan.
    """
    cases = request.cases or _spread(request)
    rows = [_read_row(request, case) for case in cases]
    _draw(request, rows, path)
    return [f"{row.case}: {row.slice_name}" for row in rows]


# --- reading --------------------------------------------------------------------------------------------------------


def _spread(request: ComparisonRequest) -> tuple[str, ...]:
    """The worst, the middle and the best scan by the mean Dice of all methods: no method's choice."""
    truths = find_label_maps(request.truth)
    folders = [find_label_maps(folder) for folder in request.predictions.values()]
    common = [case for case in truths if all(case in found for found in folders)]
    if not common:
        raise UserError(
            f"no case of {request.truth} is predicted in all of {', '.join(map(str, request.predictions.values()))}; "
            "check the names of the files"
        )
    if len(common) <= _ROWS:
        return tuple(common)
    means = {}
    for case in common:
        truth, predictions = _read_labels(request, case, read_volume(truths[case]))
        scores = [value for label in predictions.values() for value in _dice(label, truth, request.labels).values()]
        means[case] = float(np.nanmean(scores)) if not np.isnan(scores).all() else 0.0
    ranked = sorted(common, key=means.__getitem__)
    return tuple(ranked[position] for position in np.linspace(0, len(ranked) - 1, _ROWS).round().astype(int))


def _read_row(request: ComparisonRequest, case: str) -> _Row:
    image = read_volume(_image_file(request.images, case))
    truth, predictions = _read_labels(request, case, image)
    upright = Upright.of(image.geometry.direction, image.geometry.shape)
    spacing_mm = upright.triple(image.geometry.spacing_mm)
    true = upright.array(truth)
    plane, index = _slice(request, case, upright, true)
    predicted = {name: upright.array(label) for name, label in predictions.items()}
    return _Row(
        case=case,
        slice_name=f"{VIEW_OF_AXIS[plane[0]]} {index}",
        plane=plane,
        box=box_around([true > 0, *(label > 0 for label in predicted.values())], spacing_mm),
        spacing_mm=spacing_mm,
        image=grey(upright.array(image.array)),
        truth=true,
        predictions=predicted,
        dice={name: _dice(label, truth, request.labels) for name, label in predictions.items()},
    )


def _read_labels(request: ComparisonRequest, case: str, image: Volume) -> tuple[LabelMap, dict[str, LabelMap]]:
    def read(folder: Path, option: str) -> LabelMap:
        found = find_label_maps(folder)
        if case not in found:
            raise UserError(f"{folder} holds no case {case}, only {some(list(found))}; check --cases and {option}")
        return read_label_of_scan(found[case], image.geometry, f"check {option}")

    predictions = {name: read(folder, "--predictions") for name, folder in request.predictions.items()}
    return read(request.truth, "-gt"), predictions


def _image_file(folder: Path, case: str) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"{case}{_CHANNEL}{suffix}"
        if path.is_file():
            return path
    scans = [stem_of(path) or "" for path in folder.glob(f"*{_CHANNEL}.*")] if folder.is_dir() else []
    there = some(sorted(stem.removesuffix(_CHANNEL) for stem in scans))
    others = f"only {there}" if there else "nor any other scan"
    raise UserError(f"{folder} holds no {case}{_CHANNEL} ({', '.join(SUFFIXES)}), {others}; check -i")


def _slice(request: ComparisonRequest, case: str, upright: Upright, truth: Array) -> tuple[Plane, int]:
    """The slice to show, upright, and its index in the file."""
    axes = [VIEW_OF_AXIS.index(request.view)] if request.view else range(3)
    if request.index is None:
        planes = [(axis, largest_slice(truth > 0, axis)) for axis in axes]
        plane = max(planes, key=lambda each: int((np.moveaxis(truth, each[0], 0)[each[1]] > 0).sum()))
        return plane, upright.plane_in_scan(plane)[1]
    axis = upright.order[axes[0]]
    if not 0 <= request.index < upright.shape[axis]:
        last = upright.shape[axis] - 1
        raise UserError(f"--index is {request.index}, expected 0 to {last}, the {request.view} slices of {case}")
    return upright.plane((axis, request.index)), request.index


def _dice(label: LabelMap, truth: LabelMap, labels: Labels) -> dict[str, float]:
    """Dice of each class over the whole scan; without names, of each value of the truth."""
    classes = labels.classes
    if classes is None:
        classes = {str(value): value for value in sorted(foreground_values(truth) - {labels.ignore})}
    return {name: overlap_metrics(label == value, truth == value)["dice"] for name, value in classes.items()}


# --- drawing --------------------------------------------------------------------------------------------------------


def _draw(request: ComparisonRequest, rows: Sequence[_Row], path: Path) -> None:
    methods = list(request.predictions)
    heights = [row.proportion + 0.12 + 0.09 * max(map(len, row.dice.values())) for row in rows]
    figure = new_figure(_PANEL_INCH * (len(methods) + 1) + 0.5, _PANEL_INCH * sum(heights) + 0.8)
    panels = figure.subplots(len(rows), len(methods) + 1, squeeze=False, height_ratios=heights)
    for axes, name in zip(panels[0], ["truth", *methods], strict=True):
        stamp = embeddings_behind(request.predictions[name]) if name in request.predictions else None
        # Embeddings with an honesty stamp are marked wherever their results are shown; a column is narrow.
        axes.set_title(name + ("\n" + stamp.replace(": ", ":\n") if stamp and ": " in stamp else ""), fontsize=8)
    for row, line in zip(rows, panels, strict=True):
        line[0].set_ylabel(f"{row.case}\n{row.slice_name}", fontsize=8)
        for axes in line:
            show_grey(axes, row.image, row.plane, row.box, row.spacing_mm)
            _outlines(axes, cut(row.truth, row.plane, row.box), truth=True)
        for axes, name in zip(line[1:], methods, strict=True):
            _outlines(axes, cut(row.predictions[name], row.plane, row.box), truth=False)
            axes.set_xlabel(_scores(row.dice[name]), fontsize=8)
    handles = _legend(request.labels, rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, facecolor="#BBB")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=200)


def _outlines(axes: Any, label: Array, *, truth: bool) -> None:
    for value in (int(each) for each in np.unique(label) if each > 0):
        colour, width = (TRUTH_COLOUR, _TRUTH_WIDTH) if truth else (class_colour(value), _WIDTH)
        outline(axes, label == value, colour=colour, width=width)


def _scores(dice: Mapping[str, float]) -> str:
    """Dice beneath a panel: alone, or a line for each class."""
    texts = {name: "-" if np.isnan(value) else f"{value:.4f}" for name, value in dice.items()}
    return "\n".join(texts.values() if len(texts) == 1 else (f"{name} {text}" for name, text in texts.items()))


def _legend(labels: Labels, rows: Sequence[_Row]) -> list[Any]:
    from matplotlib.lines import Line2D

    classes = labels.classes or {name: int(name) for row in rows for dice in row.dice.values() for name in dice}
    handles = [Line2D([], [], color=TRUTH_COLOUR, linewidth=_TRUTH_WIDTH, label="truth")]
    handles += [
        Line2D([], [], color=class_colour(value), linewidth=_WIDTH, label=f"{name}: predicted")
        for name, value in classes.items()
    ]
    return [*handles, Line2D([], [], linestyle="none", label="numbers: Dice of the whole scan")]
