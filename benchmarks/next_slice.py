"""Measure suggested slices on densely labelled scans: run `python benchmarks/next_slice.py --data DIR`.

DIR holds labelled/images and labelled/labels. Two questions are put, and the dense label is read only to score, but for
the ways marked *, which no annotator has.

First slices of an unlabelled scan: the share of the largest slice's area that each view's slice shows

  middle       the middle slice of the scan
  sgtc         the fixed slices of SGTC's code for LA2018 (w/2, h/2, 32 of 88)
  suggested    through the centre of the image's edges
  point *      through the centre of the true organ, as if the user had pointed at it
  reference    the first scan's dense label, registered; that scan itself is left out

Next slices, after the largest slice of each view: the Dice of the fused label when 1, 2, 3 further slices are drawn

  doubt        the slice of largest expected error, by the confidence of the fused label, as --predictions does
  between      by the drawn slices alone, as --labels does
  random       any slice through the organ's true box, the mean of several seeds
  area *       the largest remaining slice, far from drawn ones
  error *      as doubt, but by the true errors of the fused label
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from propagation import Scan, dice, label_of, machine, made_from, read_scan  # the benchmark beside this one
from scipy import ndimage

from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.files.volumes import read_label, read_volume
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import Plane, annotation_volume, axes_of_views, on_plane
from sparse_annotation_tools.suggestion.doubt import doubt_of_confidence
from sparse_annotation_tools.suggestion.reference import carry_label
from sparse_annotation_tools.suggestion.rules import (
    areas_from_slices,
    areas_of_label,
    centre_of_edges,
    next_by_area,
    next_by_doubt,
    slices_through,
)
from sparse_annotation_tools.suggestion.scan import side_mm

FURTHER = 3
SGTC_DEPTH = 32 / 88

Volume = NDArray[np.uint8]


def main() -> None:
    """Measure every case, print two tables and one line of JSON."""
    arguments = _parse()
    images = sorted((arguments.data / "labelled" / "images").glob("*_0000.nii.gz"))[: arguments.cases]
    if len(images) < 2:
        raise SystemExit(f"{arguments.data} holds {len(images)} scans in labelled/images, expected two or more")
    start = [(path, images[0]) for path in images]
    names = [path.name for path in images]
    first = run_in_processes(measure_first, start, names=names, processes=arguments.np, description="first slices")
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        kept = {path: f"{path.name.removesuffix('.nii.gz')}-{made_from(__file__, path)}" for path in images}
        tasks = [(path, arguments.seeds, work / folder) for path, folder in kept.items()]
        further = run_in_processes(measure_next, tasks, names=names, processes=arguments.np, description="next slices")
    figures = {"cases": len(images), "seeds": arguments.seeds, "first": average(first), "next": compare(further)}
    print_first(figures["first"])
    print_next(figures["next"])
    cpu_s = sum(each["cpu_s"] for each in (*first, *further))
    print(json.dumps({"benchmark": "next_slice", **figures, "cpu_s": round(cpu_s, 1), "machine": machine()}))


def measure_first(image: Path, reference: Path) -> dict[str, Any]:
    """Return the share of the largest area per way and view."""
    start = time.process_time()
    volume = read_volume(image)
    truth = read_label(label_of(image)).array
    spacing, shape, axes = volume.geometry.spacing_mm, truth.shape, axes_of_views(volume.geometry.direction)
    points = {
        "middle": [(side - 1) / 2 for side in shape],
        "sgtc": [side * (SGTC_DEPTH if axis == axes["axial"] else 0.5) for axis, side in enumerate(shape)],
        "suggested": centre_of_edges(volume.array, spacing),
        "point *": ndimage.center_of_mass(truth > 0),
    }
    ways = {way: slices_through(point, shape, axes) for way, point in points.items()}
    if image != reference:
        carried = carry_label(read_volume(reference), read_label(label_of(reference)).array, volume)
        ways["reference"] = next_by_area(areas_of_label(carried, spacing, axes), spacing, axes, (), len(VIEWS))
    areas = areas_of_label(truth, spacing, axes)
    shares = {
        way: {each.view: float(areas[each.view][each.plane[1]] / areas[each.view].max()) for each in slices}
        for way, slices in ways.items()
    }
    return {"shares": shares, "cpu_s": time.process_time() - start}


class Drawn:
    """A scan on which more and more slices are drawn; every slice is propagated once, and kept in a folder."""

    def __init__(self, scan: Scan, kept: Path) -> None:
        self.scan = scan
        self.kept = kept

    def annotation(self, planes: Sequence[Plane]) -> NDArray[np.int16]:
        """The truth on the planes."""
        return annotation_volume(self.scan.truth.shape, planes, [self.scan.truth[on_plane(plane)] for plane in planes])

    def fused(self, planes: Sequence[Plane]) -> tuple[Volume, Volume]:
        """Label and confidence from these slices."""
        propagated = np.stack([self.propagated(plane) for plane in planes])
        return fuse(propagated, planes, self.annotation(planes), self.scan.classes, self.scan.spacing_mm)

    def propagated(self, plane: Plane) -> Volume:
        """The label carried from one slice."""
        axis, index = plane
        path = self.kept / f"{axis}_{index}.npz"
        if path.is_file():
            with np.load(path) as stored:
                return np.asarray(stored["label"])
        drawn = np.ascontiguousarray(self.scan.truth[on_plane(plane)])
        label = propagate(self.scan.image, self.scan.spacing_mm, axis, index, drawn, PropagationSettings())
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, label=label)
        return label


Choose = Callable[[Drawn, list[Plane]], Plane]


def measure_next(image: Path, seeds: int, kept: Path) -> dict[str, Any]:
    """Return the Dice after 0 to `FURTHER` further slices per way; of `random`, one list per seed."""
    start = time.process_time()
    scan = read_scan(image)
    axes = axes_of_views(read_volume(image).geometry.direction)
    drawn = Drawn(scan, kept)
    found: dict[str, list[list[float]]] = {}
    for way, choose in ways_to_choose(axes).items():
        found[way] = [_dice_of(drawn, choose)]
    found["random"] = [_dice_of(drawn, _random(seed)) for seed in range(seeds)]
    return {"dice": found, "cpu_s": time.process_time() - start}


def ways_to_choose(axes: dict[str, int]) -> dict[str, Choose]:
    """Return how each way chooses one more slice."""

    def doubt(drawn: Drawn, planes: list[Plane]) -> Plane:
        label, confidence = drawn.fused(planes)
        spacing, wrong = drawn.scan.spacing_mm, doubt_of_confidence(confidence)
        return next_by_doubt(wrong, spacing, axes, planes, 1, size_mm=side_mm(label, spacing))[0].plane

    def between(drawn: Drawn, planes: list[Plane]) -> Plane:
        areas = areas_from_slices(drawn.annotation(planes), planes, drawn.scan.spacing_mm, axes)
        return next_by_area(areas, drawn.scan.spacing_mm, axes, planes, 1)[0].plane

    def area(drawn: Drawn, planes: list[Plane]) -> Plane:
        areas = areas_of_label(drawn.scan.truth, drawn.scan.spacing_mm, axes)
        return next_by_area(areas, drawn.scan.spacing_mm, axes, planes, 1)[0].plane

    def error(drawn: Drawn, planes: list[Plane]) -> Plane:
        label, _ = drawn.fused(planes)
        wrong, spacing = (label != drawn.scan.truth).astype(np.float32), drawn.scan.spacing_mm
        return next_by_doubt(wrong, spacing, axes, planes, 1, size_mm=side_mm(label, spacing))[0].plane

    return {"doubt": doubt, "between": between, "area *": area, "error *": error}


def _random(seed: int) -> Choose:
    rng = np.random.default_rng(seed)

    def choose(drawn: Drawn, planes: list[Plane]) -> Plane:
        through_organ = [
            (axis, int(index))
            for axis in range(3)
            for index in np.flatnonzero(drawn.scan.truth.any(axis=tuple(other for other in range(3) if other != axis)))
            if (axis, int(index)) not in planes
        ]
        return through_organ[int(rng.integers(len(through_organ)))]

    return choose


def _dice_of(drawn: Drawn, choose: Choose) -> list[float]:
    planes = list(drawn.scan.annotation.planes)
    scores = []
    for further in range(FURTHER + 1):
        if further:
            planes.append(choose(drawn, planes))
        label, _ = drawn.fused(planes)
        scores.append(dice(label, drawn.scan.truth, drawn.scan.classes))
    return scores


def average(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and worst share per way and view."""
    ways = dict.fromkeys(way for case in cases for way in case["shares"])
    found: dict[str, Any] = {}
    for way in ways:
        shares = np.array([[case["shares"][way][view] for view in VIEWS] for case in cases if way in case["shares"]])
        found[way] = {
            **dict(zip(VIEWS, shares.mean(axis=0).round(4).tolist(), strict=True)),
            "mean": round(float(shares.mean()), 4),
            "worst": round(float(shares.min()), 4),
            "empty": int((shares == 0).sum()),
        }
    return found


