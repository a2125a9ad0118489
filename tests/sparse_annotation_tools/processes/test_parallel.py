"""Tests of running a function over many arguments in processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.parallel import call_ahead, run_in_processes


def threads_and(number: int) -> tuple[int, str | None]:
    """Return the number and how many threads ITK may use; the first is the last to be done."""
    time.sleep(0.5 if number == 0 else 0)
    return number, os.environ.get("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def killed(tries: Path, number: int) -> int:
    """End the process as a system that is out of memory does, as often as the folder of the number says."""
    left = sorted((tries / str(number)).glob("*"))
    if left:
        left[0].unlink()
        time.sleep(0.5)  # for what is done elsewhere to be answered
        os.kill(os.getpid(), signal.SIGKILL)
    with (tries / "done").open("a") as done:
        done.write(f"{number} {os.getpid()}\n")
    return number


@pytest.fixture
def tries(tmp_path: Path) -> Path:
    """Six tasks, of which the process of number 3 is killed once."""
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "first").touch()
    return tmp_path


def refused(number: int) -> None:
    """Raise a user's mistake."""
    raise UserError(f"number {number} is wrong")


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_arguments(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever process is done first; each has one thread, whatever the user's shell says."""
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "4")
    arguments = [(number,) for number in range(6)]
    results = run_in_processes(threads_and, arguments, names="abcdef", processes=processes, description="counting")
    assert results == [(number, "1") for number in range(6)]


def test_nothing_to_do_is_done() -> None:
    """No argument, no process, no bar."""
    assert run_in_processes(threads_and, [], names=[], processes=2, description="counting") == []


def test_a_killed_process_is_named_and_its_task_tried_again(tries: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every result is there, and a line names what was at work."""
    arguments = [(tries, number) for number in range(6)]
    names = [f"case_{number}" for number in range(6)]
    assert run_in_processes(killed, arguments, names=names, processes=2, description="counting") == [0, 1, 2, 3, 4, 5]
    line = next(line for line in capfd.readouterr().err.splitlines() if "was killed while counting" in line)
    assert "case_3" in line
    assert line.count("case_") <= 2  # there are two processes


def test_several_tasks_are_each_tried_again(tries: Path) -> None:
    """Whichever of them are under way together."""
    for number in (0, 1, 5):
        (tries / str(number)).mkdir()
        (tries / str(number) / "first").touch()
    arguments = [(tries, number) for number in range(6)]
    assert run_in_processes(killed, arguments, names="abcdef", processes=2, description="counting") == [*range(6)]


def test_a_task_whose_process_is_killed_twice_is_named(tries: Path) -> None:
    """The second try was its own alone, so the right case is named; memory and the option too."""
    (tries / "3" / "second").touch()
    arguments = [(tries, number) for number in range(6)]
    with pytest.raises(UserError, match=r"^case_3: .* killed twice while counting.*memory.*smaller -np"):
        run_in_processes(
            killed, arguments, names=[f"case_{number}" for number in range(6)], processes=2, description="counting"
        )


def test_what_was_done_before_a_kill_is_not_done_again(tries: Path) -> None:
    """Only what was under way or had not begun is; here the last of six."""
    (tries / "3").rename(tries / "5")
    arguments = [(tries, number) for number in range(6)]
    run_in_processes(killed, arguments, names="abcdef", processes=2, description="counting")
    done = [line.split()[0] for line in (tries / "done").read_text().splitlines()]
    assert set(done) == set("012345")
    assert len(done) <= 7  # one may have been under way


def test_a_users_mistake_comes_through() -> None:
    """Unchanged, from another process."""
    with pytest.raises(UserError, match="number 3 is wrong"):
        run_in_processes(refused, [(3,), (3,)], names="ab", processes=2, description="counting")


def prepare() -> None:
    """Leave a mark in this process."""
    os.environ["RADA_TEST_PREPARED"] = "yes"


def is_prepared() -> bool:
    """Return whether this process has been prepared."""
    time.sleep(0.5)  # so that each process answers once
    return "RADA_TEST_PREPARED" in os.environ


def test_processes_call_a_function_ahead() -> None:
    """Those that work later, not this one; one process may make both of so short calls."""
    with call_ahead(prepare, processes=2):
        assert True in run_in_processes(is_prepared, [()] * 2, names="ab", processes=2, description="asking")
    assert "RADA_TEST_PREPARED" not in os.environ


def test_a_mistake_while_processes_prepare_comes_through() -> None:
    """And nothing of them is in its way."""
    with pytest.raises(UserError, match="is wrong"), call_ahead(prepare, processes=2):
        refused(1)


_KILLED_AT_ONCE = """
import os, signal
from sparse_annotation_tools.processes.parallel import call_ahead
with call_ahead(os.getpid, processes=2):
    os.kill(os.getpid(), signal.SIGKILL)
"""


_KILLED_AFTER_FORK = """
import multiprocessing, os, signal, time
from sparse_annotation_tools.processes.parallel import end_forks_with_this_process
end_forks_with_this_process()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("program", [_KILLED_AT_ONCE, _KILLED_AFTER_FORK], ids=["without work yet", "forked by others"])
def test_processes_end_with_a_killed_command(program: str) -> None:
    """They would wait for work for minutes, and do it if it was on its way; those of libraries wait for ever."""
    command = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    assert command.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _is_there(command.pid):
        time.sleep(0.1)
    assert not _is_there(command.pid)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
