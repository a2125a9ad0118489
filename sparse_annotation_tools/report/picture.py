"""The picture: annotated planes -> propagated labels -> prediction against truth, one row per case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.evaluation.metrics import overlap_metrics
from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.report.case_volumes import CaseVolumes, RawDataset
from sparse_annotation_tools.report.cuts import box_of_labels, plane_between
from sparse_annotation_tools.report.palette import class_colour, new_figure
from sparse_annotation_tools.report.upright_cut import cut, largest_slice

Array = NDArray[Any]
Classes = Mapping[str, int]

_VIEW_OF_AXIS = ("axial", "coronal", "sagittal")  # on the upright grid
_MAX_PLANES = 3  # annotated planes shown per case
_PANEL_INCH = 1.9
_TRUTH_COLOUR = "white"


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One small picture: a cut through the image with labels on it. Arrays are [row, column], row 0 on top."""

    title: str
    image: Array
    aspect: float
    filled: Array | None = None
    outlined: Array | None = None
    truth: Array | None = None


def case_picture(case: CaseVolumes, classes: Classes, path: Path | str) -> None:
    """Write the PNG of one case: its planes and propagated labels, and its prediction, as far as it has them.

    Args:
        case: the volumes.
        classes: foreground class names and values.
        path: file to write.

    Raises:
        UserError: the case has neither annotated planes nor a prediction.
    """
    _write(_rows([case], classes), classes, path)


def dataset_picture(
    dataset: Path | str,
    path: Path | str,
    *,
    predictions: Path | str | None = None,
    truth: Path | str | None = None,
    labelled: int = 2,
    predicted: int = 3,
) -> None:
    """Write the PNG of a dataset: labelled cases first, then predicted ones.

    Of the predicted cases the worst, the middle and the best are shown, by the mean Dice of their classes. What made
    the embeddings behind the predictions stands above them.

    Args:
        dataset: raw dataset folder.
        path: file to write.
        predictions: folder of predicted labels.
        truth: folder of dense labels, training cases' too where they exist; test cases default to labelsTs.
        labelled: how many labelled cases to show.
        predicted: how many predicted cases to show.

    Raises:
        UserError: the dataset cannot be read, or there is nothing to show.
    """
    raw = RawDataset(Path(dataset))
    truth = None if truth is None else Path(truth)
    cases = [raw.read(name, truth=truth) for name in raw.cases.labelled[:labelled]]
    if predictions is not None:
        folder = Path(predictions)
        names = sorted(file.name.removesuffix(raw.ending) for file in folder.glob(f"*{raw.ending}"))
        if not names:
            raise UserError(f"{folder} holds no predicted *{raw.ending}; run nnUNetv2_predict -o {folder} first")
        dice = {name: _mean_dice(raw.read(name, predictions=folder, truth=truth), raw.classes) for name in names}
        shown = _spread(sorted(names, key=dice.__getitem__), predicted)
        cases += [raw.read(name, predictions=folder, truth=truth) for name in shown]
    embeddings = None if predictions is None else embeddings_behind(Path(predictions))
    _write(_rows(cases, raw.classes), raw.classes, path, heading=embeddings and f"embeddings: {embeddings}")


# --- what to show -------------------------------------------------------------------------------------------------


def _rows(cases: Iterable[CaseVolumes], classes: Classes) -> list[tuple[str, list[_Panel]]]:
    rows = []
    for case in cases:
        if case.planes:
            seen_on = _VIEW_OF_AXIS[plane_between(case)[0]]
            rows.append(
                (f"{case.name}\ndrawn, then propagated\n(seen on another {seen_on})", _labelled_panels(case, classes))
            )
        if case.prediction is not None:
            scores = "".join(f"\n{name} {score}" for name, score in _scores(case.prediction, case.truth, classes))
            rows.append((f"{case.name}\npredicted{scores}", _predicted_panels(case)))
    if not rows:
        raise UserError("nothing to show: no case has annotated planes or a prediction; give a folder of predictions")
    return rows


def _labelled_panels(case: CaseVolumes, classes: Classes) -> list[_Panel]:
    """The annotated planes, then each propagated label and the fused one on one plane that nobody annotated."""
    planes = case.planes[:_MAX_PLANES]
    panels = [_panel(case, plane.axis, plane.index, f"drawn: {plane.view}", filled=case.annotation) for plane in planes]
    carried = [
        (f"from {plane.view}", label) for plane, label in zip(planes, case.propagated[:_MAX_PLANES], strict=True)
    ]
    if case.fused is not None:
        carried.append(("from all", case.fused))
    axis, index = plane_between(case)
    for title, label in carried:
        score = "".join(f", {value}" for _, value in _scores(label, case.truth, classes))
        panels.append(_panel(case, axis, index, f"{title}{score}", filled=label, truth=case.truth))
    return panels


def _predicted_panels(case: CaseVolumes) -> list[_Panel]:
    """The image alone and with outlines, in each view where the organ is largest."""
    shown = case.prediction if case.truth is None or not case.truth.any() else case.truth
    assert shown is not None  # the caller has a prediction
    panels = []
    for axis in (2, 1, 0):
        index = largest_slice(shown > 0, axis)
        title = _VIEW_OF_AXIS[axis]
        panels.append(_panel(case, axis, index, title))
        panels.append(_panel(case, axis, index, title, outlined=case.prediction, truth=case.truth))
    return panels


