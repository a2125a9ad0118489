"""Measure propagation and fusion on densely labelled scans: run `python benchmarks/propagation.py --data DIR`.

DIR holds one set (labelled/images, labelled/labels) or several of them in folders. The slice of largest foreground area
along each axis plays the annotated one; the rest of the dense label is read only to score. The methods are

  copied     the annotated slice, unchanged, on every slice
  extruded   a voxel is of a class where all three extruded slices are
  published  SyNRA on full frames, nearest neighbour, 5x5-pixel opening and closing
  default    what rada-make-sparse-dataset does

each view alone, the views voting with weight alpha**d, and all slices fused. With --work, a run that was stopped goes
on where it was, as long as the code is the same; the published chain takes minutes a volume at full resolution.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.volumes import read_label, read_volume, sha256_of_file
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate
from sparse_annotation_tools.propagation.crossing import find_all_outlines, hold_to_planes
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.annotation import Annotation, simulate_annotation
from sparse_annotation_tools.slices.planes import Plane, axes_of_views, on_plane

SETTINGS = {"published": PropagationSettings.paper(), "default": PropagationSettings()}
METHODS = ("copied", "extruded", *SETTINGS)
DISTANCES = (1, 5, 10, 20)
ALPHA = 0.92
BINS = 10

Volume = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One densely labelled scan and the slices cut from it."""

    image: NDArray[Any]
    truth: Volume
    spacing_mm: tuple[float, float, float]
    annotation: Annotation

    @property
    def classes(self) -> list[int]:
        """Foreground values of the truth."""
        return [int(value) for value in np.unique(self.truth) if value]


def main() -> None:
    """Measure every case with every method, print tables and one line of JSON."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        measured: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name, folder in find_sets(arguments.data, arguments.sets):
            cases = sorted((folder / "images").glob("*_0000.nii.gz"))[: arguments.cases]
            tasks = [(work, name, path, method) for method in arguments.methods for path in cases]
            names = [f"{path.name} ({method})" for _, _, path, method in tasks]
            results = run_in_processes(measure, tasks, names=names, processes=arguments.np, description=name)
            measured[name] = {method: [r for r in results if r["method"] == method] for method in arguments.methods}
    figures = {name: {method: summary(cases) for method, cases in found.items()} for name, found in measured.items()}
    for name, found in figures.items():
        print_table(name, found)
    print(json.dumps({"benchmark": "propagation", "alpha": ALPHA, "sets": figures, "machine": machine()}))


def measure(work: Path, set_name: str, image: Path, method: str) -> dict[str, Any]:
    """Return the figures of one case and method, from `work` where an earlier run left them."""
    case = image.name.removesuffix("_0000.nii.gz")
    settings = SETTINGS[method].to_json() if method in SETTINGS else None
    path = work / f"{set_name}-{case}-{method}-{made_from(__file__, image, method, settings, ALPHA)}.json"
    if path.is_file():
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return stored
    scan = read_scan(image)
    if method == "extruded":
        result: dict[str, Any] = {"fused": dice(_extruded(scan), scan.truth, scan.classes)}
    else:
        result = _measure_views(scan, method)
    result |= {"case": case, "method": method}
    write_json(path, result)
    return result


def made_from(script: str, image: Path, *settings: object) -> str:
    """Return a short hash of a scan, its label, settings and a benchmark's code: `--work` finds nothing of others."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    folders = [Path(inspect.getfile(function)).parent for function in (propagate, simulate_annotation)]
    library = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    for file in (image, label_of(image), Path(__file__), Path(script), *library):
        digest.update(sha256_of_file(file).encode())
    digest.update(version("antspyx").encode())
    return digest.hexdigest()[:12]


def _measure_views(scan: Scan, method: str) -> dict[str, Any]:
    planes = scan.annotation.planes
    annotation = scan.annotation.volume()
    start = time.process_time()
    raw = np.stack([_one_view(scan, method, k) for k in range(len(planes))])
    propagated, outlines = raw, None
    if method in SETTINGS and SETTINGS[method].hold_to_planes:
        outlines = find_all_outlines(raw, planes, annotation, scan.spacing_mm)
        each = zip(raw, planes, outlines, strict=True)
        held = [hold_to_planes(label, axis, planes, annotation, scan.spacing_mm, own) for label, (axis, _), own in each]
        propagated = np.stack(held)
    cpu_s = time.process_time() - start
    voted = dice(vote(propagated, planes, scan), scan.truth, scan.classes)
    start = time.process_time()
    label, confidence = fuse(raw, planes, annotation, scan.classes, scan.spacing_mm, outlines)
    fuse_cpu_s = time.process_time() - start
    views = [record.view for record in scan.annotation.slices]
    return {
        "cpu_s": cpu_s,
        "fuse_cpu_s": fuse_cpu_s,
        "views": {view: dice(propagated[k], scan.truth, scan.classes) for k, view in enumerate(views)},
        "distances": {
            view: {str(d): _dice_at(propagated[k], scan, planes[k], d) for d in DISTANCES}
            for k, view in enumerate(views)
        },
        "voted": voted,
        "fused": dice(label, scan.truth, scan.classes),
        "reliability": reliability(label, confidence, scan),
    }


