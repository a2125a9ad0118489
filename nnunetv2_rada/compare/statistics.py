"""Scores of several seeds: mean, spread, and paired differences with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MEASURES = ("dice", "jaccard", "hd95_voxel", "asd_voxel", "hd95_mm", "asd_mm")
"""What is tabled: the paper's four measures, and its distances in millimetres."""
RESAMPLES = 10_000
CONFIDENCE = 0.95

Scores = Mapping[str, Any]
"""The content of a result file of rada-evaluate."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One measure of one class over seeds.

    Attributes:
        mean: over seeds, of the mean over test cases.
        sd_cases: standard deviation over test cases, the mean of the seeds'.
        sd_seeds: standard deviation of the seeds' means; None of fewer than two.
    """

    mean: float | None
    sd_cases: float | None
    sd_seeds: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference to another row: its mean over test cases, and a bootstrap interval of that mean."""

    mean: float
    low: float
    high: float
    cases: int


def summary(seeds: Sequence[Scores], name: str, measure: str) -> Summary:
    """Summarise one measure of class `name` over seeds."""
    means = [value for scores in seeds if (value := scores["mean"][name][measure]) is not None]
    sds = [value for scores in seeds if (value := scores["sd"][name][measure]) is not None]
    return Summary(
        mean=float(np.mean(means)) if means else None,
        sd_cases=float(np.mean(sds)) if sds else None,
        sd_seeds=float(np.std(means, ddof=1)) if len(means) > 1 else None,
    )


def paired_difference(
    row: Mapping[int, Scores], reference: Mapping[int, Scores], name: str, measure: str
) -> Difference | None:
    """Return row minus reference on the same test cases, each averaged over seeds; None without common cases.

    Seeds that both have are compared; where they have none in common, all are. A case in which the measure is undefined
    for a seed is averaged over the other seeds, and left out where it is undefined for all.

    Args:
        row: scores by seed.
        reference: scores by seed.
        name: the class.
        measure: one of rada-evaluate's.
    """
    common = row.keys() & reference.keys()
    ours = _case_means([row[seed] for seed in sorted(common or row.keys())], name, measure)
    theirs = _case_means([reference[seed] for seed in sorted(common or reference.keys())], name, measure)
    differences = [ours[case] - theirs[case] for case in sorted(ours.keys() & theirs.keys())]
    if not differences:
        return None
    low, high = bootstrap_interval(differences)
    return Difference(mean=float(np.mean(differences)), low=low, high=high, cases=len(differences))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean, over test cases drawn with replacement."""
    array = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(array), size=(RESAMPLES, len(array)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(array[drawn].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def _case_means(seeds: Sequence[Scores], name: str, measure: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for scores in seeds:
        for case, classes in scores["cases"].items():
            if classes[name][measure] is not None:
                values.setdefault(case, []).append(classes[name][measure])
    return {case: float(np.mean(of_case)) for case, of_case in values.items()}
