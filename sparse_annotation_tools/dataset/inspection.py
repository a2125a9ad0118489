"""Read and check one case before anything is written: grid, values, annotated slices."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_annotation_tools.dataset.fingerprint import CaseMeasure, measure_case
from sparse_annotation_tools.dataset.sources import CaseFiles
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_reading import LabelReading
from sparse_annotation_tools.files.slicer import read_segmentation
from sparse_annotation_tools.files.volumes import (
    SEGMENTATION_SUFFIX,
    Geometry,
    Volume,
    check_thickness,
    count_not_finite,
    read_label,
    read_volume,
    sha256_of_file,
)
from sparse_annotation_tools.schema import AnnotatedSlice, Case
from sparse_annotation_tools.slices.annotation import Annotation, LabelMap, read_annotation, simulate_annotation
from sparse_annotation_tools.slices.planes import axes_of_scan


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How label maps are to be read.

    Attributes:
        reading: how label files are read.
        views: for dense labels, the view of each slice to keep; None if the labels are real annotations.
        not_annotated: in real annotations, the value of voxels that nobody annotated.
        planes: (view, index) pairs per case, where the user lists the annotated planes.
    """

    reading: LabelReading
    views: tuple[str, ...] | None
    not_annotated: int
    planes: Mapping[str, Sequence[tuple[str, int]]] | None


@dataclass(frozen=True, kw_only=True)
class InspectedCase:
    """A checked training case: its record, its annotated slices, and what the fingerprint needs."""

    files: CaseFiles
    record: Case
    geometry: Geometry
    annotation: Annotation | None
    measure: CaseMeasure
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InspectedTestCase:
    """A checked test case: the hashes of its files by role."""

    hashes: dict[str, str]
    warnings: tuple[str, ...]


def inspect_training_case(files: CaseFiles, rules: LabelRules) -> InspectedCase:
    """Read and check one labelled or unlabelled case.

    Raises:
        UserError: a file is unreadable or unfit, the grids differ, or the annotation cannot be understood.
    """
    channels = _read_channels(files)
    geometry = channels[0].geometry
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        axes = axes_of_scan(files.images[0], geometry.direction)
    annotation = _read_annotation(files, files.label, rules, geometry, axes) if files.label else None
    hashes = _hashes(files)
    if annotation is not None:
        hashes["annotation"] = annotation.sha256()
    record = Case(
        labelled=annotation is not None,
        shape=geometry.shape,
        sagittal_axis=axes["sagittal"],
        slices=annotation.slices if annotation else (),
        networks=annotation.networks if annotation else {},
        sha256=hashes,
    )
    measure = measure_case(
        [channel.array for channel in channels], geometry.spacing_mm, annotation.volume() if annotation else None
    )
    messages = (
        *(f"{files.case}: {each.message}" for each in caught),
        *_not_finite(files),
        *_unpainted(files.case, record.slices),
    )
    return InspectedCase(
        files=files, record=record, geometry=geometry, annotation=annotation, measure=measure, warnings=messages
    )


def _unpainted(case: str, slices: Sequence[AnnotatedSlice]) -> list[str]:
    """Say which annotated slices show nothing: it may be so, or somebody has not come round to painting them."""
    empty = ", ".join(f"{annotated.view} {annotated.index}" for annotated in slices if not annotated.area)
    if not empty:
        return []
    return [f"{case}: nothing is painted on {empty}: background everywhere; if nobody looked there, do not list it"]


def _not_finite(files: CaseFiles) -> list[str]:
    bad = sum(count_not_finite(path) for path in files.images)
    if not bad:
        return []
    return [
        f"{files.case}: the scan holds {bad} voxels that are NaN or infinite, which nnU-Net reads as 0; "
        "replace them by a finite value"
    ]


def inspect_test_case(files: CaseFiles, reading: LabelReading) -> InspectedTestCase:
    """Read and check one test case, whose label is dense.

    Raises:
        UserError: a file is unreadable or unfit, or the grids differ.
    """
    channels = _read_channels(files)
    hashes = _hashes(files)
    if files.label is not None:
        read_label_on(files.label, channels[0].geometry, files.images[0], reading)
        hashes["label"] = sha256_of_file(files.label)
    return InspectedTestCase(hashes=hashes, warnings=tuple(_not_finite(files)))


def _read_channels(files: CaseFiles) -> list[Volume]:
    channels = [read_volume(path) for path in files.images]
    for path, channel in zip(files.images, channels, strict=True):
        difference = channels[0].geometry.difference(channel.geometry)
        if difference:
            raise UserError(f"{files.images[0]} and {path} are on different grids: {difference}; resample one")
        check_thickness(path, channel.geometry)
        if channel.array.min() == channel.array.max():
            raise UserError(f"{path} has the same value in every voxel, expected a scan; replace or remove it")
    return channels


def _read_annotation(
    files: CaseFiles, path: Path, rules: LabelRules, geometry: Geometry, axes: Mapping[str, int]
) -> Annotation:
    if rules.views is None:
        label = read_label_on(path, geometry, files.images[0], rules.reading, not_annotated=rules.not_annotated)
        planes = None if rules.planes is None else rules.planes.get(files.case, [])
        return read_annotation(label, axes, not_annotated=rules.not_annotated, planes=planes, name=str(path))
    label = read_label_on(path, geometry, files.images[0], rules.reading)
    try:
        return simulate_annotation(label, axes, rules.views)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_label_on(
    path: Path, geometry: Geometry, image: Path, reading: LabelReading, *, not_annotated: int | None = None
) -> LabelMap:
    """Read a label map, or a Slicer segmentation, on the grid of its image, with the classes' values.

    Raises:
        UserError: the file is unfit, on another grid, or holds a value that has no meaning.
    """
    if path.name.endswith(SEGMENTATION_SUFFIX):
        # A merge speaks of values, so with one the segments' names do not count.
        label: LabelMap = read_segmentation(path, geometry, {} if reading.merge else reading.classes)
        return reading.to_classes(label, path, not_annotated=not_annotated)
    volume = read_label(path)
    difference = geometry.difference(volume.geometry)
    same_size = geometry.size == volume.geometry.size
    if difference and not (reading.by_voxel and same_size):
        raise UserError(
            f"{path} is not on the grid of {image}: {difference}; export the label map with the image as its reference"
            + (", or give --labels-by-voxel if its voxels are the image's all the same" if same_size else "")
        )
    return reading.to_classes(volume.array, path, not_annotated=not_annotated)


def _hashes(files: CaseFiles) -> dict[str, str]:
    return {f"image_{channel:04d}": sha256_of_file(path) for channel, path in enumerate(files.images)}
