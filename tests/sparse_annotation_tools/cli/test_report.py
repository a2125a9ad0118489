"""`rada-report` at the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.cli.report import main


def test_the_last_line_says_what_was_made_and_what_to_type(
    phantoms: Path,
    request_for: Callable[..., Any],
    make_quickly: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 0, one line for each part left out, and a last line with the page and how to open it."""
    make_quickly(request_for(phantoms))
    output = tmp_path / "report"
    assert main(["-d", "101", "-o", str(output), "-np", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(".")[0] for line in lines[:-1]] == ["left out: training", "left out: predictions"]
    assert lines[-1].startswith(f"written: a page of 3 cases, {output / 'index.html'}; next: open it in a browser")
    assert (output / "index.html").is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-pred", "nowhere"], "-pred nowhere is not a folder"),
        (["-i", "nowhere"], "-i nowhere is not a folder; expected one with scans"),
        (["-np", "0"], "-np is 0, expected 1 or more"),
    ],
)
def test_mistakes_end_in_one_line(options: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can mend ends with status 2 and one line on stderr."""
    assert main(["-d", "101", "-o", "report", *options]) == 2
    assert expected in capsys.readouterr().err
