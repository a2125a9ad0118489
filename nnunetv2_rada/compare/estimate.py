"""How long a comparison will take, from what has been measured so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunetv2_rada.compare.speed import Speed


@dataclass(frozen=True, kw_only=True)
class Work:
    """A run that is not finished.

    Attributes:
        trainer: class name; of a run that matches the reference's seconds, the reference's.
        iterations: still to train, by that trainer.
    """

    trainer: str
    iterations: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds by the clock.

    Attributes:
        seconds: of all runs.
        is_bound: some trainers have not been measured, and count as the slowest that has.
        knows_overhead: start-up, validation and prediction are in it.
    """

    seconds: float
    is_bound: bool
    knows_overhead: bool

    def __str__(self) -> str:
        """Return it in words."""
        text = f"{'at most ' if self.is_bound else ''}about {duration(self.seconds)}"
        return text if self.knows_overhead else f"{text}, start-up and prediction not counted"


def estimate(
    work: Sequence[Work],
    speeds: Mapping[str, Speed],
    overheads: Sequence[float],
) -> Estimate:
    """Estimate the time of all work.

    Args:
        work: runs that are not finished.
        speeds: measured speeds by trainer; at least one.
        overheads: seconds that finished runs took beyond their training.
    """
    slowest = max(speed.wall for speed in speeds.values())
    overhead = sum(overheads) / len(overheads) if overheads else 0.0
    seconds, is_bound = 0.0, False
    for run in work:
        is_bound |= run.trainer not in speeds
        seconds += run.iterations * (speeds[run.trainer].wall if run.trainer in speeds else slowest) + overhead
    return Estimate(seconds=seconds, is_bound=is_bound, knows_overhead=bool(overheads))


def duration(seconds: float) -> str:
    """Return for example `5 h 20 min` or `45 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
