"""Tests of the wrapper that every command shares."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_text


@command("rada-write")
def write(argv: Sequence[str] | None = None) -> None:
    """Write a file, as every command does."""
    assert argv is not None
    write_text(Path(argv[0]), "text")


def test_what_the_user_can_mend_ends_in_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the command."""

    @command("rada-refuse")
    def refuse(argv: Sequence[str] | None = None) -> None:
        raise UserError("found 1, expected 2")

    assert refuse([]) == 2
    assert capsys.readouterr().err == "rada-refuse: error: found 1, expected 2\n"


def test_a_path_that_cannot_be_written_to_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder where a file belongs, a file where a folder belongs, too long a name: no traceback."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "folder", "Is a directory"),
        (tmp_path / "file" / "results.json", "File exists"),
        (tmp_path / "file" / "deeper" / "results.json", "Not a directory"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        assert write([str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"rada-write: error: {reason}: {tmp_path}")
        assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


PRINTING = """
import sys
from sparse_annotation_tools.cli.command import command

@command("rada-print")
def main(argv=None):
    for _ in range({lines}):
        print("x" * 99, file=sys.{stream})

raise SystemExit(main())
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("lines", [1, 5000])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_ends_a_command_quietly(stream: str, lines: int, unbuffered: str) -> None:
    """As `rada-evaluate ... | head -1`, whether the output fits into a buffer or not."""
    read, write = os.pipe()
    os.close(read)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    code = PRINTING.format(lines=lines, stream=stream)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, **pipes)
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert not done.stdout
    assert not done.stderr


def test_a_broken_pipe_to_something_else_keeps_its_traceback() -> None:
    """To a worker, for example: that is no reader who has seen enough."""

    @command("rada-broken")
    def broken(argv: Sequence[str] | None = None) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        broken([])


def test_our_own_mistakes_keep_their_traceback() -> None:
    """They are bugs, and somebody has to find them."""

    @command("rada-broken")
    def broken(argv: Sequence[str] | None = None) -> None:
        raise FileNotFoundError(2, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        broken([])
