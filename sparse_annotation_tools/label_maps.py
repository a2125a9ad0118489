"""Label maps on disk: which belong together, what their values mean, and whether two lie on one grid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import IGNORE

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
LARGEST_LABEL = 65535
LabelMap = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What label values mean: `classes` by name, or None for whatever values occur, and the value of `ignore`."""

    classes: Mapping[str, int] | None = None
    ignore: int | None = None

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Labels:
        """Give the values 1, 2, ... the names in this order."""
        return cls(classes={name: value for value, name in enumerate(names, start=1)})

    @classmethod
    def from_dataset_json(cls, path: Path) -> Labels:
        """Read the labels of an nnU-Net `dataset.json`.

        Raises:
            UserError: the file cannot be read, or a class is a region (a list of values).
        """
        try:
            labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["labels"]
            regions = [name for name, value in labels.items() if not isinstance(value, int)]
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
        raise UserError(f"{folder} is not a folder, expected one with label maps ({', '.join(ENDINGS)})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
        if ending is None or path.name.startswith("."):
            continue
        case = path.name.removesuffix(ending)
        if case in found:
            raise UserError(f"{folder} holds case {case} twice, {found[case].name} and {path.name}; remove one")
        found[case] = path
    if not found:
        raise UserError(f"{folder} holds no label map, expected files that end in {', '.join(ENDINGS)}")
    return found


def check_same_grid(pair: Pair) -> None:
    """Compare the headers of both files.

    Raises:
        UserError: the sizes differ, or a corner of one volume lies more than half a voxel from the other's.
    """
    truth, prediction = _header(pair.truth), _header(pair.prediction)
    advice = "predict on the image that the truth was drawn on"
    if truth.GetSize() != prediction.GetSize():
        raise UserError(
            f"{pair.prediction} has size {prediction.GetSize()}, expected {truth.GetSize()} as {pair.truth}; {advice}"
        )
    gap_mm = float(np.linalg.norm(_corners(truth) - _corners(prediction), axis=1).max())
    if gap_mm <= 0.5 * min(truth.GetSpacing()):
        return
    differing = []
    for what in ("spacing", "origin", "direction"):
        found, expected = (getattr(header, f"Get{what.title()}")() for header in (prediction, truth))
        if not np.allclose(found, expected, atol=1e-4):
            differing.append(f"{what} {_rounded(found)}, expected {_rounded(expected)}")
    raise UserError(f"{pair.prediction} lies {gap_mm:.3g} mm off {pair.truth}: {'; '.join(differing)}; {advice}")


def read_label_map(
    path: Path, labels: Labels, *, may_ignore: bool = False
) -> tuple[LabelMap, frozenset[int], tuple[float, ...]]:
    """Read a label map; return it [X, Y, Z], the foreground values that occur, and its spacing in mm by array axis.

    Args:
        path: the file.
        labels: the values that may occur.
        may_ignore: whether the value of `ignore` may occur.

    Raises:
        UserError: the file cannot be read, or holds values that are not whole numbers or not known labels.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    array = sitk.GetArrayFromImage(image)
    if not np.issubdtype(array.dtype, np.integer):
        if not np.array_equal(array, np.rint(array)):
            raise UserError(f"{path} holds values that are not whole numbers, expected a label map")
        array = np.clip(array, -1, LARGEST_LABEL + 1).astype(np.int32)
    if array.min() < 0 or array.max() > LARGEST_LABEL:
        raise UserError(f"{path} holds values below 0 or above {LARGEST_LABEL}, expected a label map")
    occurring = foreground_values(array)
    if labels.classes is not None:
        unknown = occurring - set(labels.classes.values()) - ({labels.ignore} if may_ignore else set())
        if unknown:
            known = ", ".join(f"{value} ({name})" for name, value in labels.classes.items())
            raise UserError(
                f"{path} holds label {min(unknown)}, expected 0 (background), {known}; "
                "correct the file or name every value 1, 2, ... by --labels NAME [NAME ...]"
            )
    return array, occurring, image.GetSpacing()[::-1]


def foreground_values(label_map: LabelMap) -> frozenset[int]:
    """Return the positive values that occur."""
    counts = np.bincount(label_map.ravel())
    return frozenset(int(value) for value in np.flatnonzero(counts) if value > 0)


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    return reader


def _unreadable(path: Path, error: RuntimeError) -> UserError:
    reason = str(error).strip().splitlines()[-1].strip()  # ITK's report ends with what went wrong
    return UserError(f"{path} cannot be read as an image ({reason}); write it again")


def _corners(image: sitk.ImageFileReader) -> NDArray[np.float64]:
    """Physical positions [2**dimension, dimension] (mm) of the corner voxels."""
    dimension = image.GetDimension()
    axes_mm = np.reshape(image.GetDirection(), (dimension, dimension)) * np.array(image.GetSpacing())
    indices = np.array(list(np.ndindex((2,) * dimension))) * (np.array(image.GetSize()) - 1)
    corners: NDArray[np.float64] = np.array(image.GetOrigin()) + indices @ axes_mm.T
    return corners


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
