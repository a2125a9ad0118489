"""Write results.csv and results.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.results import RowResult, classes_of
from nnunetv2_rada.compare.rows import REFERENCE, Table
from nnunetv2_rada.compare.statistics import (
    MEASURES,
    RESAMPLES,
    Difference,
    Scores,
    Summary,
    paired_difference,
    summary,
)
from sparse_annotation_tools.evaluation.metrics import DEFINITIONS
from sparse_annotation_tools.files.atomic import write_text

_SHOWN = {"dice": "Dice", "jaccard": "Jaccard", "hd95_voxel": "HD95, voxels", "asd_voxel": "ASD, voxels"}
_DEFINED = ("dice", "jaccard", "hd95", "asd", "voxel", "mm", "empty prediction")


@dataclass(frozen=True, kw_only=True)
class About:
    """What stands above the tables: titles and texts, in order."""

    title: str
    facts: Mapping[str, str]
    seconds: str
    """Name of the seconds that budgets are counted in: `CPU` or `GPU`."""


def write_tables(
    folder: Path,
    about: About,
    tables: Sequence[tuple[Table, Sequence[RowResult]]],
    reference: Mapping[int, Scores],
    classes: Sequence[str],
) -> None:
    """Write both files from what has come out so far.

    Args:
        folder: where they go.
        about: what stands above the tables.
        tables: each table and its rows.
        reference: scores of the reference row by seed.
        classes: names of the dataset's classes.
    """
    records = [
        _record(table, result, name, reference)
        for table, results in tables
        for name in classes_of(results, classes)
        for result in results
    ]
    write_text(folder / "results.csv", _csv(records))
    parts = [f"# {about.title}", "", *(f"- **{name}**: {text}" for name, text in about.facts.items())]
    parts += [f"- **{name}**: {DEFINITIONS[name]}" for name in _DEFINED]
    for table, results in tables:
        parts += ["", f"## {table.title}"]
        for name in classes_of(results, classes):
            parts += ["", *_markdown(results, name, about, reference)]
        parts += _remarks(results)
    write_text(folder / "results.md", "\n".join(parts) + "\n")


def _record(table: Table, result: RowResult, name: str, reference: Mapping[int, Scores]) -> dict[str, Any]:
    """One line of the CSV: a row of a table, one class."""
    record: dict[str, Any] = {
        "table": table.name,
        "row": result.entry.row.name,
        "label": result.entry.label,
        "class": name,
        "trainer": result.entry.row.trainer_class,
        "dataset": result.dataset,
        "embeddings": result.embeddings,
        "seeds": " ".join(map(str, sorted(result.scores))),
        "status": result.status or "finished",
        "iterations": " ".join(map(str, result.iterations)),
        "training_seconds": _text(result.seconds, ".0f"),
        "empty_predictions": _empty(result, name),
    }
    for measure in MEASURES:
        of_row = summary(list(result.scores.values()), name, measure)
        record[measure] = _text(of_row.mean, ".6g")
        record[f"{measure}_sd_cases"] = _text(of_row.sd_cases, ".6g")
        record[f"{measure}_sd_seeds"] = _text(of_row.sd_seeds, ".6g")
    for measure in _SHOWN:
        difference = _difference(result, reference, name, measure)
        record[f"{measure}_minus_{REFERENCE}"] = _text(difference.mean if difference else None, ".6g")
        record[f"{measure}_minus_{REFERENCE}_low"] = _text(difference.low if difference else None, ".6g")
        record[f"{measure}_minus_{REFERENCE}_high"] = _text(difference.high if difference else None, ".6g")
    for measure in _SHOWN:
        record[f"paper_{measure}"] = _text(result.paper.mean.get(measure) if result.paper else None, "g")
        record[f"paper_{measure}_sd"] = _text(result.paper.sd.get(measure) if result.paper else None, "g")
    record["paper_note"] = result.paper.note if result.paper else ""
    return record


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def _markdown(results: Sequence[RowResult], name: str, about: About, reference: Mapping[int, Scores]) -> list[str]:
    """One table of one class."""
    with_paper = any(result.paper for result in results)
    head = ["row", *_SHOWN.values(), "empty", f"Dice minus {REFERENCE}", "seeds", "iterations", f"{about.seconds} min"]
    head += [f"paper: {title}" for title in _SHOWN.values()] if with_paper else []
    lines = [f"Class `{name}`:", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for result in results:
        cells = [f"{result.entry.label} (`{result.entry.row.name}`)", *_cells(result, name, reference)]
        if with_paper:
            cells += [_paper(result, measure) for measure in _SHOWN]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cells(result: RowResult, name: str, reference: Mapping[int, Scores]) -> list[str]:
    if not result.scores:
        return [result.status.partition(":")[0], *[""] * (len(_SHOWN) + 4)]
    numbers = [_spread(summary(list(result.scores.values()), name, measure), measure) for measure in _SHOWN]
    difference = _difference(result, reference, name, "dice")
    return [
        *numbers,
        _empty(result, name),
        f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]" if difference else "",
        str(len(result.scores)),
        " ".join(map(str, result.iterations)),
        _text(result.seconds and result.seconds / 60, ".1f"),
    ]


def _spread(of_row: Summary, measure: str) -> str:
    """Mean, then in brackets the standard deviation over cases and, of several seeds, over seeds."""
    style = ".4f" if measure in ("dice", "jaccard") else ".2f"
    if of_row.mean is None:
        return "-"
    seeds = f"; {of_row.sd_seeds:{style}}" if of_row.sd_seeds is not None else ""
    cases = f"{of_row.sd_cases:{style}}" if of_row.sd_cases is not None else "-"
    return f"{of_row.mean:{style}} ({cases}{seeds})"


def _paper(result: RowResult, measure: str) -> str:
    if result.paper is None or measure not in result.paper.mean:
        return ""
    sd = f" ({result.paper.sd[measure]:g})" if measure in result.paper.sd else ""
    return f"{result.paper.mean[measure]:g}{sd}"


def _difference(result: RowResult, reference: Mapping[int, Scores], name: str, measure: str) -> Difference | None:
    """Return the paired difference; None for the reference's own run, under whatever name, and where one is missing."""
    if result.is_reference or not result.scores or not reference:
        return None
    return paired_difference(result.scores, reference, name, measure)


def _empty(result: RowResult, name: str) -> str:
    """Empty predictions of the class, summed over seeds."""
    return (
        str(sum(scores["empty_predictions_by_class"][name] for scores in result.scores.values()))
        if result.scores
        else ""
    )


def _remarks(results: Sequence[RowResult]) -> list[str]:
    """What the cells have no room for: reasons, and oddities of the paper's numbers."""
    lines = [
        f"- `{result.entry.row.name}`: {result.status}" for result in results if result.status not in ("", "not run")
    ]
    lines += [
        f"- `{result.entry.row.name}`, the paper's numbers: {result.paper.note}"
        for result in results
        if result.paper and result.paper.note
    ]
    return ["", *lines] if lines else []


def _text(value: float | None, style: str) -> str:
    return "" if value is None else format(value, style)


SPREAD = (
    "mean of all seeds and test cases (standard deviation over test cases; over the seeds' means where there are "
    "several); the paper's numbers have the standard deviation over test cases"
)
DIFFERENCES = (
    f"row minus {REFERENCE} on the same test case, averaged over the seeds that both have; in brackets the 95 % "
    f"percentile bootstrap interval over test cases ({RESAMPLES} resamples)"
)
