"""Evaluate a folder of predicted label maps against a folder of true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparse_annotation_tools.evaluation.metrics import (
    DEFINITIONS,
    METRICS,
    label_metrics,
    largest_component,
    undefined,
    without_distances,
)
from sparse_annotation_tools.files.label_maps import LabelMap, Labels, Pair, foreground_values, read_pair
from sparse_annotation_tools.processes.parallel import run_in_processes

Measures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """Measures of one case by label value.

    `in_truth` and `in_prediction` are the values that occur in either file; `ignored` says whether the truth holds
    voxels that count for nothing.
    """

    measures: dict[int, Measures]
    in_truth: frozenset[int]
    in_prediction: frozenset[int]
    ignored: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of all cases. `classes` maps names to label values, in order of the values."""

    classes: Mapping[str, int]
    results: Mapping[str, CaseResult]
    largest_component: bool = False

    def measures(self, case: str, name: str) -> Measures:
        """Measures of class `name` in one case, NaN where undefined."""
        return self.results[case].measures.get(self.classes[name]) or undefined()

    def mean(self, name: str) -> Measures:
        """Mean of each measure of class `name` over the cases where it is defined."""
        return {metric: float(np.mean(values)) if values else np.nan for metric, values in self._defined(name).items()}

    def sd(self, name: str) -> Measures:
        """Standard deviation (n - 1) of each measure of class `name` over the cases where it is defined."""
        return {
            metric: float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
            for metric, values in self._defined(name).items()
        }

    def number_defined(self, name: str) -> dict[str, int]:
        """Number of cases behind each mean of class `name`."""
        return {metric: len(values) for metric, values in self._defined(name).items()}

    def empty_predictions(self, name: str) -> int:
        """Number of cases whose truth holds class `name` and whose prediction does not."""
        value = self.classes[name]
        return sum(value in result.in_truth - result.in_prediction for result in self.results.values())

    def both_empty(self, name: str) -> int:
        """Number of cases in which neither truth nor prediction holds class `name`."""
        value = self.classes[name]
        return sum(value not in result.in_truth | result.in_prediction for result in self.results.values())

    @property
    def partly_annotated(self) -> list[str]:
        """Cases whose truth ignores some voxels."""
        return [case for case, result in self.results.items() if result.ignored]

    def to_json(self) -> dict[str, Any]:
        """Return the content of the result file; NaN becomes None."""
        post_processing = "largest connected component of each class (26 neighbours)"
        return {
            "definitions": {
                **DEFINITIONS,
                "post-processing of predictions": post_processing if self.largest_component else "none",
            },
            "cases": {
                case: {name: _nulled(self.measures(case, name)) for name in self.classes} for case in self.results
            },
            "mean": {name: _nulled(self.mean(name)) for name in self.classes},
            "sd": {name: _nulled(self.sd(name)) for name in self.classes},
            "n": {name: self.number_defined(name) for name in self.classes},
            "empty_predictions": sum(self.empty_predictions(name) for name in self.classes),
            "empty_predictions_by_class": {name: self.empty_predictions(name) for name in self.classes},
            "empty_predictions_and_truths_by_class": {name: self.both_empty(name) for name in self.classes},
            "partly_annotated": self.partly_annotated,
        }

    def _defined(self, name: str) -> dict[str, list[float]]:
        rows = [self.measures(case, name) for case in self.results]
        return {metric: [row[metric] for row in rows if not np.isnan(row[metric])] for metric in METRICS}


def evaluate_pairs(
    pairs: Sequence[Pair], labels: Labels, *, keep_largest_component: bool = False, processes: int = 1
) -> Evaluation:
    """Measure every pair, spread over `processes` processes.

    Raises:
        UserError: a file cannot be read, holds unexpected values, or its grid is not that of its truth.
    """
    measured = run_in_processes(
        evaluate_pair,
        [(pair, labels, keep_largest_component) for pair in pairs],
        names=[pair.case for pair in pairs],
        processes=processes,
        description="evaluating",
    )
    results = {pair.case: result for pair, result in zip(pairs, measured, strict=True)}
    classes = labels.classes
    if classes is None:  # no names known: the values that occur anywhere
        occurring = {value for result in results.values() for value in result.measures}
        classes = {str(value): value for value in occurring}
    return Evaluation(
        classes=dict(sorted(classes.items(), key=lambda item: item[1])),
        results=results,
        largest_component=keep_largest_component,
    )


def evaluate_pair(pair: Pair, labels: Labels, keep_largest_component: bool = False) -> CaseResult:
    """Measure one case.

    Raises:
        UserError: a file cannot be read or holds unexpected values.
    """
    truth, prediction, spacing_mm = read_pair(pair, labels)
    if keep_largest_component:
        prediction = _largest_components(prediction)
    known = truth != labels.ignore
    ignored = not known.all()
    if ignored:
        truth, prediction = truth * known, prediction * known

    in_truth, in_prediction = foreground_values(truth), foreground_values(prediction)
    values = in_truth | in_prediction if labels.classes is None else frozenset(labels.classes.values())
    measures = label_metrics(prediction, truth, sorted(values), spacing_mm)
    if ignored:  # the edge of what is annotated is no surface
        measures = {value: without_distances(row) for value, row in measures.items()}
    return CaseResult(measures=measures, in_truth=in_truth, in_prediction=in_prediction, ignored=ignored)


def _largest_components(label_map: LabelMap) -> LabelMap:
    kept = np.zeros_like(label_map)
    for value in foreground_values(label_map):
        kept[largest_component(label_map == value)] = value
    return kept


def _nulled(measures: Measures) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else value for name, value in measures.items()}
