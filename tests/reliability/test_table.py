"""Every row of docs/reliability.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reliability.commands import COMMANDS
from reliability.place import Place, changes, content_of
from reliability.row import Row, holds
from reliability.rows import ROWS
from reliability.rows_training import TRAINING, Pointer
from reliability.table import DOCUMENT, document

PARAMETERS = [pytest.param(row, id=row.id, marks=[pytest.mark.slow] if row.slow else []) for row in ROWS]


@pytest.mark.parametrize("row", PARAMETERS)
def test_row(row: Row, place: Callable[[str], Place], capfd: pytest.CaptureFixture[str]) -> None:
    """A bad input ends in one clear line and status 2, with nothing half-written; no input is ever changed."""
    command = COMMANDS[row.command]
    here = place(command.base)
    row.spoil(here)
    before, inputs = content_of(here.root), content_of(here.inputs)
    outcome = here.run(command.main(), command.argv(here, row.options), capfd)
    assert outcome.status == row.status, outcome.err
    assert changes(inputs, content_of(here.inputs)) == []
    assert holds(outcome.out, row.prints), outcome.out
    if row.status == 0:
        assert holds(outcome.out + outcome.err, row.says), outcome.out + outcome.err
        assert row.right is not None
        row.right(here, outcome)
        return
    *others, line = outcome.said
    assert "error: " in line
    assert holds(line, row.says), line
    assert [other for other in others if "warning: " not in other] == []
    new = changes(before, content_of(here.root))
    assert [name for name in new if not row.keeps or not name.startswith(row.keeps)] == []
    if row.after is not None:
        row.after(here, outcome)


def test_the_document_is_what_the_rows_make() -> None:
    """docs/reliability.md is up to date: `PYTHONPATH=.:tests python -m reliability.table` writes it."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()


def test_at_least_120_bad_inputs_are_refused() -> None:
    """What is fine by design does not count, and says what comes out."""
    assert sum(row.status == 2 for row in ROWS) >= 120
    assert [row.id for row in ROWS if row.status == 0 and not (row.result and row.right)] == []


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.group}: {row.name}") for row in TRAINING])
def test_a_row_that_points_elsewhere_points_at_a_test(row: Pointer) -> None:
    """The file and the function are there."""
    path = Path(__file__).resolve().parents[1] / row.file
    assert f"def {row.function}(" in path.read_text(encoding="utf-8")


def test_every_row_has_its_own_name() -> None:
    """No two rows are called the same."""
    names = [row.id for row in ROWS]
    assert sorted({name for name in names if names.count(name) > 1}) == []
