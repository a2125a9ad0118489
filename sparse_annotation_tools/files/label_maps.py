"""Label maps on disk: which belong together, what their values mean, and whether two lie on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.files.volumes import SUFFIXES, read_label, stem_of
from sparse_annotation_tools.schema import IGNORE

LARGEST_LABEL = 65535
LabelMap = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What label values mean: `classes` by name, or None for whatever values occur, and the value of `ignore`."""

    classes: Mapping[str, int] | None = None
    ignore: int | None = None

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Labels:
        """Give the values 1, 2, ... the names in this order.

        Raises:
            UserError: a name occurs twice.
        """
        twice = next((name for name in names if list(names).count(name) > 1), None)
        if twice is not None:
            raise UserError(f"--labels names {twice} twice, expected a name of its own for each value; rename one")
        return cls(classes={name: value for value, name in enumerate(names, start=1)})

    @classmethod
    def from_dataset_json(cls, path: Path) -> Labels:
        """Read the labels of an nnU-Net `dataset.json`.

        Raises:
            UserError: the file cannot be read, or a class is a region (a list of values).
        """
        try:
            labels: dict[str, Any] = load_json(path)["labels"]
            regions = [name for name, value in labels.items() if type(value) is not int]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} has no readable labels ({error!r}), expected an nnU-Net dataset.json; "
                "name the classes by --labels NAME [NAME ...]"
            ) from None
        if regions:
            raise UserError(
                f"{path} has region-based labels ({', '.join(regions)}), which are not supported; "
                "name the values 1, 2, ... by --labels NAME [NAME ...]"
            )
        twice = [name for name, value in labels.items() if list(labels.values()).count(value) > 1]
        if twice:
            raise UserError(f"{path} gives the labels {', '.join(twice)} one value; give each its own")
        classes = {name: value for name, value in labels.items() if value > 0 and name != IGNORE}
        return cls(classes=classes, ignore=labels.get(IGNORE))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two label maps of one case."""

    case: str
    truth: Path
    prediction: Path


def find_labels(truth_folder: Path, prediction_folder: Path) -> Labels:
    """Read the `dataset.json` in or above the truth's folder or beside the predictions; else no names are known."""
    for folder in (truth_folder, truth_folder.resolve().parent, prediction_folder):
        if (folder / "dataset.json").is_file():
            return Labels.from_dataset_json(folder / "dataset.json")
    return Labels()


def find_pairs(truth_folder: Path, prediction_folder: Path) -> tuple[list[Pair], list[str]]:
    """Match label maps by case identifier; return the pairs and the names of predictions without truth.

    Raises:
        UserError: a folder is missing or holds no label map, or a case has no prediction.
    """
    truths, predictions = find_label_maps(truth_folder), find_label_maps(prediction_folder)
    missing = [case for case in truths if case not in predictions]
    if missing:
        names = ", ".join(truths[case].name for case in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{prediction_folder} lacks {len(missing)} of {len(truths)} predictions: {names}; "
            f"predict them, or take their truth out of {truth_folder}"
        )
    pairs = [Pair(case=case, truth=path, prediction=predictions[case]) for case, path in truths.items()]
    return pairs, [path.name for case, path in predictions.items() if case not in truths]


def find_label_maps(folder: Path) -> dict[str, Path]:
    """Return the label maps of a folder by case identifier.

    Raises:
        UserError: the folder is missing, holds no label map, or a case twice.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, expected one with label maps ({', '.join(SUFFIXES)})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        case = stem_of(path)
        if case is None or path.name.startswith("."):
            continue
        if case in found:
            raise UserError(f"{folder} holds case {case} twice, {found[case].name} and {path.name}; remove one")
        found[case] = path
    if not found:
        raise UserError(f"{folder} holds no label map, expected files that end in {', '.join(SUFFIXES)}")
    return found


def read_pair(pair: Pair, labels: Labels) -> tuple[LabelMap, LabelMap, tuple[float, ...]]:
    """Read truth and prediction [Z, Y, X] and their spacing in mm by array axis.

    Raises:
        UserError: a file cannot be read or holds values that are no known labels, or the two lie on different grids.
            Only the truth may hold the value of `ignore`.
    """
    truth, prediction = read_label(pair.truth), read_label(pair.prediction)
    difference = prediction.geometry.difference(truth.geometry)
    if difference is not None:
        raise UserError(
            f"{pair.prediction} lies on another grid than {pair.truth}: {difference}; "
            "predict on the image that the truth was drawn on"
        )
    _check_values(truth.array, pair.truth, labels, allowed={labels.ignore})
    _check_values(prediction.array, pair.prediction, labels, allowed=set())
    return truth.array, prediction.array, truth.geometry.spacing_mm


def foreground_values(label_map: LabelMap) -> frozenset[int]:
    """Return the positive values that occur."""
    counts = np.bincount(label_map.ravel())
    return frozenset(int(value) for value in np.flatnonzero(counts) if value > 0)


def _check_values(label_map: LabelMap, path: Path, labels: Labels, *, allowed: set[int | None]) -> None:
    if label_map.min() < 0 or label_map.max() > LARGEST_LABEL:
        raise UserError(f"{path} holds values below 0 or above {LARGEST_LABEL}, expected a label map")
    if labels.classes is None:
        return
    unknown = foreground_values(label_map) - set(labels.classes.values()) - allowed
    if unknown:
        known = ", ".join(f"{value} ({name})" for name, value in labels.classes.items())
        raise UserError(
            f"{path} holds label {min(unknown)}, expected 0 (background), {known}; "
            "correct the file or name every value 1, 2, ... by --labels NAME [NAME ...]"
        )
