"""One case of a report: thumbnails, volumes for the viewer, measures; made once, and again when its inputs change."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from sparse_annotation_tools.evaluation.evaluate import CaseResult, evaluate_pair
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.label_maps import Labels, Pair
from sparse_annotation_tools.files.volumes import sha256_of_file
from sparse_annotation_tools.report.case_volumes import CaseVolumes, RawDataset
from sparse_annotation_tools.report.page.layers import coarsening, coarser_image, coarser_layer, layers_of
from sparse_annotation_tools.report.page.panels import Painter, panels_of
from sparse_annotation_tools.report.page.volume_files import (
    coarser_affine,
    image_nifti,
    label_nifti,
    windowed,
    write_script,
)
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright
from sparse_annotation_tools.suggestion.doubt import source_files

RECORD = "case.json"
_FORMAT = 1  # of what is made of a case; a higher one makes every case again
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class CaseTask:
    """What one case is made of.

    Attributes:
        dataset: raw dataset folder.
        case: identifier.
        role: `labelled`, `unlabelled`, `test`, or `new`: not in the dataset.
        output: the report's folder of cases.
        images: folder that holds the scan, or None where the dataset does.
        predictions: folder that holds a prediction of the case, or None.
        truth: folder that holds a dense truth of the case, or None.
        doubt: folders that say how sure the prediction is, see `doubt.read_prediction`.
        doubt_title: what they hold, for readers.
    """

    dataset: Path
    case: str
    role: str
    output: Path
    images: Path | None = None
    predictions: Path | None = None
    truth: Path | None = None
    doubt: tuple[Path, ...] = ()
    doubt_title: str = "Doubt about the prediction"

    @property
    def folder(self) -> Path:
        """Where the case's files go; its name is fit for any file system and address."""
        name = self.case
        if not _PLAIN_NAME.fullmatch(name):
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
            name = f"{re.sub('[^A-Za-z0-9._-]', '_', name).strip('.')[:60]}-{digest}"
        return self.output / name


