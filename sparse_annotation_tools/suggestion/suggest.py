"""Suggest slices for every scan of a folder: gather what is known of each, and write what comes out."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.dataset.sources import CaseFiles, unlabelled_cases
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import clear_leftovers
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.files.label_reading import check_label_names
from sparse_annotation_tools.files.volumes import (
    Geometry,
    Volume,
    check_is_file,
    check_thickness,
    read_label,
    read_volume,
    sha256_of_file,
)
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.schema import CasesFile, RadaFolder
from sparse_annotation_tools.slices.drawing import Drawing, read_dataset_drawing, read_drawing
from sparse_annotation_tools.slices.planes import Plane, axes_of_scan, read_planes_file
from sparse_annotation_tools.suggestion.centres import Point, index_of_point, read_centres_file
from sparse_annotation_tools.suggestion.doubt import predicted_cases, rada_folder_of, read_prediction, source_files
from sparse_annotation_tools.suggestion.files import Record, SuggestionFolder, list_slices
from sparse_annotation_tools.suggestion.reference import carry_label
from sparse_annotation_tools.suggestion.scan import KnownScan, picture_of, suggest


@dataclass(frozen=True, kw_only=True)
class SuggestionRequest:
    """What the user wants suggested.

    Attributes:
        images: folder of scans.
        output: folder to write to.
        labels: folder of label maps drawn so far, or dense ones.
        predictions: folders that say where predictions are doubtful, see `doubt.predicted_cases`.
        planes_file: CSV of the annotated planes.
        not_annotated: value of voxels that nobody annotated.
        label_names: names of the classes 1, 2, ..., which tell the segments of 3D Slicer's files apart.
        centres_file: CSV of a point in the organ of each scan.
        reference: image and dense label map of a scan that looks alike.
        slices: how many next slices to suggest in a scan.
        processes: how many run at once.
    """

    images: Path
    output: Path
    labels: Path | None = None
    predictions: tuple[Path, ...] = ()
    planes_file: Path | None = None
    not_annotated: int = 255
    label_names: tuple[str, ...] = ()
    centres_file: Path | None = None
    reference: tuple[Path, Path] | None = None
    slices: int = 1
    processes: int = 1

    @property
    def classes(self) -> dict[str, int] | None:
        """Value of each class by name, if they are named."""
        return {name: value for value, name in enumerate(self.label_names, start=1)} or None


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """The files of one scan, and what lists say of it.

    Attributes:
        files: image channels, and the label map drawn so far.
        listed: annotated planes, if the user lists them.
        centre_ras_mm: a point in the organ.
        dataset_planes: annotated planes, if a dataset of rada-make-sparse-dataset lists them.
    """

    files: CaseFiles
    listed: tuple[tuple[str, int], ...] | None = None
    centre_ras_mm: Point | None = None
    dataset_planes: tuple[Plane, ...] | None = None


def suggest_slices(request: SuggestionRequest) -> tuple[list[Record], list[str]]:
    """Suggest slices for every scan and write all files; go on where a killed run of the same request stopped.

    Returns:
        The records of the scans, and the names of scans left out because --labels or --predictions lacks them.

    Raises:
        UserError: an input is unfit, nothing is painted yet, or a label map in the output has been painted on.
    """
    _check(request)
    tasks, left_out = _collect(request)
    records = run_in_processes(
        suggest_one,
        [(request, task) for task in tasks],
        names=[task.files.case for task in tasks],
        processes=request.processes,
        description="suggesting slices",
    )
    if request.labels is not None and not request.predictions and not any(record.suggested for record in records):
        raise UserError(
            f"--labels {request.labels} shows nothing of the organ on any slice of {len(records)} scans, so there "
            "is no slice to suggest; paint the slices first"
        )
    folder = SuggestionFolder(root=request.output)
    folder.write_planes(records)
    clear_leftovers(folder.root)
    return records, left_out


def suggest_one(request: SuggestionRequest, task: ScanTask) -> Record:
    """Suggest slices for one scan and write its files, or return what an earlier run of the same request wrote."""
    folder, case, made_from = SuggestionFolder(root=request.output), task.files.case, _made_from(request, task)
    before = folder.record(case)
    if before is not None and before.made_from == made_from and folder.is_complete(before):
        return before
    scan = _read(request, task)
    rule, suggestions = suggest(scan, request.slices)
    geometry = scan.volume.geometry
    slices = list_slices(geometry, scan.axes, scan.drawing.planes, suggestions)
    record = Record(case=case, made_from=made_from, rule=rule, slices=slices)
    label = np.maximum(scan.drawing.annotation, 0).astype(np.uint8)
    return folder.write(record, label, geometry, picture_of(record, scan))


def _check(request: SuggestionRequest) -> None:
    if request.slices < 1:
        raise UserError(f"--slices is {request.slices}, expected 1 or more")
    if request.label_names:
        check_label_names(request.label_names)
    if request.centres_file is not None and request.reference is not None:
        raise UserError("--centres and --reference both say where the organ lies; give one of them")
    for path in request.reference or ():
        if not path.is_file():
            raise UserError(f"--reference {path} does not exist; give an image and its label map")
    first = "--centres" if request.centres_file else "--reference" if request.reference else None
    if first and request.predictions:
        raise UserError(f"{first} is for scans of which nothing is predicted; leave out {first}, or --predictions")


def _collect(request: SuggestionRequest) -> tuple[list[ScanTask], list[str]]:
    """Return a task for each scan that --predictions, or else --labels, knows; and the other scans' names."""
    scans = {files.case: files for files in unlabelled_cases(request.images, option="-i")}
    labels = find_label_maps(request.labels) if request.labels else {}
    wanted = set(scans)
    if request.predictions:
        wanted &= set(predicted_cases(request.predictions))
    elif request.labels:
        wanted &= set(labels)
    if not wanted:
        source = request.predictions[0] if request.predictions else request.labels
        raise UserError(
            f"{source} holds none of the scans of -i {request.images} ({next(iter(scans))}, ...); "
            "expected files that are called like the images without their channel"
        )
    listed = read_planes_file(request.planes_file) if request.planes_file else {}
    centres = read_centres_file(request.centres_file) if request.centres_file else {}
    for option, named in (("--planes", listed), ("--centres", centres)):
        strange = sorted(named.keys() - scans.keys())
        if strange:
            raise UserError(f"{option} lists case {strange[0]}, which is not in -i {request.images}")
    dataset = _dataset_planes(_rada(request))
    tasks = [
        ScanTask(
            files=CaseFiles(case=case, images=scans[case].images, label=labels.get(case)),
            listed=tuple(listed[case]) if case in listed else None,
            centre_ras_mm=centres.get(case),
            dataset_planes=dataset.get(case),
        )
        for case in sorted(wanted)
    ]
    return tasks, sorted(scans.keys() - wanted)


