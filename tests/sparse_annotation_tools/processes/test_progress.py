"""Progress of long work, as a file and as a terminal sees it."""

from __future__ import annotations

import io
import sys

import pytest

from sparse_annotation_tools.processes import progress as module
from sparse_annotation_tools.processes.progress import clock, progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_lines_at_intervals(seconds: list[float], capsys) -> None:
    """The first task, one line each ten seconds with what is left, and the last; nothing rewrites a line."""
    with progress(40, "encoding slices") as shown:
        for _ in range(40):
            seconds[0] += 1
            shown.update()
    printed = capsys.readouterr().err
    assert printed.splitlines() == [
        "encoding slices: 1/40, 0:01 gone, about 0:39 left",
        "encoding slices: 11/40, 0:11 gone, about 0:29 left",
        "encoding slices: 21/40, 0:21 gone, about 0:19 left",
        "encoding slices: 31/40, 0:31 gone, about 0:09 left",
        "encoding slices: 40/40, 0:40",
    ]
    assert "\r" not in printed


def test_a_file_gets_messages_between(capsys) -> None:
    """On lines of their own."""
    with progress(2, "work") as shown:
        shown.write("a process was killed")
    assert capsys.readouterr().err == "a process was killed\n"


def test_no_work_says_nothing(capsys) -> None:
    """Zero of zero is no news."""
    with progress(0, "work"):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a carriage return, what is done, and messages above it."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(2, "work") as shown:
        shown.update()
        shown.write("a process was killed")
        shown.update()
    assert "\r" in terminal.getvalue()
    assert "work: 100%" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "a process was killed\n" in terminal.getvalue()


def test_durations_are_read_like_a_clock() -> None:
    """Minutes have two digits behind hours only."""
    assert [clock(seconds) for seconds in (0.4, 75, 3675)] == ["0:00", "1:15", "1:01:15"]
