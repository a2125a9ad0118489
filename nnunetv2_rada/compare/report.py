"""All that is written about a comparison: tables and plots, from what has come out so far."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nnunetv2_rada.compare.comparison import Comparison
from nnunetv2_rada.compare.folder import locked
from nnunetv2_rada.compare.paper import DATASETS
from nnunetv2_rada.compare.plots import draw
from nnunetv2_rada.compare.results import RowResult, collect
from nnunetv2_rada.compare.rows import REFERENCE, TABLES, Table
from nnunetv2_rada.compare.tables import DIFFERENCES, SPREAD, About, write_tables
from sparse_annotation_tools.dataset.versions import package_versions

_PAPER = (
    "16 base filters, full resolution, its own split, no spread over seeds. Distances in voxels depend on the "
    "resolution, and the code that it builds on counts an empty prediction as a perfect distance"
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Writes what is known.

    Attributes:
        comparison: the runs.
        tables: that were asked for; others are written as well where a row of theirs has been run.
        paper_dataset: which of the paper's datasets this is, or None.
        settings_text: the settings of all runs in words.
    """

    comparison: Comparison
    tables: Sequence[Table]
    paper_dataset: str | None
    settings_text: str

    def write(self) -> None:
        """Write results.csv, results.md and a picture of each table anew."""
        comparison = self.comparison
        with locked(comparison.folder.root, wait=True):
            collected = {table.name: self._collect(table) for table in TABLES.values()}
            wanted = [
                (table, collected[table.name])
                for table in TABLES.values()
                if table in self.tables or _has_run_of_its_own(collected[table.name], collected["I"])
            ]
            reference = next(result for result in collected["I"] if result.entry.row.name == REFERENCE).scores
            classes = list(comparison.datasets.given.cases.classes)
            write_tables(comparison.folder.root, self._about(), wanted, reference, classes)
            for table, results in wanted:
                draw(comparison.folder.root / f"table_{table.name}.png", table, results, classes, reference)

    def _collect(self, table: Table) -> list[RowResult]:
        comparison = self.comparison
        device = comparison.training.device
        return collect(comparison.folder, table, comparison.variant, device=device, paper_dataset=self.paper_dataset)

    def _about(self) -> About:
        given, device = self.comparison.datasets.given, self.comparison.training.device
        cases = given.cases
        seconds = "CPU" if device == "cpu" else "GPU"
        iterations = self.comparison.settings["num_iterations"]
        prompts = (given.prompts or {}).get("stamp") or (given.prompts or {}).get("encoder", "none")
        counts = f"{len(cases.labelled)} labelled, {len(cases.unlabelled)} unlabelled, {len(cases.test)} test scans"
        return About(
            title=f"Comparison on {given.folder.name}",
            facts={
                "Data": f"{counts}; annotated slices {cases.strategy}; embeddings {prompts}",
                "Budget": f"{iterations} iterations for every row; stock nnU-Net, which trains on the labelled scans "
                f"alone and draws no seed, and rows marked with equal seconds get as many {seconds} seconds as "
                f"{REFERENCE}'s iterations take",
                f"{seconds} min": "of training with its validation batches, without start-up and final validation",
                "Settings": self.settings_text,
                "Machine": f"{_machine(device)}; {_versions()}",
                "Numbers": SPREAD,
                "Differences": DIFFERENCES,
                **(
                    {"Paper": f"its numbers for {DATASETS[self.paper_dataset]}; {_PAPER}"} if self.paper_dataset else {}
                ),
            },
            seconds=seconds,
        )


def _machine(device: str) -> str:
    """Return what computes: the graphics card, or the processor and how many of its cores may be used."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{device}, {cores} cores of {names[0] if names else platform.machine()}"


def _has_run_of_its_own(results: Sequence[RowResult], first: Sequence[RowResult]) -> bool:
    """Whether a table has a run besides those that stand in Table I as well."""
    known = {(result.entry.row.trainer, result.dataset) for result in first}
    return any(
        (result.scores or result.failures) and (result.entry.row.trainer, result.dataset) not in known
        for result in results
    )


def _versions() -> str:
    versions = {**package_versions(), **{name: metadata.version(name) for name in ("nnunetv2", "torch")}}
    return ", ".join(f"{name} {version}" for name, version in versions.items())
