"""Processes of a run: how much CPU time they took, and ending those that a killed comparison left behind.

They are found by a variable of their environment, so nothing else can be meant. Where there is no /proc, none are
found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "RADA_COMPARE_RUN"
"""Variable that names the run's folder in the environment of all its processes."""

_PROC = Path("/proc")
_PATIENCE_SECONDS = 10.0


def environment(run: Path) -> dict[str, str]:
    """Return the variable that marks the processes of a run."""
    return {MARK: str(run.resolve())}


def cpu_seconds(run: Path) -> float | None:
    """Return CPU seconds, user and system, of a run's living processes and of those that ended and were waited for.

    None where this cannot be told.
    """
    ticks = [int(text) for process in _processes(run) for text in _statistics(process)[11:15]]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def end_leftovers(run: Path) -> int:
    """Kill what an earlier, killed comparison left running; return how many processes that were."""
    found = list(_processes(run))
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(_is_alive(process) for process in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(found)


def _processes(run: Path) -> Iterator[Path]:
    wanted = f"{MARK}={run.resolve()}".encode()
    if not _PROC.is_dir():
        return
    for process in _PROC.iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    yield process


def _statistics(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: state first, CPU ticks at 11 to 14."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _is_alive(process: Path) -> bool:
    return _statistics(process)[:1] not in ([], ["Z"])
