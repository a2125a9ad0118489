"""Write docs/reliability.md's tables from the rows: `PYTHONPATH=.:tests python -m reliability.table`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from reliability.row import Row
from reliability.rows import ROWS
from reliability.rows_training import TRAINING, Pointer

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- rows: begin -->", "<!-- rows: end -->"


def tables(rows: Sequence[Row]) -> str:
    """Return the part of the document that the rows make."""
    refused = sum(row.status == 2 for row in rows)
    fine = len(rows) - refused
    parts = [f"{len(rows)} rows: {refused} inputs are refused with status 2, {fine} are fine by design."]
    for command, of_command in groupby(rows, key=lambda row: row.command):
        parts.append(f"### {command}")
        for group, of_group in groupby(of_command, key=lambda row: row.group):
            lines = [f"| {group} | status | what it says, or what comes out |", "|---|---|---|"]
            lines += [_line(row) for row in of_group]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def pointed(rows: Sequence[Pointer]) -> str:
    """Return the part about training and prediction, whose tests lie elsewhere."""
    parts = [
        "### Training, beyond the rows of nnUNetv2_train",
        f"{len(rows)} rows, each refused with status 2 by a test beside its subject.",
    ]
    for group, of_group in groupby(rows, key=lambda row: row.group):
        lines = [f"| {group} | what it says | test |", "|---|---|---|"]
        lines += [f"| {_cell(row.name)} | `{_cell(row.says)}` | {_link(row)} |" for row in of_group]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def document() -> str:
    """Return the whole document, with the tables as the rows make them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables(ROWS)}\n\n{pointed(TRAINING)}\n\n{END}{after}"


def _line(row: Row) -> str:
    says = " ... ".join(part for part in (row.prints, row.says) if part)
    quoted = f"`{says}`" if says else ""
    return f"| {_cell(row.name)} | {row.status} | {_cell('; '.join(part for part in (row.result, quoted) if part))} |"


def _link(row: Pointer) -> str:
    return f"[{row.function.removeprefix('test_').replace('_', ' ')}](../tests/{row.file})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
