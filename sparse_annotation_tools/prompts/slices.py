"""Cut the annotated slices out of a raw dataset: image, label, pixel size and the grey range of the whole volume."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.files.truncation import check_not_truncated
from sparse_annotation_tools.files.volumes import check_is_file
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.templates import modality_family
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile
from sparse_annotation_tools.schema_check import file_ending

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
    reader, ending = _reader_and_ending(folder, _read_dataset_json(folder), cases_file)
    for name in cases_file.labelled:
        case = cases_file.cases[name]
        image_file = folder / "imagesTr" / f"{name}_{options.encoder_channel:04d}{ending}"
        label_file = folder / "labelsTr" / f"{name}{ending}"
        if not image_file.is_file():
            raise UserError(
                f"{image_file} not found; check --encoder-channel {options.encoder_channel}, or make the dataset again"
            )
        image, spacing = _read(reader.read_images, (str(image_file),), image_file, case.shape)
        label, _ = _read(reader.read_seg, str(label_file), label_file, case.shape)
        if not np.isfinite(image).all():
            raise UserError(f"{image_file} holds NaN or infinite intensities; mend the image")
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


def preprocessing_record(cases_file: CasesFile, options: EmbeddingOptions) -> str:
    """Return in words what happens to a slice before it is encoded, for the metadata."""
    width, level = options.ct_window
    percentiles = f"percentiles {PERCENTILES[0]:g}-{PERCENTILES[1]:g} of the volume"
    ct = modality_family(cases_file.modality) == "CT"
    grey = f"CT window W{width:g} L{level:g}" if ct else percentiles
    return (
        f"channel {options.encoder_channel}; grey range {grey}; square pixels, padded to a square, image and mask alike"
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
        content: dict[str, Any] = load_json(path)
    except FileNotFoundError:
        raise UserError(f"{path} not found; give the id of a dataset made with rada-make-sparse-dataset") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); make the dataset again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; make the dataset again")
    return content


def _reader_and_ending(folder: Path, dataset_json: dict[str, Any], cases_file: CasesFile) -> tuple[Any, str]:
    """nnU-Net's own reader for this dataset, and the ending of its files."""
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    try:
        ending = file_ending(dataset_json)
    except ValueError as error:
        raise UserError(
            f"{folder / 'dataset.json'}: {error}, expected such as .nii.gz; make the dataset again"
        ) from None
    example = str(folder / "labelsTr" / f"{cases_file.labelled[0]}{ending}")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # prints tracebacks
            reader = determine_reader_writer_from_dataset_json(dataset_json, example, verbose=False)()
    except RuntimeError:
        raise UserError(f"{example} cannot be read by any of nnU-Net's readers; make the dataset again") from None
    return reader, ending


def _read(read: Any, source: Any, path: Path, shape: tuple[int, int, int]) -> tuple[NDArray[Any], list[float]]:
    """Return the volume without its channel axis and its spacing in array order, in mm."""
    check_is_file(path)
    check_not_truncated(path)
    try:
        volume, properties = read(source)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); mend the file or make the dataset again") from None
    if volume[0].shape != shape:
        raise UserError(
            f"{path} has shape {list(volume[0].shape)}, but rada/cases.json says {list(shape)}; "
            f"make the dataset again with rada-make-sparse-dataset"
        )
    return volume[0], [float(step) for step in properties["spacing"]]
