"""How fast a trainer is, measured from nnU-Net's log while it trains."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from sparse_annotation_tools.files.atomic import write_json


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds an iteration takes, with its share of validation batches and checkpoints.

    Attributes:
        wall: by the clock.
        cpu: of all processes of the training; None where it cannot be told.
    """

    wall: float
    cpu: float | None

    def seconds(self, device: str) -> float:
        """Return what budgets are counted in: CPU seconds on a CPU, seconds by the clock on other devices."""
        return self.cpu if device == "cpu" and self.cpu is not None else self.wall


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Seconds of one epoch; `first` of a command, whose start-up is in it."""

    wall: float
    cpu: float | None
    first: bool


class EpochClock:
    """Times epochs from the lines of nnU-Net's training log.

    Args:
        cpu: returns the CPU seconds that the training took so far, or None.
        now: returns the clock's seconds.
    """

    def __init__(self, cpu: Callable[[], float | None], now: Callable[[], float] = time.monotonic) -> None:
        self._cpu, self._now = cpu, now
        self._begin: tuple[float, float | None] | None = None
        self._first = True

    def __call__(self, line: str) -> Epoch | None:
        """Take one line; return the epoch that it ends."""
        if self._begin is None and re.search(r"\bEpoch \d+\s*$", line):
            self._begin = (self._now(), self._cpu())
        elif self._begin is not None and re.search(r"\bEpoch time: ", line):
            (wall, cpu), now, used = self._begin, self._now(), self._cpu()
            epoch = Epoch(
                wall=now - wall, cpu=None if cpu is None or used is None else max(0.0, used - cpu), first=self._first
            )
            self._begin, self._first = (now, used), False
            return epoch
        return None


class SpeedFile:
    """The epochs of one training that were timed, over all its continuations."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, epoch: Epoch, iterations: int) -> None:
        """Keep one more epoch of this many iterations."""
        write_json(self._path, [*self._read(), {**asdict(epoch), "iterations": iterations}])

    def speed(self) -> Speed | None:
        """Return the mean speed of whole epochs; a command's first epoch counts only where there is no other."""
        stored = self._read()
        epochs = [epoch for epoch in stored if not epoch["first"]] or stored
        if not epochs:
            return None
        wall = fmean(epoch["wall"] / epoch["iterations"] for epoch in epochs)
        cpus = [epoch["cpu"] / epoch["iterations"] for epoch in epochs if epoch["cpu"] is not None]
        return Speed(wall=wall, cpu=fmean(cpus) if len(cpus) == len(epochs) else None)

    def _read(self) -> list[dict[str, float]]:
        try:
            content: list[dict[str, float]] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return content


def mean_speed(speeds: Sequence[Speed]) -> Speed | None:
    """Return the mean of several measurements; None of none."""
    if not speeds:
        return None
    cpus = [speed.cpu for speed in speeds if speed.cpu is not None]
    return Speed(wall=fmean(speed.wall for speed in speeds), cpu=fmean(cpus) if len(cpus) == len(speeds) else None)


def epoch_length(iterations: int, most: int = 150) -> int:
    """Return iterations per epoch: the largest divisor of `iterations` that is at most `most` and a tenth of it.

    >>> epoch_length(6000), epoch_length(500), epoch_length(4)
    (150, 50, 1)
    """
    limit = max(1, min(most, iterations // 10))
    return next(length for length in range(limit, 0, -1) if iterations % length == 0)


def iterations_of_seconds(seconds: float, speed: float, *, length: int) -> tuple[int, int]:
    """Return iterations that take about `seconds`, and iterations per epoch that divide them.

    Args:
        seconds: the budget.
        speed: seconds an iteration takes in epochs of `length`.
        length: iterations per epoch to keep near to, because an epoch costs seconds of its own.

    >>> iterations_of_seconds(1000.0, 2.0, length=35)
    (504, 36)
    """
    wanted = max(1, round(seconds / speed))
    epochs = max(1, round(wanted / length))
    return epochs * round(wanted / epochs), round(wanted / epochs)
