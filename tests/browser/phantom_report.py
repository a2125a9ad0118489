"""A small report of phantoms, with predictions, curves and names that must not run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.dataset.make import make_dataset
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.report.page.report import ReportRequest, ReportSummary, make_report

HOSTILE_CASE = "<img src=x onerror=alert(1)>"
HOSTILE_CLASS = "</script><script>alert(2)</script> \"'ärt"
TRAINER = "nnUNetTrainerRADA"


def make_raw_dataset(root: Path) -> Path:
    """Write a raw dataset of 2 labelled, 1 unlabelled and 2 test phantoms; one of these has a hostile name."""
    write_phantom_set(
        root / "phantoms", labelled=2, unlabelled=1, test=2, shape=(16, 20, 24), spacing_mm=(3.0, 2.0, 2.0), classes=2
    )
    phantoms = root / "phantoms"
    request = DatasetRequest(
        raw=root / "raw",
        preprocessed=root / "preprocessed",
        dataset="Dataset101_Phantom",
        images=phantoms / "labelled" / "images",
        labels=phantoms / "labelled" / "labels",
        unlabelled=phantoms / "unlabelled" / "images",
        test_images=phantoms / "test" / "images",
        test_labels=phantoms / "test" / "labels",
        label_names=("lobed_organ", HOSTILE_CLASS),
        simulate="SCA",
        command="rada-make-sparse-dataset ...",
    )
    make_dataset(request, embed=lambda folder: None, warn=lambda text: None, propagate=_copied)
    dataset = root / "raw" / "Dataset101_Phantom"
    for part, ending in (("imagesTs", "_0000.nii.gz"), ("labelsTs", ".nii.gz")):
        (dataset / part / f"phantom_test_01{ending}").rename(dataset / part / f"{HOSTILE_CASE}{ending}")
    return dataset


def predict(dataset: Path, folder: Path, shift: int) -> Path:
    """Write as predictions the truths of the test cases, moved by some voxels; the hostile one's by more."""
    folder.mkdir(parents=True)
    for path in sorted((dataset / "labelsTs").iterdir()):
        image = sitk.ReadImage(str(path))
        moved = np.roll(sitk.GetArrayFromImage(image), shift + 2 * path.name.startswith("<"), axis=1)
        prediction = sitk.GetImageFromArray(moved)
        prediction.CopyInformation(image)
        sitk.WriteImage(prediction, str(folder / path.name))
    return folder


def write_training(results: Path) -> None:
    """Write what a training of three epochs leaves for a report."""
    folder = results / "Dataset101_Phantom" / f"{TRAINER}__nnUNetPlans__3d_fullres"
    section = {"config": {"num_iterations": 75, "alpha": "cosine"}, "encoder": "encoder=random: carries no semantics"}
    for fold in ("all", "0"):
        curves: dict[str, Any] = {"beta": [0.1, 0.2, 0.3], "alpha": [0.97, 0.9, 0.8], "trusted": [0.1, None, 0.9]}
        for view in ("sagittal", "coronal", "axial"):
            curves[f"loss/{view}"] = [1.0, 0.5, 0.25]
        (folder / f"fold_{fold}").mkdir(parents=True)
        (folder / f"fold_{fold}" / "curves.json").write_text(json.dumps(curves))
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {"rada": section}}}))


def make_full_report(root: Path) -> ReportSummary:
    """Make the report with everything that there can be."""
    dataset = make_raw_dataset(root)
    write_training(root / "results")
    networks = tuple(predict(dataset, root / f"network_{shift}", shift) for shift in (0, 1, 2))
    return make_report(
        ReportRequest(
            dataset=dataset,
            output=root / "report",
            results=root / "results",
            predictions=networks[1],
            networks=networks,
        )
    )


def make_long_report(report: Path, output: Path, cases: int) -> Path:
    """Copy a report, and let it hold `cases` cases, with files of their own."""
    shutil.copytree(report, output)
    script = output / "data" / "report.js"
    head, _, rest = script.read_text().partition("(")
    content = json.loads(rest.rpartition(")")[0])
    originals, content["cases"] = content["cases"], []
    for number in range(cases):
        original = originals[number % len(originals)]
        folder = f"copy_{number:03d}"
        shutil.copytree(report / "cases" / original["folder"], output / "cases" / folder)
        for volume in (output / "cases" / folder).glob("*.js"):  # each says to whom it belongs
            volume.write_text(volume.read_text().replace(f'"{original["folder"]}/', f'"{folder}/', 1))
        content["cases"].append({**original, "name": folder, "folder": folder})
    script.write_text(f"{head}({json.dumps(content)});\n")
    return output


def _copied(
    image: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    axis: int,
    index: int,
    label: NDArray[np.uint8],
    settings: object,
    seed: int,
) -> NDArray[np.uint8]:
    """Carry the label unchanged through the volume."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))