def _spread(names: Sequence[str], count: int) -> list[str]:
    """Pick `count` of sorted cases, evenly from the first to the last."""
    positions = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[position] for position in positions]


def _scores(label: Array, truth: Array | None, classes: Classes) -> list[tuple[str, str]]:
    """Class name and Dice as text, where there is a truth."""
    if truth is None:
        return []
    return [(name, f"{overlap_metrics(label == value, truth == value)['dice']:.2f}") for name, value in classes.items()]


def _mean_dice(case: CaseVolumes, classes: Classes) -> float:
    if case.truth is None or case.prediction is None:
        return 0.0
    values = [overlap_metrics(case.prediction == k, case.truth == k)["dice"] for k in classes.values()]
    return float(np.nanmean(values)) if not np.all(np.isnan(values)) else 0.0


# --- cutting ------------------------------------------------------------------------------------------------------


def _panel(
    case: CaseVolumes,
    axis: int,
    index: int,
    title: str,
    *,
    filled: Array | None = None,
    outlined: Array | None = None,
    truth: Array | None = None,
) -> _Panel:
    box = box_of_labels(case)
    low, high = np.percentile(case.image, (0.5, 99.5))
    image = np.clip((case.image - low) / max(float(high - low), 1e-6), 0, 1)
    row_mm, column_mm = (step for other, step in enumerate(case.spacing_mm) if other != axis)
    cuts = [None if volume is None else cut(volume, (axis, index), box) for volume in (filled, outlined, truth)]
    return _Panel(
        title=title,
        image=cut(image, (axis, index), box),
        aspect=row_mm / column_mm,
        filled=cuts[0],
        outlined=cuts[1],
        truth=cuts[2],
    )


# --- drawing ------------------------------------------------------------------------------------------------------


def _write(
    rows: list[tuple[str, list[_Panel]]], classes: Classes, path: Path | str, heading: str | None = None
) -> None:
    columns = max(len(panels) for _, panels in rows)
    figure = new_figure(_PANEL_INCH * columns + 1.2, (_PANEL_INCH + 0.25) * len(rows) + 0.5)
    grid = figure.add_gridspec(len(rows), columns)
    for row, (name, panels) in enumerate(rows):
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(grid[row, column])
            _draw(axes, panel)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
    if heading:
        figure.suptitle(heading, fontsize=8)
    figure.legend(handles=_legend(rows, classes), loc="outside lower center", ncols=6, fontsize=9, facecolor="#BBBBBB")
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw(axes: Any, panel: _Panel) -> None:
    axes.imshow(panel.image, cmap="gray", vmin=0, vmax=1, aspect=panel.aspect, interpolation="nearest")
    axes.set_title(panel.title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    if panel.truth is not None:  # wide and below, so that a thin prediction on top hides nothing of it
        _outline(axes, panel.truth, width=3.0, colour=_TRUTH_COLOUR)
    if panel.filled is not None:
        _fill(axes, panel.filled)
        _outline(axes, panel.filled, width=1.3)
    if panel.outlined is not None:
        _outline(axes, panel.outlined, width=1.3)


def _fill(axes: Any, label: Array) -> None:
    from matplotlib.colors import to_rgb

    layer = np.zeros((*label.shape, 4))
    for value in _values(label):
        layer[label == value] = (*to_rgb(class_colour(value)), 0.35)
    axes.imshow(layer, aspect=axes.get_aspect(), interpolation="nearest")


def _outline(axes: Any, label: Array, *, width: float, colour: str | None = None) -> None:
    rows, columns = (np.arange(-1, side + 1) for side in label.shape)
    for value in _values(label):
        mask = np.pad(label == value, 1).astype(float)  # so that outlines close at the edge
        axes.contour(
            columns,
            rows,
            mask,
            levels=[0.5],
            colors=[colour or class_colour(value)],
            linewidths=width,
        )
    axes.set_xlim(-0.5, label.shape[1] - 0.5)
    axes.set_ylim(label.shape[0] - 0.5, -0.5)


def _values(label: Array) -> list[int]:
    return [int(value) for value in np.unique(label) if value > 0]


def _legend(rows: list[tuple[str, list[_Panel]]], classes: Classes) -> list[Any]:
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    panels = [panel for _, row in rows for panel in row]
    handles: list[Any] = []
    for name, value in classes.items():
        colour = class_colour(value)
        if any(panel.filled is not None for panel in panels):
            pale = to_rgba(colour, 0.5)
            handles.append(Patch(facecolor=pale, edgecolor=colour, label=f"{name}: drawn or propagated"))
        if any(panel.outlined is not None for panel in panels):
            handles.append(Line2D([], [], color=colour, linewidth=1.3, label=f"{name}: predicted"))
    if any(panel.truth is not None for panel in panels):
        handles.append(Line2D([], [], color=_TRUTH_COLOUR, linewidth=3.0, label="truth; numbers are Dice"))
    return handles
