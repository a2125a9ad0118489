"""Tests of running a function over many arguments in processes."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.parallel import import_ahead, run_in_processes


def threads_and(number: int) -> tuple[int, str | None]:
    """Return the number and how many threads ITK may use; the first is the last to be done."""
    time.sleep(0.5 if number == 0 else 0)
    return number, os.environ.get("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def killed(number: int) -> None:
    """End the process as a system that is out of memory does."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def refused(number: int) -> None:
    """Raise a user's mistake."""
    raise UserError(f"number {number} is wrong")


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_arguments(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever process is done first; each has one thread, whatever the user's shell says."""
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "4")
    arguments = [(number,) for number in range(6)]
    results = run_in_processes(threads_and, arguments, processes=processes, description="counting")
    assert results == [(number, "1") for number in range(6)]


def test_nothing_to_do_is_done() -> None:
    """No argument, no process, no bar."""
    assert run_in_processes(threads_and, [], processes=2, description="counting") == []


def test_a_killed_process_is_the_users_to_mend() -> None:
    """Mostly memory: the error names the option."""
    with pytest.raises(UserError, match=r"killed while counting.*smaller -np"):
        run_in_processes(killed, [(0,), (1,), (2,)], processes=2, description="counting")


def test_a_users_mistake_comes_through() -> None:
    """Unchanged, from another process."""
    with pytest.raises(UserError, match="number 3 is wrong"):
        run_in_processes(refused, [(3,), (3,)], processes=2, description="counting")


def has_imported(module: str) -> bool:
    """Return whether this process has imported a module."""
    time.sleep(0.5)  # so that each process answers once
    return module in sys.modules


def test_processes_import_a_module_ahead() -> None:
    """Each of those that work later, not this one; other processes than those of the tests above, of which one died."""
    module = "this"
    assert module not in sys.modules
    with import_ahead(module, processes=2):
        assert run_in_processes(has_imported, [(module,)] * 2, processes=2, description="asking") == [True, True]
    assert module not in sys.modules


def test_a_mistake_while_processes_import_comes_through() -> None:
    """And nothing of them is in its way."""
    with pytest.raises(UserError, match="is wrong"), import_ahead("this", processes=2):
        refused(1)
