"""Locks between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.lock import FileLock, only_writer

_HOLD = """
import os, sys, time
from pathlib import Path
from sparse_annotation_tools.processes.lock import FileLock
assert FileLock(Path(sys.argv[1])).take()
child = os.fork() if "fork" in sys.argv else 1
if child:
    print("held", child, flush=True)
time.sleep(0 if "end" in sys.argv else 60)
"""


@contextmanager
def holder(path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that has taken a lock, and its child's number."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_held_lock_is_refused_and_a_killed_process_gives_it_back(tmp_path: Path) -> None:
    """The line names the process; what it leaves behind locks nobody out and goes with the next release."""
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        assert not FileLock(path).take()
        with pytest.raises(UserError, match=rf"data is being written by process {process.pid} on .*run this command"):
            FileLock(path).take_or_refuse(tmp_path / "data")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.is_file()
    lock = FileLock(path)
    assert lock.take()
    lock.release()
    assert not path.exists()


def test_a_forked_process_does_not_hold_its_parents_lock(tmp_path: Path) -> None:
    """A data loader that outlives its killed training does not keep it from going on."""
    with holder(tmp_path / "lock", "fork") as (process, child):
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock, deadline = FileLock(tmp_path / "lock"), time.monotonic() + 30
        while not (taken := lock.take()) and time.monotonic() < deadline:  # the child may just have begun
            time.sleep(0.05)
        assert taken
        os.kill(child, signal.SIGKILL)


def test_a_process_that_ends_leaves_no_file(tmp_path: Path) -> None:
    """Even if it never lets go."""
    with holder(tmp_path / "lock", "end") as (process, _):
        assert process.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_wait_one_at_a_time_goes_on(tmp_path: Path) -> None:
    """Although each removes the file when it lets go."""
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            lock = FileLock(tmp_path / "lock")
            assert lock.take(wait=True)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.0002)
            inside[0] -= 1
            lock.release()

    _in_threads(work, 8)
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_be_had_the_work_goes_on(tmp_path: Path) -> None:
    """What it then writes meets the fault itself."""
    (tmp_path / "file").touch()
    with only_writer(tmp_path / "file" / "dataset"):
        pass


def test_the_lock_of_a_folder_lies_beside_it_for_as_long_as_it_is_held(tmp_path: Path) -> None:
    """So that the folder may be replaced, and holds the same files as ever; gone after an error too."""

    def fail() -> None:
        with only_writer(tmp_path / "dataset"):
            assert [path.name for path in tmp_path.iterdir()] == [".dataset.lock"]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def _in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
