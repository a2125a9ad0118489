"""Check the files of one case of a raw dataset against its record in `cases.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.check.findings import Finding
from sparse_annotation_tools.dataset.fingerprint import CaseMeasure, measure_case
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import FILE_ENDING, Volume, count_not_finite, read_label, read_volume
from sparse_annotation_tools.schema import Case, RadaFolder
from sparse_annotation_tools.slices.annotation import Annotation
from sparse_annotation_tools.slices.planes import off_planes, on_plane

Box = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class CaseReport:
    """What was found in one case, and what the checks of the whole dataset need of it.

    Attributes:
        case: its identifier.
        role: labelled, unlabelled or test.
        findings: in the order of the checks.
        content: hash of the voxels of its image; None where it cannot be read.
        box: lower corner and shape (z, y, x) of the box around the non-zero voxels, to which nnU-Net crops.
        measure: what the dataset's fingerprint takes from the case; None for test cases and faulty ones.
    """

    case: str
    role: str
    findings: tuple[Finding, ...]
    content: str | None = None
    box: Box | None = None
    measure: CaseMeasure | None = None


@dataclass(kw_only=True)
class _Check:
    """The files of one case, read one by one; what is wrong with them is noted in `findings`."""

    case: str
    remake: str
    findings: list[Finding] = field(default_factory=list)

    def note(self, level: str, check: str, text: str, mend: str = "") -> None:
        self.findings.append(Finding(level=level, check=check, text=text, mend=mend, case=self.case))

    def read(self, path: Path, *, grid_of: Volume | None = None, largest: int | None = None) -> Volume | None:
        """Read a volume; note where it is unreadable, on another grid than `grid_of`, or holds too large a label."""
        try:
            volume = read_volume(path) if largest is None else read_label(path)
        except UserError as error:
            self.note("error", "files", str(error), self.remake)
            return None
        if grid_of is not None:
            difference = grid_of.geometry.difference(volume.geometry)
            if difference:
                text = f"{_short(path)} is not on the grid of the image: {difference}"
                self.note("error", "geometry", text, self.remake)
                return None
        if largest is not None and volume.array.size and (volume.array.min() < 0 or volume.array.max() > largest):
            text = f"{_short(path)} holds label {_outside(volume.array, largest)}, expected 0 to {largest}"
            self.note("error", "labels", text, self.remake)
        return volume


def check_training_case(folder: Path, case: str, record: Case, classes: Sequence[int], remake: str) -> CaseReport:
    """Check the image, label and side volumes of one training case.

    Args:
        folder: of the raw dataset.
        case: its identifier.
        record: what `cases.json` says of it.
        classes: foreground values.
        remake: the command that makes the dataset anew.
    """
    check = _Check(case=case, remake=remake)
    role = "labelled" if record.labelled else "unlabelled"
    ignore = len(classes) + 1
    channels = _read_channels(check, folder / "imagesTr", _count_channels(record.sha256))
    if channels is None:
        return CaseReport(case=case, role=role, findings=tuple(check.findings))
    image = channels[0]
    label = check.read(folder / "labelsTr" / f"{case}{FILE_ENDING}", grid_of=image, largest=ignore)
    annotation = None
    if image.array.shape != record.shape:
        text = f"the image has shape {image.array.shape}, cases.json says {record.shape}"
        check.note("error", "geometry", text, remake)
    elif label is not None:
        annotation = _check_annotation(check, label.array, record, ignore)
    if record.labelled:
        rada = RadaFolder(root=folder / "rada")
        for path in (*(rada.propagated(case, k) for k in range(len(record.slices))), rada.fused(case)):
            check.read(path, grid_of=image, largest=ignore - 1)
        check.read(rada.confidence(case), grid_of=image)
    box = nonzero_box([channel.array for channel in channels])
    _check_box(check, record, box)
    arrays = [channel.array for channel in channels]
    sound = annotation is not None or not record.labelled
    return CaseReport(
        case=case,
        role=role,
        findings=tuple(check.findings),
        content=_content(channels),
        box=box,
        measure=measure_case(arrays, image.geometry.spacing_mm, annotation) if sound else None,
    )


def check_test_case(
    folder: Path, case: str, hashes: Mapping[str, str], classes: Sequence[int], remake: str
) -> CaseReport:
    """Check the image and, if there is one, the dense label of one test case; arguments as `check_training_case`."""
    check = _Check(case=case, remake=remake)
    channels = _read_channels(check, folder / "imagesTs", _count_channels(hashes))
    if channels is None:
        return CaseReport(case=case, role="test", findings=tuple(check.findings))
    if "label" in hashes:
        check.read(folder / "labelsTs" / f"{case}{FILE_ENDING}", grid_of=channels[0], largest=len(classes))
    return CaseReport(case=case, role="test", findings=tuple(check.findings), content=_content(channels))


def nonzero_box(channels: Sequence[NDArray[Any]]) -> Box:
    """Return lower corner and shape (z, y, x) of the box around voxels that are not 0, as nnU-Net crops."""
    nonzero = np.logical_or.reduce([channel != 0 for channel in channels])
    lower, sides = [], []
    for axis in range(3):
        occupied = np.flatnonzero(nonzero.any(axis=tuple(other for other in range(3) if other != axis)))
        first, last = (int(occupied[0]), int(occupied[-1])) if len(occupied) else (0, nonzero.shape[axis] - 1)
        lower.append(first)
        sides.append(last - first + 1)
    return tuple(lower), tuple(sides)


def _read_channels(check: _Check, folder: Path, count: int) -> list[Volume] | None:
    channels: list[Volume] = []
    for channel in range(count):
        path = folder / f"{check.case}_{channel:04d}{FILE_ENDING}"
        volume = check.read(path, grid_of=channels[0] if channels else None)
        if volume is None:
            return None
        if volume.array.min() == volume.array.max():
            text = f"{_short(path)} has the same value in every voxel; replace or remove it in the input"
            check.note("error", "intensities", text, check.remake)
        elif bad := count_not_finite(path):
            text = f"{_short(path)} holds {bad} voxels that are NaN or infinite, which nnU-Net reads as 0"
            check.note("warning", "intensities", f"{text}; replace them in the input", check.remake)
        channels.append(volume)
    return channels


def _check_annotation(check: _Check, label: NDArray[Any], record: Case, ignore: int) -> NDArray[np.int16] | None:
    """Compare the label map with the planes on record; return the annotation, -1 off its planes, if the two agree."""
    planes = [(annotated.axis, annotated.index) for annotated in record.slices]
    drawn_off = off_planes(label != ignore, planes)
    if drawn_off.any():
        what = "off its annotated planes" if record.labelled else "though cases.json calls the case unlabelled"
        check.note("error", "planes", f"labelsTr has {int(drawn_off.sum())} annotated voxels {what}", check.remake)
    if not record.labelled:
        return None
    for annotated, plane in zip(record.slices, planes, strict=True):
        _check_plane(check, f"{annotated.view} slice {annotated.index}", label[on_plane(plane)], ignore)
    drawn = tuple(np.ascontiguousarray(label[on_plane(plane)]).astype(np.uint8) for plane in planes)
    annotation = Annotation(shape=record.shape, slices=record.slices, drawn=drawn, networks=record.networks)
    if not any(finding.check == "planes" for finding in check.findings):
        if annotation.sha256() != record.sha256.get("annotation"):
            text = "labelsTr was changed after the dataset was made, the propagated labels are of the former annotation"
            check.note("error", "planes", f"{text}; change the input instead", check.remake)
        else:
            found = ", ".join(f"{annotated.view} {annotated.index}" for annotated in record.slices)
            check.note("ok", "planes", f"{len(planes)} annotated planes: {found}")
    if not any(annotated.area for annotated in record.slices):
        check.note("warning", "planes", "no annotated plane shows a class; annotate one that does")
    if any(finding.level == "error" and finding.check == "planes" for finding in check.findings):
        return None
    signed = label.astype(np.int16)
    return np.where(signed == ignore, np.int16(-1), signed)


def _check_plane(check: _Check, name: str, pixels: NDArray[Any], ignore: int) -> None:
    missing = int((pixels == ignore).sum())
    if missing:
        text = f"{name} is cut off in labelsTr: {missing} of {pixels.size} pixels are not annotated"
        check.note("error", "planes", text, check.remake)
        return
    if not (pixels > 0).any():
        check.note("note", "empty", f"{name} shows no class: it says that there is background")
    elif any((edge > 0).any() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])):
        check.note("note", "edge", f"the annotation of {name} touches the edge of the scan: the organ may be cut off")


def _check_box(check: _Check, record: Case, box: Box) -> None:
    lower, sides = box
    for annotated in record.slices:
        if not 0 <= annotated.index - lower[annotated.axis] < sides[annotated.axis]:
            text = f"{annotated.view} slice {annotated.index} lies outside the box of non-zero voxels"
            check.note("warning", "crop", f"{text}, to which nnU-Net crops: training will not see it")


def _content(channels: Sequence[Volume]) -> str:
    """Hash the voxels, whatever their type and the file's compression."""
    digest = hashlib.sha256()
    for channel in channels:
        digest.update(repr(channel.array.shape).encode())
        digest.update(np.ascontiguousarray(channel.array, dtype=np.float32).data)
    return digest.hexdigest()


def _count_channels(hashes: Mapping[str, str]) -> int:
    return sum(role.startswith("image_") for role in hashes)


def _outside(array: NDArray[Any], largest: int) -> int:
    return int(array.min() if array.min() < 0 else array.max())


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
