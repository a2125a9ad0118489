"""Progress of long work: a bar in a terminal, lines at intervals in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

INTERVAL_SECONDS = 10.0
"""Between two lines in a file."""


class Progress(Protocol):
    """What `progress` yields."""

    def update(self) -> None:
        """Count one more task as done."""

    def write(self, line: str) -> None:
        """Say something meanwhile."""


@contextmanager
def progress(total: int, description: str) -> Iterator[Progress]:
    """Show on stderr how many of `total` tasks are done; nothing if there are none.

    A terminal gets a bar that is drawn anew in place. A file or pipe gets a line for the first task, then at most one
    each `INTERVAL_SECONDS`, and one for the last task: `encoding slices: 12/24, 0:31 gone, about 0:31 left`.
    """
    if not sys.stderr.isatty():
        yield _Lines(total, description)
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=description, disable=not total) as bar:
        yield _Bar(update=bar.update, write=lambda line: tqdm.write(line, file=sys.stderr))


class _Bar:
    def __init__(self, *, update: Callable[[], object], write: Callable[[str], None]) -> None:
        self._update = update
        self.write = write

    def update(self) -> None:
        self._update()


class _Lines:
    def __init__(self, total: int, description: str) -> None:
        self._total, self._description = total, description
        self._done = 0
        self._begin = time.monotonic()
        self._next = self._begin

    def update(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now < self._next and self._done < self._total:
            return
        self._next = now + INTERVAL_SECONDS
        gone = now - self._begin
        left = gone / self._done * (self._total - self._done)
        end = f" gone, about {clock(left)} left" if self._done < self._total else ""
        self.write(f"{self._description}: {self._done}/{self._total}, {clock(gone)}{end}")

    def write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Write a duration as minutes and seconds, or hours, minutes and seconds.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
