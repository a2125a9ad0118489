"""Fit the confidence of fused labels and test it on other cases: `python benchmarks/fusion_confidence.py --data DIR`.

DIR is laid out as for benchmarks/propagation.py; without it, phantoms are drawn. The first half of each set's cases
gives the two models of `sparse_annotation_tools.propagation.fusion`; the second half shows whether voxels of confidence
c are right about c of the time, with the models as they are in the package and as fitted now. --picture FILE draws
that.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from propagation import (  # the benchmark beside this one
    SETTINGS,
    Scan,
    find_sets,
    machine,
    made_from,
    object_box,
    read_scan,
)
from scipy.optimize import minimize

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.propagation.chain import propagate
from sparse_annotation_tools.propagation.crossing import find_all_outlines
from sparse_annotation_tools.propagation.fusion import BACKGROUND, FOREGROUND, ConfidenceModel, box_of, gather_evidence
from sparse_annotation_tools.propagation.object_size import Box

SAMPLES = 40_000  # voxels per case
BINS = 10
MODELS = (BACKGROUND, FOREGROUND)
PARTS = {"all": (False, True), "labelled foreground": (True,), "labelled background": (False,)}


def main() -> None:
    """Sample every case, fit on the first halves, print reliability on the second halves."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        sampled = {}
        for name, folder in find_sets(arguments.data or _phantoms(work), arguments.sets):
            cases = sorted((folder / "images").glob("*_0000.nii.gz"))[: arguments.cases]
            names = [path.name for path in cases]
            kept = [f"{path.name.removesuffix('.nii.gz')}-{made_from(__file__, path)}.npz" for path in cases]
            tasks = [(work / f"{name}-{file}", path) for file, path in zip(kept, cases, strict=True)]
            sampled[name] = run_in_processes(sample, tasks, names=names, processes=arguments.np, description=name)
    training = [case for samples in sampled.values() for case in samples[: (len(samples) + 1) // 2]]
    fitted = (fit(training, foreground=False), fit(training, foreground=True))
    for title, model in zip(("BACKGROUND", "FOREGROUND"), fitted, strict=True):
        print(title, {name: round(value, 2) for name, value in asdict(model).items()})
    figures: dict[str, Any] = {}
    for name, samples in sampled.items():
        rest = samples[(len(samples) + 1) // 2 :]
        figures[name] = {"cases": len(rest)}
        for title, models in (("package", MODELS), ("fitted", fitted)):
            found = {part: reliability(rest, models, kept) for part, kept in PARTS.items()}
            figures[name][title] = found
            print_reliability(f"{name}, {len(rest)} cases left out, {title} models", found)
    if arguments.picture:
        draw(figures, arguments.picture)
    models = {"background": asdict(fitted[0]), "foreground": asdict(fitted[1])}
    print(json.dumps({"benchmark": "fusion_confidence", "models": models, "sets": figures, "machine": machine()}))


def sample(path: Path, image: Path) -> dict[str, NDArray[Any]]:
    """Return features [n, 3] that support the label, the label's side and whether it is right, of n undrawn voxels."""
    if path.is_file():
        with np.load(path) as stored:
            return dict(stored)
    scan = read_scan(image)
    near, far, bound, label, box = _evidence(scan)
    truth = scan.truth[box]
    where = np.flatnonzero((object_box(scan) & (scan.annotation.volume() < 0))[box].ravel())
    rng = np.random.default_rng(0)
    chosen = rng.choice(where, min(SAMPLES, len(where)), replace=False)
    features = np.stack([field.ravel()[chosen] for field in (near, far, bound)], axis=1)
    foreground = label.ravel()[chosen] > 0
    found = {
        "features": np.where(foreground[:, None], features, -features),
        "foreground": foreground,
        "right": label.ravel()[chosen] == truth.ravel()[chosen],
    }
    np.savez(path, **found)
    return found


def _evidence(scan: Scan) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], Box]:
    """Return near, far and bound of the likeliest class, and the label, as `fuse` decides it, and the box of them."""
    planes, drawn = scan.annotation.planes, scan.annotation.drawn
    propagated = [
        propagate(scan.image, scan.spacing_mm, axis, index, label, SETTINGS["default"])
        for (axis, index), label in zip(planes, drawn, strict=True)
    ]
    annotation = scan.annotation.volume()
    outlines = find_all_outlines(propagated, planes, annotation, scan.spacing_mm)
    found = dict(gather_evidence(outlines, planes, annotation, scan.classes, scan.spacing_mm))
    best = np.argmax([evidence.near for evidence in found.values()], axis=0)
    near, far, bound = (
        np.asarray(np.choose(best, [getattr(evidence, name) for evidence in found.values()]))
        for name in ("near", "far", "bound")
    )
    return near, far, bound, np.where(near > 0, np.array(list(found), np.uint8)[best], 0), box_of(outlines)


def fit(cases: list[dict[str, NDArray[Any]]], *, foreground: bool) -> ConfidenceModel:
    """Fit a logistic model with weights of at least 0, so that no support ever makes a label less certain."""
    kept = [case["foreground"] == foreground for case in cases]
    features = np.concatenate([case["features"][keep] for case, keep in zip(cases, kept, strict=True)])
    inputs = np.column_stack([features, np.ones(len(features))])
    sign = np.where(np.concatenate([case["right"][keep] for case, keep in zip(cases, kept, strict=True)]), 1.0, -1.0)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (inputs @ weights)
        slope = -(inputs.T @ (sign / (1 + np.exp(margin)))) / len(sign)
        return float(np.logaddexp(0, -margin).mean() + 1e-5 * weights @ weights), slope + 2e-5 * weights

    bounds = [(0, None)] * 3 + [(None, None)]
    near, far, bound, constant = minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B", bounds=bounds).x
    return ConfidenceModel(near=float(near), far=float(far), bound=float(bound), constant=float(constant))


def reliability(
    cases: list[dict[str, NDArray[Any]]], models: tuple[ConfidenceModel, ConfidenceModel], kept: tuple[bool, ...]
) -> dict[str, Any]:
    """Return mean confidence, share that is right, and share of voxels per bin, and the expected calibration error.

    `kept` says which voxels count: those whose fused label is foreground, background, or both.
    """
    counts = [np.isin(case["foreground"], kept) for case in cases]
    features, foreground, right = (
        np.concatenate([case[part][where] for case, where in zip(cases, counts, strict=True)])
        for part in ("features", "foreground", "right")
    )
    features = features.astype(np.float32)
    background_sure, foreground_sure = (model.probability(*features.T) for model in models)
    certain = np.where(foreground, foreground_sure, background_sure)
    which = np.minimum((certain * BINS).astype(int), BINS - 1)
    count = np.bincount(which, minlength=BINS)
    sure, correct = np.bincount(which, certain, BINS), np.bincount(which, right, BINS)
    used = count > 0
    return {
        "confidence": (sure[used] / count[used]).round(4).tolist(),
        "right": (correct[used] / count[used]).round(4).tolist(),
        "share": (count[used] / count.sum()).round(4).tolist(),
        "error": round(float(np.abs(sure - correct).sum() / count.sum()), 4),
    }


def print_reliability(title: str, found: dict[str, dict[str, Any]]) -> None:
    """Print, for people, what `reliability` found for each part of the voxels."""
    print(title)
    for part, rows in found.items():
        print(f"  {part}: expected calibration error {rows['error']:.4f}")
        for row in ("confidence", "right", "share"):
            print(f"    {row:10s} " + " ".join(f"{value:6.3f}" for value in rows[row]))


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw how often voxels of each confidence are right on the cases left out, with the models of the package."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(figures), figsize=(4 * len(figures), 4), squeeze=False)
    for panel, (name, found) in zip(panels[0], figures.items(), strict=True):
        panel.plot((0, 1), (0, 1), color="0.7", linewidth=1)
        for part in list(PARTS)[1:]:
            rows = found["package"][part]
            (line,) = panel.plot(rows["confidence"], rows["right"], label=f"{part} (error {rows['error']:.3f})")
            sizes = 300 * np.sqrt(rows["share"])  # the area of a point grows with the voxels behind it
            panel.scatter(rows["confidence"], rows["right"], sizes, color=line.get_color())
        panel.set(xlim=(0, 1.05), ylim=(0, 1.2), xlabel="confidence", ylabel="share that is right", aspect="equal")
        panel.set_title(f"{name}, {found['cases']} cases left out")
        panel.legend(loc="upper left", fontsize="small")
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _phantoms(folder: Path) -> Path:
    """Draw a set of generated scans."""
    write_phantom_set(folder / "phantoms", labelled=8, unlabelled=0, test=0, shape=(32, 48, 48), classes=2)
    return folder / "phantoms"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="densely labelled scans (default: phantoms)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the reliability, as PNG or PDF")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="which sets of DIR (default: all)")
    parser.add_argument("--cases", type=int, metavar="N", help="the first N cases of each set (default: all)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep each case's samples here, and go on from them")
    parser.add_argument("-np", type=int, default=1, help="processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
