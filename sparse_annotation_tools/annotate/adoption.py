"""Go on from what lies in the output folder: label maps of other programs, and lists of suggested slices."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.annotate.folder import OutputFolder
from sparse_annotation_tools.annotate.paint import NOT_ANNOTATED, ChosenSlice, Paint
from sparse_annotation_tools.dataset.sources import CaseFiles
from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.files.volumes import Geometry
from sparse_annotation_tools.slices.drawing import read_drawing
from sparse_annotation_tools.slices.planes import axes_of_scan, on_plane


def adopt(folder: OutputFolder, scans: Mapping[str, CaseFiles], classes: Mapping[str, int]) -> list[str]:
    """Take over, as paint, what other programs left in the folder; return what was done, a line each.

    A label map that differs from what this tool wrote last says what is finished; whatever else was painted here stays,
    as slices that are not finished. A folder of rada-suggest-slices gives its slices, none of them finished.

    Raises:
        UserError: a file names no scan, is dense, holds an unknown class, or cannot be read.
    """
    listed = folder.listed()
    maps = _label_maps(folder)
    for source, names in ((folder.planes_file, set(listed)), (folder.labels, set(maps))):
        strange = sorted(names - scans.keys())
        if strange:
            raise UserError(f"{source} names scans that are not in -i: {some(strange)}; give their -i, or another -o")
    told = []
    for case in sorted(maps.keys() | listed.keys()):
        if case in folder.records and case not in maps:
            continue
        if case in maps and maps[case] == folder.label(case) and folder.is_mine(case):
            continue
        told.append(_adopt_case(folder, scans[case], maps.get(case), listed.get(case), classes))
    return [line for line in told if line]


def read_geometry(image: Path) -> Geometry:
    """Read the grid of a 3-D scan from its header.

    Raises:
        UserError: the file cannot be read or is not 3-D.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(image))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise UserError(f"{image} cannot be read as a volume; expected a scan") from None
    if reader.GetDimension() != 3:
        raise UserError(f"{image} has {reader.GetDimension()} dimensions, expected 3")
    return Geometry(
        size=reader.GetSize(), spacing=reader.GetSpacing(), origin=reader.GetOrigin(), direction=reader.GetDirection()
    )


def _label_maps(folder: OutputFolder) -> dict[str, Path]:
    if not folder.labels.is_dir() or not any(not path.name.startswith(".") for path in folder.labels.iterdir()):
        return {}
    return find_label_maps(folder.labels)


def _adopt_case(
    folder: OutputFolder,
    files: CaseFiles,
    path: Path | None,
    listed: list[tuple[str, int, bool]] | None,
    classes: Mapping[str, int],
) -> str:
    """Make the record of one case; return what was taken over."""
    geometry = read_geometry(files.images[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oblique scans, as rada-make-sparse-dataset will
        axes = axes_of_scan(files.images[0], geometry.direction)
    planes = {(axes[view], index): (view, suggested) for view, index, suggested in listed or []}
    label = np.zeros(geometry.shape, np.uint8)
    done = set()
    if path is not None:
        label, drawn = _read(path, files.case, geometry, axes, listed, classes)
        view_of_axis = {axis: view for view, axis in axes.items()}
        for plane in drawn:
            _, suggested = planes.setdefault(plane, (view_of_axis[plane[0]], False))
            if not suggested:
                done.add(plane)
    paint = Paint(label=label)
    for plane, (view, suggested) in planes.items():
        if plane[1] >= geometry.shape[plane[0]]:
            raise UserError(f"{folder.planes_file} lists {files.case} {view} {plane[1]}, which is outside the scan")
        paint.slices[plane] = ChosenSlice(view=view, plane=plane, done=plane in done, suggested=suggested)
    before = folder.records.get(files.case)
    for each in before.slices if before is not None and before.shape == geometry.shape else ():
        if each.plane not in paint.slices and each.drawn is not None:
            paint.slices[each.plane] = replace(each, done=False)
            fresh = (label[on_plane(each.plane)] == 0) & (paint.annotation()[on_plane(each.plane)] < 0)
            label[on_plane(each.plane)][fresh] = each.drawn[fresh]
    folder.take_over(files.case, paint, path)
    painted = sum(bool((label[on_plane(plane)] > 0).any()) for plane in paint.slices)
    return f"{files.case}: going on from {path}, {painted} painted slices" if path is not None and painted else ""


def _read(
    path: Path,
    case: str,
    geometry: Geometry,
    axes: Mapping[str, int],
    listed: list[tuple[str, int, bool]] | None,
    classes: Mapping[str, int],
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Return what is drawn, 0 elsewhere, and on which planes."""
    pairs = [(view, index) for view, index, _ in listed] if listed else None
    drawing = read_drawing(path, geometry, axes, not_annotated=NOT_ANNOTATED, listed=pairs, classes=classes)
    if drawing.dense is not None:
        raise UserError(
            f"{path} is painted on too many slices to be told apart; this page is for single slices: give another -o"
        )
    label = np.maximum(drawing.annotation, 0).astype(np.uint8)
    if label.max() > len(classes):
        raise UserError(f"{path} holds label {label.max()}, expected 0 to {len(classes)}; name it by --label-names")
    return label, list(drawing.planes)
