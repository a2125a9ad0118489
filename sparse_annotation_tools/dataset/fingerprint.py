"""nnU-Net's dataset fingerprint, with intensity statistics of annotated foreground only.

nnU-Net takes every label above 0 for foreground, `ignore` included. On sparse labels its statistics are therefore those
of the whole scan, and on CT they set the normalisation. It keeps a fingerprint that exists already, so a correct one is
put in place before planning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE_NAME = "dataset_fingerprint.json"


@dataclass(frozen=True, kw_only=True)
class CaseMeasure:
    """What the fingerprint takes from one case.

    Attributes:
        spacing_mm: array order (z, y, x).
        shape_after_crop: (z, y, x) of the box around the voxels that are not 0.
        relative_size: voxels of that box over voxels of the scan.
        intensities: [C, n] of the n annotated foreground pixels; n is 0 for an unlabelled case.
    """

    spacing_mm: tuple[float, float, float]
    shape_after_crop: tuple[int, int, int]
    relative_size: float
    intensities: NDArray[np.float32]


def measure_case(
    channels: Sequence[NDArray[Any]], spacing_mm: tuple[float, float, float], annotation: NDArray[np.int16] | None
) -> CaseMeasure:
    """Measure one case.

    Args:
        channels: C arrays (z, y, x).
        spacing_mm: array order (z, y, x).
        annotation: (z, y, x), -1 where nobody annotated; None for an unlabelled case.
    """
    nonzero = np.logical_or.reduce([channel != 0 for channel in channels])
    sides = []
    for axis in range(3):
        occupied = np.flatnonzero(nonzero.any(axis=tuple(other for other in range(3) if other != axis)))
        # nnU-Net keeps the whole scan where nothing is above 0.
        sides.append(int(occupied[-1] - occupied[0]) + 1 if len(occupied) else nonzero.shape[axis])
    drawn = np.zeros(nonzero.shape, dtype=bool) if annotation is None else annotation > 0
    return CaseMeasure(
        spacing_mm=spacing_mm,
        shape_after_crop=(sides[0], sides[1], sides[2]),
        relative_size=float(np.prod(sides) / nonzero.size),
        intensities=np.stack([channel[drawn].astype(np.float32) for channel in channels]),
    )


def make_fingerprint(cases: Sequence[CaseMeasure]) -> dict[str, Any]:
    """Return the content of `dataset_fingerprint.json`; cases in the order of their identifiers.

    Every case with foreground has the same weight, as in nnU-Net, which draws the same number of samples from each.
    """
    labelled = [case.intensities for case in cases if case.intensities.shape[1]]
    weights = np.concatenate([np.full(each.shape[1], 1 / each.shape[1]) for each in labelled])
    channels = range(labelled[0].shape[0])
    return {
        "spacings": [list(case.spacing_mm) for case in cases],
        "shapes_after_crop": [list(case.shape_after_crop) for case in cases],
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(np.concatenate([each[channel] for each in labelled]), weights)
            for channel in channels
        },
        "median_relative_size_after_cropping": float(np.median([case.relative_size for case in cases])),
    }


def _statistics(values: NDArray[np.float32], weights: NDArray[np.float64]) -> dict[str, float]:
    order = np.argsort(values, kind="stable")
    values, weights = values[order].astype(np.float64), weights[order] / weights.sum()
    # Each value sits in the middle of its share of the whole: this is the usual percentile when all weights are equal.
    middle = np.cumsum(weights) - 0.5 * weights
    low, median, high = np.interp((0.005, 0.5, 0.995), middle, values)
    mean = float(np.sum(weights * values))
    return {
        "mean": mean,
        "median": float(median),
        "std": float(np.sqrt(np.sum(weights * (values - mean) ** 2))),
        "min": float(values[0]),
        "max": float(values[-1]),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }
