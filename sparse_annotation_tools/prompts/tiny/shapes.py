"""Outlines of drawn organs: functions of the plane that are positive inside.

A shape takes coordinates u, v in units of the organ's half-length and numbers drawn once per organ, and returns
roughly the distance to the outline, positive inside.
"""

# numpy's functions of arrays are typed Any:
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Numbers = NDArray[np.float64]
Shape = Callable[[Plane, Plane, Numbers], Plane]

NUMBERS = 8
"""How many numbers, uniform in 0..1, vary the shape of one organ."""


def disc(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A nearly round disc."""
    return _ellipse(u, v, 1.0, 0.85 + 0.3 * numbers[0])


def oval(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """An oblong with blunt ends."""
    short, power = 0.55 + 0.2 * numbers[0], 2.2 + 1.5 * numbers[1]
    radius: Plane = (np.abs(u) ** power + np.abs(v / short) ** power) ** (1 / power)
    return (1 - radius) * short


def bean(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """An ellipse with a notch in one long side."""
    short = 0.58 + 0.12 * numbers[0]
    notch = np.hypot((u - 0.3 * (numbers[1] - 0.5)) / 0.8, v - short - 0.1) - (0.35 + 0.15 * numbers[2])
    return np.minimum(_ellipse(u, v, 1.0, short), notch)


def wedge(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A triangle with round corners, thick at one end."""
    sides = [
        0.62 - (-0.25 + 0.3 * numbers[0]) * u - v,
        0.75 + (0.34 + 0.08 * numbers[1]) * u + 0.9 * v,
        0.75 + (0.8 + 0.1 * numbers[2]) * u - 0.2 * v,
        0.95 - np.hypot(u, v),
    ]
    sharpness = 9.0
    return -np.log(sum(np.exp(-sharpness * side) for side in sides)) / sharpness


def crescent(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A disc with a large bite out of it."""
    bite = np.hypot(u, v - 0.55 - 0.15 * numbers[0]) - (0.78 + 0.12 * numbers[1])
    return np.minimum(1 - np.hypot(u, v), bite)


def half_disc(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A D: one side flat or hollow."""
    flat = v + 0.25 + 0.2 * numbers[0] - 0.25 * numbers[1] * u**2
    return np.minimum(_ellipse(u, v, 1.0, 0.8 + 0.2 * numbers[2]), flat)


def ring_with_arch(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A block with an arch and a spike behind it, as a vertebra is cut."""
    block = 0.52 + 0.08 * numbers[0] - np.hypot(u, (v + 0.42) * 1.15)
    arch = 0.13 + 0.05 * numbers[1] - np.abs(np.hypot(u, v - 0.22) - 0.36)
    spike = np.minimum(0.11 - np.abs(u), 0.42 - np.abs(v - 0.62))
    wings = np.minimum(0.1 - np.abs(v - 0.18), 0.75 + 0.15 * numbers[2] - np.abs(u))
    wings = np.minimum(wings, np.abs(u) - 0.25)
    return np.maximum.reduce([block, arch, spike, wings])


def body_with_stubs(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A rounded body from which two to four short tubes leave, as veins leave the left atrium."""
    level = _ellipse(u, v, 0.68 + 0.1 * numbers[0], 0.5 + 0.12 * numbers[1])
    count = 2 + int(numbers[2] * 2.999)
    for stub in range(count):
        angle = np.deg2rad((35, 145, 215, 325)[stub] + 30 * (numbers[3 + stub] - 0.5))
        level = np.maximum(level, _capsule(u, v, np.cos(angle), 0.75 * np.sin(angle), 0.12 + 0.05 * numbers[7]))
    return level


def comma(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """An arc, thick at its head and thin at its tail."""
    radius, start, span = 0.72, 0.15, np.deg2rad(130 + 60 * numbers[0])
    angle = np.mod(np.arctan2(v + 0.25, u) - start, 2 * np.pi)
    along = np.clip(angle / span, 0, 1)
    along = np.where(angle > (span + 2 * np.pi) / 2, 0, along)
    nearest = along * span + start
    thickness = (0.36 + 0.06 * numbers[1]) * (1 - along) + (0.1 + 0.06 * numbers[2]) * along
    return thickness - np.hypot(u - radius * np.cos(nearest), v + 0.25 - radius * np.sin(nearest))


def two_horns(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """Two slender horns side by side that bend apart, as the lateral ventricles are cut."""
    gap, bend = 0.08 + 0.1 * numbers[0], 0.3 + 0.3 * numbers[1]
    middle = 0.12 + gap + bend * v**2
    width = (0.2 + 0.08 * numbers[2]) * (1 - 0.45 * np.abs(v))
    return np.minimum(width - np.abs(np.abs(u) - middle), 0.9 - np.abs(v))


def star(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A blob with a ragged outline."""
    angle = np.arctan2(v, u)
    radius = 0.72 + sum(
        (0.07 + 0.09 * numbers[k % NUMBERS]) * np.cos((k + 3) * angle + 40 * numbers[(k + 3) % NUMBERS])
        for k in range(4)
    )
    return radius - np.hypot(u, v)


def wavy_disc(u: Plane, v: Plane, numbers: Numbers) -> Plane:
    """A disc with a gently folded outline."""
    angle = np.arctan2(v, u)
    folds = 5 + int(4 * numbers[0])
    return 0.88 + 0.07 * np.cos(folds * angle + 6 * numbers[1]) - np.hypot(u, v * (0.9 + 0.3 * numbers[2]))


def _ellipse(u: Plane, v: Plane, long: float, short: float) -> Plane:
    return (1 - np.hypot(u / long, v / short)) * short


def _capsule(u: Plane, v: Plane, end_u: float, end_v: float, radius: float) -> Plane:
    """A thick line from the origin to an end point."""
    along = np.clip((u * end_u + v * end_v) / (end_u**2 + end_v**2), 0, 1)
    return radius - np.hypot(u - along * end_u, v - along * end_v)