def make_case(task: CaseTask) -> None:
    """Write the files of one case, unless they are there and were made of the same inputs.

    Raises:
        UserError: a file of the case cannot be read or does not fit its image.
    """
    raw = RawDataset(task.dataset)
    inputs = _inputs(raw, task)
    key = _key(raw, task, inputs)
    if _is_made(task.folder, key):
        return
    shutil.rmtree(task.folder, ignore_errors=True)
    case = _without_ignored(
        raw.read(task.case, images=task.images, predictions=task.predictions, truth=task.truth, doubt=task.doubt),
        raw.classes,
    )
    result = _measured(raw, task)
    thumbnails, thumbnail_files = _write_thumbnails(case, raw, task.folder)
    layers, factors = _write_volumes(case, task)
    content = {
        "name": task.case,
        "folder": task.folder.name,
        "role": task.role,
        **_geometry(inputs["image"], raw, case, factors),
        "metrics": None if result is None else _metrics_json(raw, result),
        "thumbnails": thumbnails,
        "layers": layers,
    }
    write_json(
        task.folder / RECORD,
        {
            "key": key,
            "files": [*thumbnail_files, *(f"{layer['name']}.js" for layer in layers)],
            "result": None if result is None else result_to_json(result),
            "content": content,
        },
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished case; None where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def result_to_json(result: CaseResult) -> dict[str, Any]:
    """Return measures as JSON; NaN becomes None."""
    return {
        "measures": {
            str(value): {name: None if np.isnan(number) else number for name, number in row.items()}
            for value, row in result.measures.items()
        },
        "in_truth": sorted(result.in_truth),
        "in_prediction": sorted(result.in_prediction),
        "ignored": result.ignored,
    }


def result_from_json(content: dict[str, Any]) -> CaseResult:
    """Read what `result_to_json` returned."""
    return CaseResult(
        measures={
            int(value): {name: np.nan if number is None else number for name, number in row.items()}
            for value, row in content["measures"].items()
        },
        in_truth=frozenset(content["in_truth"]),
        in_prediction=frozenset(content["in_prediction"]),
        ignored=content["ignored"],
    )


# --- what it is made of -------------------------------------------------------------------------------------------


def _inputs(raw: RawDataset, task: CaseTask) -> dict[str, Path]:
    """Every file that a case is made of, by role."""
    images = task.images or raw.folder / ("imagesTs" if task.role == "test" else "imagesTr")
    files = {"image": images / f"{task.case}_0000{raw.ending}"}
    record = raw.cases.cases.get(task.case)
    if record and record.slices:
        files["annotation"] = raw.folder / "labelsTr" / f"{task.case}{raw.ending}"
        files |= {f"propagated_{k}": raw.rada.propagated(task.case, k) for k in range(len(record.slices))}
        files |= {"fused": raw.rada.fused(task.case), "confidence": raw.rada.confidence(task.case)}
    for role, folder in (("prediction", task.predictions), ("truth", task.truth)):
        if folder is not None:
            files[role] = folder / f"{task.case}{raw.ending}"
    if task.doubt:
        files |= {f"doubt_{number}": path for number, path in enumerate(source_files(task.case, task.doubt))}
    return files


def _key(raw: RawDataset, task: CaseTask, inputs: dict[str, Path]) -> str:
    """A hash of everything that decides what is made."""
    record = raw.cases.cases.get(task.case)
    parts = {
        "format": _FORMAT,
        "role": task.role,
        "classes": raw.classes,
        "doubt_title": task.doubt_title,
        "case": None if record is None else asdict(record),
        "files": {role: sha256_of_file(path) if path.is_file() else None for role, path in inputs.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_made(folder: Path, key: str) -> bool:
    record = read_record(folder)
    return (
        record is not None
        and record.get("key") == key
        and all((folder / name).is_file() for name in record.get("files", [RECORD + " lists none"]))
    )


# --- what is made -------------------------------------------------------------------------------------------------


def _measured(raw: RawDataset, task: CaseTask) -> CaseResult | None:
    """What rada-evaluate measures, where there are a prediction and a truth."""
    if task.predictions is None or task.truth is None:
        return None
    name = f"{task.case}{raw.ending}"
    pair = Pair(case=task.case, truth=task.truth / name, prediction=task.predictions / name)
    return evaluate_pair(pair, Labels.from_dataset_json(raw.folder / "dataset.json"))


def _without_ignored(case: CaseVolumes, classes: Mapping[str, int]) -> CaseVolumes:
    """Show nothing where the truth holds no class: it may ignore some voxels."""
    if case.truth is None:
        return case
    return replace(case, truth=np.where(np.isin(case.truth, list(classes.values())), case.truth, 0).astype(np.uint8))


def _metrics_json(raw: RawDataset, result: CaseResult) -> dict[str, Any]:
    measures = result_to_json(result)["measures"]
    return {name: measures[str(value)] for name, value in raw.classes.items() if str(value) in measures}


def _write_thumbnails(case: CaseVolumes, raw: RawDataset, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    painter = Painter(case)
    thumbnails = []
    for panel in panels_of(case, raw.classes):
        file = f"{panel.name}.png"
        width, height = painter.write(panel, folder / file)
        thumbnails.append(
            {"file": file, "group": panel.group, "title": panel.title, "width": width, "height": height}
            | {"has_truth": panel.truth is not None, "has_doubt": panel.doubt is not None}
        )
    return thumbnails, [str(thumbnail["file"]) for thumbnail in thumbnails]


def _write_volumes(case: CaseVolumes, task: CaseTask) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Write the image and every layer, each once; return what the page must know of them."""
    factors = coarsening(case.image.shape, case.spacing_mm)
    affine = coarser_affine(case.affine, factors)

    def written(name: str, title: str, kind: str, nifti: bytes) -> dict[str, Any]:
        size = write_script(task.folder / f"{name}.js", f"{task.folder.name}/{name}", nifti)
        return {"name": name, "title": title, "kind": kind, "bytes": size}

    image = coarser_image(case.image, factors)
    volumes = [written("image", "Image", "image", image_nifti(image, affine, windowed(image)))]
    for layer in layers_of(case, doubt_title=task.doubt_title):
        nifti = label_nifti(coarser_layer(layer, factors), affine)
        volumes.append(written(layer.name, layer.title, layer.kind, nifti))
    return volumes, factors


def _geometry(image: Path, raw: RawDataset, case: CaseVolumes, factors: tuple[int, ...]) -> dict[str, Any]:
    """Where slices lie: in the file's own counting, and on the upright grid that the page shows.

    `axes` are those of the upright grid (axial, coronal, sagittal): its slices, which way the file counts them, and how
    many of them the viewer shows as one.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(image))
    reader.ReadImageInformation()
    x, y, z = reader.GetSize()
    upright = Upright.of(reader.GetDirection(), (z, y, x))
    record = raw.cases.cases.get(case.name)
    slices = record.slices if record and case.planes else ()
    return {
        "spacing_mm": [round(step, 4) for step in case.spacing_mm],
        "axes": [
            {"view": view, "slices": side, "flipped": flipped, "factor": factor}
            for view, side, flipped, factor in zip(
                VIEW_OF_AXIS, case.image.shape, upright.flipped, factors, strict=True
            )
        ],
        "slices": [
            {"view": drawn.view, "index": drawn.index, "area": drawn.area, "axis": plane.axis, "upright": plane.index}
            for drawn, plane in zip(slices, case.planes, strict=True)
        ],
        "networks": {} if record is None else {name: list(each) for name, each in record.networks.items()},
    }