def _one_view(scan: Scan, method: str, k: int) -> Volume:
    axis, index = scan.annotation.planes[k]
    drawn = scan.annotation.drawn[k]
    if method == "copied":
        return np.broadcast_to(np.expand_dims(drawn, axis), scan.truth.shape)
    return propagate(scan.image, scan.spacing_mm, axis, index, drawn, SETTINGS[method])


def vote(propagated: NDArray[np.uint8], planes: Sequence[Plane], scan: Scan) -> Volume:
    """Return the class with the largest sum of alpha**d, true slices pasted in; no view but its own shows what."""
    candidates = [0, *scan.classes]
    scores = np.zeros((len(candidates), *scan.truth.shape), np.float32)
    for volume, (axis, index) in zip(propagated, planes, strict=True):
        along = [1, 1, 1]
        along[axis] = -1
        weight = (ALPHA ** np.abs(np.arange(scan.truth.shape[axis]) - index)).astype(np.float32).reshape(along)
        for score, value in zip(scores, candidates, strict=True):
            score += weight * (volume == value)
    label = np.asarray(candidates, np.uint8)[scores.argmax(axis=0)]
    drawn = scan.annotation.volume()
    return np.where(drawn >= 0, drawn, label).astype(np.uint8)


def _extruded(scan: Scan) -> Volume:
    """Return the class that all three extruded slices show."""
    first, *others = [
        np.broadcast_to(np.expand_dims(drawn, axis), scan.truth.shape)
        for (axis, _), drawn in zip(scan.annotation.planes, scan.annotation.drawn, strict=True)
    ]
    agreed = np.all([column == first for column in others], axis=0)
    drawn = scan.annotation.volume()
    return np.where(drawn >= 0, drawn, np.where(agreed, first, 0)).astype(np.uint8)


def dice(label: Volume, truth: Volume, classes: Sequence[int]) -> float:
    """Return the mean Dice over the classes of the truth; NaN where it has none."""
    scores = []
    for value in classes:
        first, second = label == value, truth == value
        if second.any():
            scores.append(2 * float((first & second).sum()) / float(first.sum() + second.sum()))
    return float(np.mean(scores)) if scores else float("nan")


def _dice_at(label: Volume, scan: Scan, plane: Plane, distance: int) -> float | None:
    """Return the mean Dice of the slices at this distance that show foreground; None where none does."""
    axis, index = plane
    scores = [
        dice(label[on_plane((axis, there))], scan.truth[on_plane((axis, there))], scan.classes)
        for there in (index - distance, index + distance)
        if 0 <= there < scan.truth.shape[axis] and scan.truth[on_plane((axis, there))].any()
    ]
    return float(np.mean(scores)) if scores else None


def reliability(label: Volume, confidence: Volume, scan: Scan) -> list[list[float]]:
    """Return [voxels, sum of confidence, right voxels] per bin of confidence.

    Only voxels that nobody drew, in the box around the true object grown by a tenth: the empty rest of a scan is
    easily right.
    """
    where = object_box(scan) & (scan.annotation.volume() < 0)
    probability = confidence[where] / 255
    right = (label == scan.truth)[where]
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        [float(np.bincount(which, weights, minlength=BINS)[b]) for weights in (np.ones(len(which)), probability, right)]
        for b in range(BINS)
    ]


