"""Cut the annotated slices out of a raw dataset: image, label, pixel size and the grey range of the whole volume."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.templates import modality_family
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile

PERCENTILES = (0.5, 99.5)
"""Grey range of a volume that is not CT."""


@dataclass(frozen=True, kw_only=True)
class LabelledPlane:
    """One annotated slice of one case, as nnU-Net's reader orients it.

    Attributes:
        case: case identifier.
        key: `axial`, `axial.1`, ...: the view and, from the second-largest slice of that view on, its position.
        image: [H, W] float32, raw intensities.
        label: [H, W] integer, 0 where the annotator saw background.
        pixel_mm: size of a pixel along H and W.
        grey_range: intensities that map to black and white, one pair for the whole volume.
    """

    case: str
    key: str
    image: NDArray[np.float32]
    label: NDArray[np.int16]
    pixel_mm: tuple[float, float]
    grey_range: tuple[float, float]

    def mask(self, value: int) -> NDArray[np.bool_]:
        """[H, W]; where the slice shows the class of this label value."""
        return np.equal(self.label, value)


def labelled_planes(folder: Path, cases_file: CasesFile, options: EmbeddingOptions) -> Iterator[LabelledPlane]:
    """Yield every annotated slice of every labelled case, case by case, largest slice of each view first.

    Only annotated slices of labelled cases are cut: masks of unlabelled and test volumes are never read.

    Raises:
        UserError: dataset.json or a volume is missing or unreadable, a volume does not fit cases.json, or the channel
            to encode does not exist.
    """
    dataset_json = _read_dataset_json(folder)
    reader, files = _reader_and_files(folder, dataset_json)
    for name in cases_file.labelled:
        if name not in files:
            raise UserError(f"case {name} of rada/cases.json is not in {folder}; make the dataset again")
        image_files, label_file = files[name]
        if not 0 <= options.encoder_channel < len(image_files):
            raise UserError(
                f"--encoder-channel is {options.encoder_channel}, but {name} has channels 0 to {len(image_files) - 1}"
            )
        image, spacing = _read(reader.read_images, (image_files[options.encoder_channel],))
        label, _ = _read(reader.read_seg, label_file)
        case = cases_file.cases[name]
        for volume, what in ((image, image_files[options.encoder_channel]), (label, label_file)):
            if volume.shape != case.shape:
                raise UserError(
                    f"{what} has shape {list(volume.shape)}, but rada/cases.json says {list(case.shape)}; "
                    f"make the dataset again with rada-make-sparse-dataset"
                )
        grey = grey_range(image, cases_file.modality, options.ct_window)
        for key, where in slice_keys(case):
            pixel_mm = [step for axis, step in enumerate(spacing) if axis != where.axis]
            yield LabelledPlane(
                case=name,
                key=key,
                image=np.take(image, where.index, axis=where.axis).astype(np.float32),
                label=np.take(label, where.index, axis=where.axis).astype(np.int16),
                pixel_mm=(pixel_mm[0], pixel_mm[1]),
                grey_range=grey,
            )


def slice_keys(case: Case) -> list[tuple[str, AnnotatedSlice]]:
    """Return (key, slice) pairs: `axial` for the largest slice of a view, `axial.1`, `axial.2` for the next ones."""
    ordered = sorted(case.slices, key=lambda where: (-where.area, where.axis, where.index))
    count: dict[str, int] = {}
    keys = []
    for where in ordered:
        position = count.get(where.view, 0)
        count[where.view] = position + 1
        keys.append((f"{where.view}.{position}" if position else where.view, where))
    return keys


def grey_range(volume: NDArray[np.floating[Any]], modality: str, ct_window: tuple[float, float]) -> tuple[float, float]:
    """Return the intensities that map to black and white: the CT window, or percentiles of the whole volume."""
    if modality_family(modality) == "CT":
        width, level = ct_window
        return level - width / 2, level + width / 2
    low, high = np.percentile(volume, PERCENTILES)
    return float(low), float(high)


def foreground_classes(cases_file: CasesFile) -> dict[str, int]:
    """Return class names and label values without background and ignore, in the order of the values."""
    named = {name: value for name, value in cases_file.classes.items() if value != 0 and name != "ignore"}
    return dict(sorted(named.items(), key=lambda item: item[1]))


def _read_dataset_json(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found; give the id of a dataset made with rada-make-sparse-dataset") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); make the dataset again") from None
    return content


def _reader_and_files(folder: Path, dataset_json: dict[str, Any]) -> tuple[Any, dict[str, tuple[list[str], str]]]:
    """nnU-Net's own reader for this dataset, and case -> (image files by channel, label file)."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    files = {
        name: (entry["images"], entry["label"])
        for name, entry in get_filenames_of_train_images_and_targets(str(folder), dataset_json).items()
    }
    example = next(iter(files.values()))[0][0] if files else None
    with contextlib.redirect_stdout(io.StringIO()):
        reader = determine_reader_writer_from_dataset_json(dataset_json, example, verbose=False)()
    return reader, files


def _read(read: Any, source: Any) -> tuple[NDArray[Any], list[float]]:
    """Return the volume without its channel axis and its spacing in array order, in mm."""
    name = source[0] if isinstance(source, tuple) else source
    try:
        volume, properties = read(source)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{name} cannot be read ({error}); mend the file or make the dataset again") from None
    return volume[0], [float(step) for step in properties["spacing"]]
