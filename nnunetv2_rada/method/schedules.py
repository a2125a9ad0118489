"""Schedules over training, in integer form so that they are exact for any number of iterations (paper: 6000).

`iteration` counts from 0, `total` is the number of iterations; equal to `total` is allowed.
"""

from __future__ import annotations

import math

STEPS = 40  # the paper's "every 150 iterations" of 6000
ALPHA_RESETS = 6  # alpha is set again every 1000 of 6000 iterations
FIRST_ALPHA = 0.97  # until the first reset


def _step(iteration: int, total: int) -> int:
    """k = 0..40, the paper's floor(t / 150)."""
    return STEPS * iteration // total


def ramp(iteration: int, total: int) -> float:
    """Return exp(-5 (1 - k/40)^2), the Gaussian ramp that every unsupervised weight follows: from .0067 to 1."""
    return math.exp(-5 * (1 - _step(iteration, total) / STEPS) ** 2)


def peer_weight(iteration: int, total: int, schedule: str | float = "rampup") -> float:
    """Return b = beta / 2, the weight of each peer's term; the supervised term has 1 - 2b (eq. 11).

    Departure from the paper: it says that beta is initialised to 0.1 and increases every 150 iterations. In the code
    it builds on 0.1 is the ceiling of b, reached by a Gaussian ramp: that is `rampup`. `literal` is our reading of the
    paper's words, beta = 0.1 + 0.9 k / 40. A number is a fixed beta, as in its figure 4.

    Raises:
        ValueError: unknown schedule.
    """
    k = _step(iteration, total)
    if schedule == "rampup":
        return 0.1 * ramp(iteration, total)
    if schedule == "literal":
        return (0.1 + 0.9 * k / STEPS) / 2
    if isinstance(schedule, str):
        raise ValueError(f"beta schedule must be rampup, literal or a number; got {schedule!r}")
    return schedule / 2


def distance_decay(iteration: int, total: int, schedule: str | float = "cosine") -> float:
    """Return alpha, the base of the distance weight alpha**d (eq. 6).

    .97 in the first sixth of training, then set again at each further sixth to a value of a falling cosine:
    .945, .761, .5, .273, .074. A number is a fixed alpha.

    Raises:
        ValueError: unknown schedule.
    """
    if schedule == "cosine":
        sixth = ALPHA_RESETS * iteration // total
        if sixth == 0:
            return FIRST_ALPHA
        k = STEPS * sixth // ALPHA_RESETS
        return 0.5 * (math.cos(math.pi * k / STEPS) + 1)
    if isinstance(schedule, str):
        raise ValueError(f"alpha schedule must be cosine or a number; got {schedule!r}")
    return schedule


def learning_rate(iteration: int, total: int, initial: float = 0.01) -> float:
    """Return the learning rate: a tenth at 5/12 and a hundredth at 10/12 of training (2500 and 5000 of 6000).

    Departure from the paper's code base, which lets only the first network's rate fall: it falls for all.
    """
    drops = (12 * iteration >= 5 * total) + (12 * iteration >= 10 * total)
    return initial * 0.1**drops


def polynomial_learning_rate(iteration: int, total: int, initial: float = 0.01) -> float:
    """Return nnU-Net's learning rate: initial (1 - t/total)^.9."""
    return initial * math.pow(1 - iteration / total, 0.9)


def entropy_threshold(iteration: int, total: int, num_classes: int) -> float:
    """Return H(t) in nats: a peer is trusted where its predictive entropy is below it (eq. 10).

    Rises from .752 to 1 times the largest possible entropy, ln(num_classes).
    """
    return (0.75 + 0.25 * math.exp(-5 * (1 - iteration / total) ** 2)) * math.log(num_classes)
