"""What has come out so far: for each row of a table, its finished seeds and why others are missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.folder import ComparisonFolder
from nnunetv2_rada.compare.paper import PaperResult, find
from nnunetv2_rada.compare.rows import REFERENCE, Entry, Row, Table
from nnunetv2_rada.compare.runs import RunFolder, finished_speed
from nnunetv2_rada.compare.speed import mean_speed
from nnunetv2_rada.compare.statistics import Scores
from nnunetv2_rada.compare.variants import GIVEN, DatasetVariant
from sparse_annotation_tools.errors import UserError


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """What is known of one row.

    Attributes:
        entry: the row in its table.
        dataset: name of its dataset's variant; empty where it cannot be made.
        scores: of the finished seeds.
        failures: reason, by seed.
        impossible: why the row cannot be run; empty if it can.
        iterations: that each finished seed trained, without repeats.
        seconds: of training, mean over the finished seeds: CPU seconds on a CPU, by the clock on other devices.
        embeddings: what encoded the prompts of the finished seeds.
        paper: the paper's numbers for it.
    """

    entry: Entry
    dataset: str
    scores: Mapping[int, Scores]
    failures: Mapping[int, str]
    impossible: str
    iterations: tuple[int, ...]
    seconds: float | None
    embeddings: str
    paper: PaperResult | None

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference's run; rows of the ablations may be, whose change the dataset has already."""
        return self.entry.row.trainer == REFERENCE and self.dataset == GIVEN

    @property
    def status(self) -> str:
        """What is to be said where a number is missing."""
        failed = "; ".join(f"seed {seed} failed: {reason}" for seed, reason in sorted(self.failures.items()))
        if self.impossible:
            return f"not possible: {self.impossible}"
        if not self.scores:
            return failed or "not run"
        return failed


def collect(
    folder: ComparisonFolder,
    table: Table,
    variant: Callable[[Row], DatasetVariant],
    *,
    device: str,
    paper_dataset: str | None,
) -> list[RowResult]:
    """Return what is known of each row of a table."""
    return [
        _collect(folder, table, entry, variant, device=device, paper_dataset=paper_dataset) for entry in table.entries
    ]


def _collect(
    folder: ComparisonFolder,
    table: Table,
    entry: Entry,
    variant: Callable[[Row], DatasetVariant],
    *,
    device: str,
    paper_dataset: str | None,
) -> RowResult:
    dataset, impossible = "", ""
    try:
        dataset = variant(entry.row).name
    except UserError as error:
        impossible = str(error)
    runs = _runs(folder.runs, f"{entry.row.trainer}@{dataset}@seed") if dataset else {}
    finished = {seed: run for seed, run in runs.items() if run.is_finished}
    records = [run.read(run.record) for run in finished.values()]
    speed = mean_speed([speed for run in finished.values() if (speed := finished_speed(run)) is not None])
    scores = {seed: _json(run.scores) for seed, run in finished.items()}
    iterations = [record["iterations"] for record in records]
    return RowResult(
        entry=entry,
        dataset=dataset,
        scores=scores,
        failures={seed: run.read(run.failure)["reason"] for seed, run in runs.items() if run.failure.is_file()},
        impossible=impossible,
        iterations=tuple(dict.fromkeys(iterations)),
        seconds=speed.seconds(device) * sum(iterations) / len(iterations) if speed else None,
        embeddings=", ".join(dict.fromkeys(content["embeddings"] or "none" for content in scores.values())),
        paper=find(paper_dataset, table.paper_tables, entry.paper),
    )


def _runs(runs: Path, prefix: str) -> dict[int, RunFolder]:
    found = {path.name: path for path in runs.glob("*") if path.is_dir() and path.name.startswith(prefix)}
    return {int(name.removeprefix(prefix)): RunFolder(root=path) for name, path in sorted(found.items())}


def classes_of(results: Sequence[RowResult], known: Sequence[str]) -> list[str]:
    """Return the classes that were scored, or the dataset's where nothing was."""
    for result in results:
        for scores in result.scores.values():
            return list(scores["mean"])
    return list(known)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
