"""How probable it is that a predicted label is wrong, from whatever the predictions say about themselves.

Three sources, one scale, 0 to 1 in every voxel: networks' probabilities (1 - the largest one), several predictions of
the same scan (the share that disagrees with the majority), and the confidence of `rada/confidence`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.files.volumes import Geometry, read_label_of_scan
from sparse_annotation_tools.schema import RadaFolder

# Surer than this counts as sure: a little doubt in each voxel of a large background would outweigh the organ.
_SURE = 0.99
_FULL = 255  # of a confidence map
_REMEDY = "predict this very scan"

Volume = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is predicted for one scan, and how sure that is.

    Attributes:
        label: [z, y, x] predicted class.
        wrong: [z, y, x] probability that it is wrong; 0 where that is less than 1 %.
    """

    label: NDArray[np.integer[Any]]
    wrong: Volume


def rada_folder_of(path: Path) -> RadaFolder | None:
    """Return the `rada/` folder that `path` is, or holds; None for a folder of predictions."""
    for root in (path, path / "rada"):
        if RadaFolder(root=root).cases_file.is_file():
            return RadaFolder(root=root)
    return None


def predicted_cases(folders: Sequence[Path]) -> list[str]:
    """Return the cases for which every folder says how sure its prediction is, sorted.

    Args:
        folders: one `rada/` folder (or its dataset), or one or several folders of predictions. A single folder needs
            probabilities: {case}.npz, as nnUNetv2_predict --save_probabilities writes them.

    Raises:
        UserError: a folder is missing or empty, or a single one holds label maps alone.
    """
    rada = rada_folder_of(folders[0])
    if rada is not None:
        if len(folders) > 1:
            raise UserError(f"--predictions {folders[0]} is a dataset; give it alone, or folders of predictions only")
        return sorted(find_label_maps(rada.confidence("").parent))
    found = [set(find_label_maps(folder)) for folder in folders]
    if len(folders) == 1:
        with_probabilities = {case for case in found[0] if (folders[0] / f"{case}.npz").is_file()}
        if not with_probabilities:
            raise UserError(
                f"--predictions {folders[0]} holds label maps alone, which do not say how sure they are; predict with "
                "nnUNetv2_predict --save_probabilities, or give several folders, one a network"
            )
        return sorted(with_probabilities)
    return sorted(set.intersection(*found))


def source_files(case: str, folders: Sequence[Path]) -> list[Path]:
    """Return the files that `read_prediction` reads for a case."""
    rada = rada_folder_of(folders[0])
    if rada is not None:
        return [rada.fused(case), rada.confidence(case)]
    files = [path for folder in folders for path in (find_label_maps(folder)[case], folder / f"{case}.npz")]
    return [path for path in files if path.is_file()]


def read_prediction(case: str, folders: Sequence[Path], geometry: Geometry) -> Prediction:
    """Read one case from `folders`, see `predicted_cases`.

    Of several folders the mean of the probabilities counts, and a label map without probabilities is taken at its
    word: three label maps that agree say 0, two against one say 1/3.

    Args:
        case: identifier.
        folders: where to read.
        geometry: grid of the scan.

    Raises:
        UserError: a file is missing, unreadable or on another grid, or probabilities do not fit their label map.
    """
    rada = rada_folder_of(folders[0])
    if rada is not None:
        label = read_label_of_scan(rada.fused(case), geometry, _REMEDY)
        confidence = read_label_of_scan(rada.confidence(case), geometry, _REMEDY)
        return Prediction(label=label, wrong=doubt_of_confidence(confidence))
    total: dict[int, Volume] = {}
    for folder in folders:
        for value, probability in _probabilities(case, folder, geometry):
            total[value] = total[value] + probability if value in total else probability
    label = np.zeros(geometry.shape, np.int64)
    largest = np.zeros(geometry.shape, np.float32)
    for value, probability in sorted(total.items()):
        better = probability > largest
        label[better] = value
        largest[better] = probability[better]
    return Prediction(label=label, wrong=_doubt(largest / np.float32(len(folders))))


def doubt_of_confidence(confidence: NDArray[Any]) -> Volume:
    """Return the probability that a fused label is wrong from its confidence, 0 to 255."""
    return _doubt((confidence / _FULL).astype(np.float32))


def _doubt(sure: Volume) -> Volume:
    """Return 0 where nearly all is sure, else what is missing to 1."""
    return np.where(sure >= _SURE, np.float32(0), np.clip(1 - sure, 0, 1)).astype(np.float32)


def _probabilities(case: str, folder: Path, geometry: Geometry) -> Iterator[tuple[int, Volume]]:
    """Yield (class, its probability) of one folder's prediction."""
    label_file = find_label_maps(folder)[case]
    label = read_label_of_scan(label_file, geometry, _REMEDY)
    path = folder / f"{case}.npz"
    if not path.is_file():
        for value in np.unique(label):
            yield int(value), (label == value).astype(np.float32)
        return
    with _opened(path) as stored:
        probabilities = np.asarray(stored["probabilities"], np.float32)
    if probabilities.ndim != 4 or probabilities.shape[1:] != geometry.shape:
        raise UserError(
            f"{path} has probabilities of shape {probabilities.shape}, expected classes x {geometry.shape} as the "
            "scan; predict this very scan, of a dataset that is read by SimpleITKIO"
        )
    if not np.isfinite(probabilities).all():
        raise UserError(f"{path} holds probabilities that are NaN or infinite; predict again")
    _check_fits(probabilities, label, path, label_file)
    yield from enumerate(probabilities)


def _check_fits(probabilities: Volume, label: NDArray[Any], path: Path, label_file: Path) -> None:
    """Refuse probabilities that are stored along other axes than the label map: some readers turn the scan."""
    foreground = probabilities.argmax(axis=0) > 0
    both, either = foreground & (label > 0), foreground | (label > 0)
    if 2 * both.sum() < either.sum():
        raise UserError(
            f"{path} does not fit {label_file}: the two overlap by {both.sum() / either.sum():.0%}; predict again with "
            "--save_probabilities, from a dataset that is read by SimpleITKIO"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an .npz file; whatever is wrong with it is the user's to mend. Nothing in it is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read ({error}), expected 'probabilities' as nnUNetv2_predict --save_probabilities "
            "writes them; predict again"
        ) from None
