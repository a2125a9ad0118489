"""Spread over seeds, paired differences, bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunetv2_rada.compare.statistics import bootstrap_interval, paired_difference, summary


def _scores(*dice: float | None) -> dict[str, Any]:
    known = [value for value in dice if value is not None]
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {
        "cases": {f"case_{k}": {"organ": {"dice": value}} for k, value in enumerate(dice)},
        "mean": {"organ": {"dice": float(np.mean(known)) if known else None}},
        "sd": {"organ": {"dice": sd}},
    }


def test_spread_over_cases_and_over_seeds_are_two_numbers() -> None:
    """By hand: means .5 and .7; within each seed a standard deviation of sqrt(.02)."""
    found = summary([_scores(0.4, 0.6), _scores(0.6, 0.8)], "organ", "dice")
    assert found.mean == pytest.approx(0.6)
    assert found.sd_cases == pytest.approx(np.sqrt(0.02))
    assert found.sd_seeds == pytest.approx(np.sqrt(0.02))
    assert summary([_scores(0.4, 0.6)], "organ", "dice").sd_seeds is None


def test_differences_are_paired_by_case_and_averaged_over_common_seeds() -> None:
    """A seed that only one of them has tells nothing about the difference."""
    row = {0: _scores(0.5, 0.7), 1: _scores(0.0, 0.0)}
    reference = {0: _scores(0.6, 0.9)}
    found = paired_difference(row, reference, "organ", "dice")
    assert found is not None
    assert (found.mean, found.cases) == (pytest.approx(-0.15), 2)
    assert found.low == pytest.approx(-0.2)
    assert found.high == pytest.approx(-0.1)


def test_a_constant_shift_has_an_interval_without_width() -> None:
    """However much the cases differ among themselves: that is what pairing is for."""
    row, reference = {0: _scores(0.1, 0.5, 0.9)}, {0: _scores(0.05, 0.45, 0.85)}
    found = paired_difference(row, reference, "organ", "dice")
    assert found is not None
    assert found.low == pytest.approx(found.high) == pytest.approx(0.05)


def test_undefined_measures_are_left_out_in_pairs() -> None:
    """A case without a distance in one of the rows is in neither mean."""
    found = paired_difference({0: _scores(0.5, None)}, {0: _scores(0.4, 0.9)}, "organ", "dice")
    assert found is not None
    assert (found.mean, found.cases) == (pytest.approx(0.1), 1)
    assert paired_difference({0: _scores(None)}, {0: _scores(0.9)}, "organ", "dice") is None


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """95 % of 200 normal samples of 30, give or take what the percentile bootstrap lacks at this size."""
    generator = np.random.default_rng(0)
    intervals = [bootstrap_interval(generator.normal(size=30).tolist()) for _ in range(200)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.89 <= covered <= 0.98
    assert bootstrap_interval([0.1, 0.2, 0.4]) == bootstrap_interval([0.1, 0.2, 0.4])