def compare(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean Dice per way and number of further slices, and how it differs from random, case by case."""
    found: dict[str, Any] = {}
    seeds = np.array([case["dice"]["random"] for case in cases])  # case, seed, further
    random = seeds.mean(axis=1)
    for way in cases[0]["dice"]:
        scores = random if way == "random" else np.array([case["dice"][way][0] for case in cases])
        gain = scores - random
        found[way] = {
            "dice": scores.mean(axis=0).round(4).tolist(),
            "over_random": gain.mean(axis=0).round(4).tolist(),
            "standard_error": (gain.std(axis=0, ddof=1) / np.sqrt(len(gain))).round(4).tolist(),
            "cases_better_than_random": (gain > 0).sum(axis=0).tolist(),
            "share_of_seeds_beaten": (scores[:, None] > seeds).mean(axis=(0, 1)).round(3).tolist(),
        }
    return found


def print_first(figures: dict[str, Any]) -> None:
    """Print the shares for people."""
    print("\nfirst slices: share of the largest slice's area")
    print(f"{'':12s}" + "".join(f"{name:>10s}" for name in (*VIEWS, "mean", "worst", "empty")))
    for way, found in figures.items():
        print(
            f"{way:12s}"
            + "".join(f"{found[name]:10.3f}" for name in (*VIEWS, "mean", "worst"))
            + f"{found['empty']:10d}"
        )


def print_next(figures: dict[str, Any]) -> None:
    """Print the Dice for people."""
    print("\nnext slices: Dice of the fused label (difference from random +- its standard error; cases better)")
    print(f"{'':12s}{'3 slices':>10s}" + "".join(f"   {f'+{n}':30s}" for n in range(1, FURTHER + 1)))
    for way, found in figures.items():
        row = f"{way:12s}{found['dice'][0]:10.4f}"
        for n in range(1, FURTHER + 1):
            gain, error = found["over_random"][n], found["standard_error"][n]
            better = found["cases_better_than_random"][n]
            note = "" if way == "random" else f"({gain:+.4f} +- {error:.4f}; {better})"
            row += f"   {found['dice'][n]:.4f} {note:23s}"
        print(row)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split(":")[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="one set of densely labelled scans")
    parser.add_argument("--cases", type=int, metavar="N", help="the first N cases (default: all)")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="random choices per case (default 5)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep propagated slices here, and go on from them")
    parser.add_argument("-np", type=int, default=1, help="processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
