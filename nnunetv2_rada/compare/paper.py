"""The paper's own numbers, to set beside what comes out here."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

DATASETS = {"LA": "LA2018", "KiTS": "KiTS19", "LiTS": "LiTS"}
"""The paper's datasets, by what `--paper-dataset` takes."""

# The paper's columns, by the measure of rada-evaluate that they are.
_MEASURES = {"dice": "dice", "jaccard": "jaccard", "hd95_voxel": "hd95", "asd_voxel": "asd"}


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """One line of the paper's tables.

    Attributes:
        mean: over test cases, by measure; distances in voxels.
        sd: over test cases, by measure.
        slices: annotated slices.
        note: what is odd about the line; empty if nothing is.
    """

    mean: Mapping[str, float]
    sd: Mapping[str, float]
    slices: str
    note: str


def find(dataset: str | None, tables: Sequence[str], match: Mapping[str, str] | None) -> PaperResult | None:
    """Return the line of the paper with these entries.

    Args:
        dataset: a key of `DATASETS`, or None where the data are not the paper's.
        tables: the tables that may hold it.
        match: columns and their values.
    """
    if dataset is None or match is None:
        return None
    wanted = {"dataset": DATASETS[dataset], **match}
    for line in _lines():
        if line["table"] in tables and all(line[column] == value for column, value in wanted.items()):
            return PaperResult(
                mean={measure: float(line[column]) for measure, column in _MEASURES.items() if line[column]},
                sd={
                    measure: float(line[f"{column}_sd"])
                    for measure, column in _MEASURES.items()
                    if line[f"{column}_sd"]
                },
                slices=line["labeled_slices"],
                note=line["note"],
            )
    return None


def _lines() -> list[dict[str, str]]:
    text = files("nnunetv2_rada.compare").joinpath("paper_results.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