def _rada(request: SuggestionRequest) -> RadaFolder | None:
    return rada_folder_of(request.predictions[0]) if request.predictions else None


def _dataset_planes(rada: RadaFolder | None) -> dict[str, tuple[Plane, ...]]:
    """Return the annotated planes of each case of a dataset."""
    if rada is None:
        return {}
    return {
        name: tuple((drawn.axis, drawn.index) for drawn in case.slices)
        for name, case in CasesFile.load(rada).cases.items()
    }


def _made_from(request: SuggestionRequest, task: ScanTask) -> str:
    """Return a hash of all that the suggestion depends on."""
    files = [task.files.images[0], *([task.files.label] if task.files.label else []), *(request.reference or ())]
    if request.predictions:
        files += source_files(task.files.case, request.predictions)
    for path in files:
        check_is_file(path)
    options: list[object] = [request.slices, request.not_annotated, request.label_names]
    options += [task.listed, task.centre_ras_mm, task.dataset_planes]
    content = json.dumps([options, [sha256_of_file(path) for path in files]])
    return hashlib.sha256(content.encode()).hexdigest()


def _read(request: SuggestionRequest, task: ScanTask) -> KnownScan:
    case, volume = task.files.case, read_volume(task.files.images[0])
    geometry = volume.geometry
    check_thickness(task.files.images[0], geometry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rada-make-sparse-dataset warns of oblique scans
        axes = axes_of_scan(task.files.images[0], geometry.direction)
    drawing = _drawing(request, task, geometry, axes)
    prediction = read_prediction(case, request.predictions, geometry) if request.predictions else None
    centre = index_of_point(task.centre_ras_mm, geometry, case) if task.centre_ras_mm is not None else None
    carried = None
    if request.reference is not None and not drawing.planes and drawing.dense is None:
        carried = _carried(request.reference, volume)
    return KnownScan(volume=volume, axes=axes, drawing=drawing, prediction=prediction, centre=centre, carried=carried)


def _drawing(request: SuggestionRequest, task: ScanTask, geometry: Geometry, axes: Mapping[str, int]) -> Drawing:
    if task.files.label is not None:
        return read_drawing(
            task.files.label,
            geometry,
            axes,
            not_annotated=request.not_annotated,
            listed=task.listed,
            classes=request.classes,
        )
    rada = _rada(request)
    if rada is not None and task.dataset_planes is not None:
        return read_dataset_drawing(rada, task.dataset_planes, task.files.case, geometry)
    return Drawing.on(np.zeros(geometry.shape, np.uint8), ())


def _carried(reference: tuple[Path, Path], scan: Volume) -> NDArray[np.uint8]:
    """Return the reference's label, registered to the scan."""
    image, label = read_volume(reference[0]), read_label(reference[1])
    difference = image.geometry.difference(label.geometry)
    if difference:
        raise UserError(f"--reference: {reference[1]} is not on the grid of {reference[0]}: {difference}")
    if not (label.array > 0).any():
        raise UserError(f"--reference: {reference[1]} holds no foreground, expected a dense label map")
    return carry_label(image, label.array, scan)
