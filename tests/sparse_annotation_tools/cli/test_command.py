"""Tests of the wrapper that every command shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sparse_annotation_tools.atomic import write_text
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError


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


def test_our_own_mistakes_keep_their_traceback() -> None:
    """They are bugs, and somebody has to find them."""

    @command("rada-broken")
    def broken(argv: Sequence[str] | None = None) -> None:
        raise FileNotFoundError(2, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        broken([])
