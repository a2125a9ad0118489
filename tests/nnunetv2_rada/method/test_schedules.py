"""The schedules of training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from nnunetv2_rada.method import schedules

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "schedules.json").read_text())
PAPER = 6000


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("peer_weight", lambda t: schedules.peer_weight(t, PAPER)),
        ("alpha", lambda t: schedules.distance_decay(t, PAPER)),
        ("learning_rate", lambda t: schedules.learning_rate(t, PAPER)),
        (
            "entropy_threshold_over_ln_classes",
            lambda t: schedules.entropy_threshold(t, PAPER, 3) / math.log(3),
        ),
    ],
)
def test_schedules_equal_the_reference(name: str, schedule) -> None:
    """At every 250 of the paper's 6000 iterations."""
    assert [schedule(t) for t in REFERENCE["iteration"]] == pytest.approx(REFERENCE[name], abs=1e-12)


@pytest.mark.parametrize("total", [7, 150, 350, 6000, 12000])
def test_schedules_are_fractions_of_training(total: int) -> None:
    """The same fraction gives the same value, for totals that divide into neither 40 nor 12 parts too."""
    for t in range(total + 1):
        assert schedules.peer_weight(t, total) == schedules.peer_weight(10 * t, 10 * total)
        assert schedules.distance_decay(t, total) == schedules.distance_decay(10 * t, 10 * total)
        assert schedules.learning_rate(t, total) == schedules.learning_rate(10 * t, 10 * total)


@pytest.mark.parametrize("total", [7, 350, 6000])
def test_schedules_are_monotone(total: int) -> None:
    """Peers gain weight and trust; distance weight and learning rate fall."""
    times = range(total + 1)
    for rising in (
        [schedules.peer_weight(t, total) for t in times],
        [schedules.peer_weight(t, total, "literal") for t in times],
        [schedules.entropy_threshold(t, total, 2) for t in times],
        [-schedules.distance_decay(t, total) for t in times],
        [-schedules.learning_rate(t, total) for t in times],
    ):
        assert rising == sorted(rising)
        assert rising[0] < rising[-1]


def test_the_learning_rate_drops_at_exactly_five_and_ten_twelfths() -> None:
    """2500 and 5000 of 6000."""
    rates = [schedules.learning_rate(t, PAPER) for t in (2499, 2500, 4999, 5000)]
    assert rates == pytest.approx([0.01, 0.001, 0.001, 0.0001])


def test_every_unsupervised_weight_follows_the_same_ramp() -> None:
    """exp(-5 (1 - k/40)^2): exp(-5) at first, exp(-5/4) half way, 1 at the end; b is a tenth of it."""
    assert schedules.ramp(0, 6000) == pytest.approx(math.exp(-5))
    assert schedules.ramp(3000, 6000) == schedules.ramp(3149, 6000) == pytest.approx(math.exp(-1.25))
    assert schedules.ramp(6000, 6000) == 1
    assert schedules.peer_weight(3000, 6000) == pytest.approx(0.1 * math.exp(-1.25))


def test_literal_beta_rises_from_a_tenth_to_one() -> None:
    """b is half of beta."""
    assert schedules.peer_weight(0, PAPER, "literal") == pytest.approx(0.05)
    assert schedules.peer_weight(149, PAPER, "literal") == pytest.approx(0.05)
    assert schedules.peer_weight(150, PAPER, "literal") == pytest.approx((0.1 + 0.9 / 40) / 2)
    assert schedules.peer_weight(PAPER, PAPER, "literal") == pytest.approx(0.5)


def test_a_number_fixes_beta_and_alpha() -> None:
    """Whatever the iteration."""
    assert {schedules.peer_weight(t, PAPER, 0.3) for t in (0, 3000, 6000)} == {0.15}
    assert {schedules.distance_decay(t, PAPER, 0.9) for t in (0, 3000, 6000)} == {0.9}


def test_an_unknown_schedule_is_named() -> None:
    """With what is known."""
    with pytest.raises(ValueError, match="rampup, literal or a number; got 'ramp'"):
        schedules.peer_weight(0, PAPER, "ramp")
    with pytest.raises(ValueError, match="cosine or a number; got 'linear'"):
        schedules.distance_decay(0, PAPER, "linear")


def test_the_polynomial_rate_is_that_of_nnunet() -> None:
    """At every epoch's start, for its number of epochs."""
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.01)
    scheduler = PolyLRScheduler(optimizer, 0.01, 1000)
    for epoch in (0, 1, 500, 999):
        scheduler.step(epoch)
        assert schedules.polynomial_learning_rate(epoch, 1000) == pytest.approx(optimizer.param_groups[0]["lr"])
