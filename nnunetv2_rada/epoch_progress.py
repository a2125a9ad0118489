"""Where a running epoch stands: what its iterations gave, how long it waited for data, when a checkpoint is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class EpochProgress:
    """Kept by the trainer over an epoch, and stored in a checkpoint that is written in the middle of one.

    Args:
        checkpoint_minutes: longest time between two checkpoints; 0 for no limit.
        clock: seconds that never go back.
    """

    def __init__(self, checkpoint_minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.outputs: list[dict[str, float]] = []
        """What every finished iteration of the running epoch returned; empty between epochs."""
        self._interval = 60 * checkpoint_minutes
        self._clock = clock
        self._saved = self._began = self._left = clock()
        self._waited = 0.0

    def begin(self) -> None:
        """Start measuring an epoch, or the rest of one."""
        self._began = self._left = self._clock()
        self._waited = 0.0

    @contextmanager
    def iteration(self) -> Iterator[None]:
        """Around an iteration's work: the time since the one before was spent waiting for data."""
        self._waited += self._clock() - self._left
        yield
        self._left = self._clock()

    def end(self) -> tuple[list[dict[str, float]], float]:
        """End the epoch; return all its outputs, and the share of its time that was spent waiting for data."""
        outputs, self.outputs = self.outputs, []
        elapsed = self._clock() - self._began
        return outputs, self._waited / elapsed if elapsed > 0 else 0.0

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether the last checkpoint is older than allowed."""
        return 0 < self._interval <= self._clock() - self._saved

    def saved(self) -> None:
        """Note that a checkpoint has just been written."""
        self._saved = self._clock()

    def restore(self, outputs: Sequence[dict[str, float]]) -> None:
        """Go on in the middle of an epoch, after these outputs."""
        self.outputs = list(outputs)
