"""Time the metrics of one case at 128x256x256 against plain scipy: run `python benchmarks/metrics.py`.

Plain scipy is how the common metric packages work: each distance erodes both whole volumes and transforms one or two of
them, once for HD95, once for ASD, once for ASSD.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.evaluation.metrics import METRICS, label_metrics

SHAPE = (128, 256, 256)
SPACING_MM = (1.0, 0.6, 0.6)
PUBLISHED_SECONDS = 15.7  # medpy, HD95 + ASD + ASSD of one such case


def organ(seed: int) -> NDArray[np.uint8]:
    """A bumpy ellipsoid of about half a million voxels: two of them overlap like a fair segmentation and its truth."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 8)
    radius = 0.5 + 0.05 * noise / noise.std()
    axes = np.ix_(*(np.linspace(-1, 1, length) for length in SHAPE))
    inside: NDArray[np.uint8] = (sum(axis**2 for axis in axes) < radius**2).astype(np.uint8)
    return inside


def plain(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """The five measures in mm from whole volumes, each distance on its own."""

    def directed(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
        surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
        distances: NDArray[np.float64] = ndimage.distance_transform_edt(~surfaces[1], SPACING_MM)[surfaces[0]]
        return distances

    def both() -> NDArray[np.float64]:
        return np.concatenate([directed(prediction, truth), directed(truth, prediction)])

    overlap, total = int((prediction & truth).sum()), int(prediction.sum()) + int(truth.sum())
    return {
        "dice": 2 * overlap / total,
        "jaccard": overlap / (total - overlap),
        "hd95_mm": float(np.percentile(both(), 95)),
        "asd_mm": float(directed(prediction, truth).mean()),
        "assd_mm": float(both().mean()),
    }


def timed(run: Callable[[], dict[str, float]], repeats: int) -> tuple[float, dict[str, float]]:
    """CPU-seconds of the fastest of some runs, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def main() -> None:
    """Time both, check that they agree, print a table and one line of JSON."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    prediction, truth = organ(0), organ(1)
    ours_s, ours = timed(lambda: label_metrics(prediction, truth, [1], SPACING_MM)[1], repeats=5)
    plain_s, expected = timed(lambda: plain(prediction == 1, truth == 1), repeats=1)
    difference = max(abs(ours[name] - value) for name, value in expected.items())

    print(f"one case of {'x'.join(map(str, SHAPE))} voxels, organ of {int(truth.sum())} voxels, CPU-seconds")
    print(f"  plain scipy, {len(expected)} measures      {plain_s:8.2f}")
    print(f"  this project, {len(METRICS)} measures     {ours_s:8.2f}")
    print(f"  ratio                        {plain_s / ours_s:8.1f}")
    print(f"  largest difference           {difference:8.1e}")
    print(f"  medpy as published           {PUBLISHED_SECONDS:8.2f}")
    print(
        json.dumps(
            {
                "benchmark": "metrics",
                "plain_cpu_s": round(plain_s, 3),
                "ours_cpu_s": round(ours_s, 3),
                "ratio": round(plain_s / ours_s, 1),
                "ratio_to_published_medpy": round(PUBLISHED_SECONDS / ours_s, 1),
                "largest_difference": difference,
                "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
            }
        )
    )


if __name__ == "__main__":
    main()