def object_box(scan: Scan) -> NDArray[np.bool_]:
    """Return True in the box around the true object, grown by a tenth."""
    box = []
    for axis in range(3):
        (occupied,) = np.nonzero((scan.truth > 0).any(axis=tuple(other for other in range(3) if other != axis)))
        margin = (occupied[-1] - occupied[0]) // 10 + 1
        box.append(slice(max(0, occupied[0] - margin), occupied[-1] + margin + 1))
    inside = np.zeros(scan.truth.shape, bool)
    inside[tuple(box)] = True
    return inside


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Average one method over the cases of one set."""
    found: dict[str, Any] = {"cases": len(cases)}
    for name in ("cpu_s", "fuse_cpu_s", "voted", "fused"):
        values = [case[name] for case in cases if name in case]
        if values:
            half = (len(values) + 1) // 2
            found[name] = _mean(values)
            if name in ("voted", "fused"):
                found[f"{name}_per_case"] = [round(value, 4) for value in values]
                found[f"{name}_first_half"], found[f"{name}_second_half"] = _mean(values[:half]), _mean(values[half:])
    if "views" in cases[0]:
        found["views"] = {view: _mean([case["views"][view] for case in cases]) for view in VIEWS}
        found["distances"] = {
            view: {str(d): _mean([case["distances"][view][str(d)] for case in cases]) for d in DISTANCES}
            for view in VIEWS
        }
        bins = np.sum([case["reliability"] for case in cases], axis=0)
        found["reliability"] = [
            {"voxels": int(voxels), "confidence": round(sure / voxels, 4), "right": round(right / voxels, 4)}
            for voxels, sure, right in bins
            if voxels
        ]
        found["expected_calibration_error"] = round(float(np.abs(bins[:, 1] - bins[:, 2]).sum() / bins[:, 0].sum()), 4)
    return found


def print_table(name: str, figures: dict[str, dict[str, Any]]) -> None:
    """Print one set's figures for people."""
    print(f"\n{name}: mean Dice of {max(found['cases'] for found in figures.values())} cases")
    print(f"{'':10s} {'whole volume, one view':>24s}  {'voted':>6s} {'fused':>6s}  first/second half   CPU-s a volume")
    print(f"{'':10s} {' '.join(f'{view:>8s}'[:8] for view in VIEWS)}")
    for method, found in figures.items():
        views = " ".join(_cell(found.get("views", {}).get(view), 8) for view in VIEWS)
        halves = f"{_cell(found['fused_first_half'], 6)} {_cell(found['fused_second_half'], 6)}"
        cpu = f"{found['cpu_s']:8.1f} + {found['fuse_cpu_s']:.1f}" if "cpu_s" in found else ""
        print(f"{method:10s} {views}  {_cell(found.get('voted'), 6)} {_cell(found['fused'], 6)}  {halves}     {cpu}")
    print("Dice at a distance of d slices")
    for method, found in figures.items():
        for view, scores in found.get("distances", {}).items():
            print(f"{method:10s} {view:9s}" + "".join(f"  d={d} {_cell(scores[str(d)], 5)}" for d in DISTANCES))
    reliable = figures.get("default", {}).get("reliability", ())
    if reliable:
        print(
            f"reliability of the default's fused label (error {figures['default']['expected_calibration_error']:.3f})"
        )
        print("  confidence " + " ".join(f"{row['confidence']:6.3f}" for row in reliable))
        print("  right      " + " ".join(f"{row['right']:6.3f}" for row in reliable))
        print("  voxels     " + " ".join(f"{row['voxels']:6d}" for row in reliable))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}


def read_scan(image: Path) -> Scan:
    """Read a scan and its dense label, and keep the three slices of largest area."""
    volume = read_volume(image)
    truth = read_label(label_of(image)).array.astype(np.uint8)
    axes = axes_of_views(volume.geometry.direction)
    annotation = simulate_annotation(truth, axes, VIEWS)
    return Scan(image=volume.array, truth=truth, spacing_mm=volume.geometry.spacing_mm, annotation=annotation)


def label_of(image: Path) -> Path:
    """Return where the dense label of a scan lies."""
    return image.parent.parent / "labels" / image.name.replace("_0000.nii.gz", ".nii.gz")


def find_sets(data: Path, wanted: list[str] | None) -> Iterator[tuple[str, Path]]:
    """Yield (name, folder of images and labels) of each set in DIR."""
    if (data / "labelled" / "images").is_dir():
        yield data.name, data / "labelled"
        return
    found = {path.parent.parent.name: path.parent for path in sorted(data.glob("*/labelled/images"))}
    names = wanted or sorted(found)
    if not found or set(names) - set(found):
        missing = ", ".join(sorted(set(names) - set(found))) or "a set"
        raise SystemExit(
            str(
                UserError(
                    f"{data} does not hold {missing}; expected labelled/images and labelled/labels, or folders "
                    f"of that kind (found {', '.join(found) or 'none'})"
                )
            )
        )
    for name in names:
        yield name, found[name]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _cell(value: float | None, width: int) -> str:
    return " " * width if value is None else f"{value:{width}.3f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split(":")[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="densely labelled scans")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="which sets of DIR (default: all)")
    parser.add_argument("--cases", type=int, metavar="N", help="the first N cases of each set (default: all)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep each case's figures here, and go on from them")
    parser.add_argument("-np", type=int, default=1, help="processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
