"""Check what nnU-Net made of a raw dataset: intensity statistics, plans, preprocessed cases and folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_annotation_tools.check.cases import CaseReport
from sparse_annotation_tools.check.findings import Finding
from sparse_annotation_tools.check.lost_planes import lost_planes
from sparse_annotation_tools.dataset.fingerprint import FILE_NAME as FINGERPRINT
from sparse_annotation_tools.dataset.fingerprint import make_fingerprint
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.schema import CasesFile

PLANS = "nnUNetPlans.json"
SPLITS = "splits_final.json"
_INTENSITIES = "foreground_intensity_properties_per_channel"
_COMPARED = ("mean", "std", "percentile_00_5", "percentile_99_5")  # what CTNormalization uses
_RELATIVE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """A dataset's preprocessed folder, and what to compare it with.

    Attributes:
        folder: `$nnUNet_preprocessed/DatasetXXX_Name`.
        raw: the raw dataset's folder.
        made: its `cases.json`.
        reports: of its training cases.
    """

    folder: Path
    raw: Path
    made: CasesFile
    reports: Sequence[CaseReport]

    @property
    def number(self) -> int:
        """The dataset's number."""
        return int(self.made.dataset.removeprefix("Dataset").split("_")[0])

    @property
    def plan(self) -> str:
        """The command that plans and preprocesses."""
        return f"nnUNetv2_plan_and_preprocess -d {self.number} -c 3d_fullres"

    def check(self) -> Iterator[Finding]:
        """Yield one finding for each thing looked at."""
        yield from self._splits()
        fingerprint = _json(self.folder / FINGERPRINT)
        plans = _json(self.folder / PLANS)
        if self.made.modality == "CT":
            yield from self._fingerprint(fingerprint, plans)
        if plans is None:
            yield Finding(level="note", check="plans", text="not planned yet", mend=self.plan)
            return
        for name, configuration in plans["configurations"].items():
            if len(configuration.get("spacing", ())) == 3:
                yield from self._planes(name, configuration["spacing"], plans["transpose_forward"])
                yield from self._cases(name, configuration["data_identifier"])

    def _fingerprint(self, found: dict[str, Any] | None, plans: dict[str, Any] | None) -> Iterator[Finding]:
        """On CT, nnU-Net normalises by statistics of foreground; its own count voxels that nobody annotated as such."""
        measures = [report.measure for report in sorted(self.reports, key=lambda report: report.case)]
        known = [measure for measure in measures if measure is not None]
        if len(known) < len(measures) or not any(measure.intensities.size for measure in known):
            yield Finding(level="note", check="fingerprint", text="not checked, as cases are faulty")
            return
        expected = make_fingerprint(known)[_INTENSITIES]
        remedy = f"{self.made.command}; then {self.plan}"
        if found is None:
            text = f"{FINGERPRINT} is missing: nnU-Net would count voxels that nobody annotated as foreground"
            yield Finding(level="error", check="fingerprint", text=text, mend=remedy)
        elif difference := _difference(found.get(_INTENSITIES, {}), expected):
            text = f"{FINGERPRINT} has {difference} on the annotated voxels: nnU-Net counted those nobody annotated"
            yield Finding(level="error", check="fingerprint", text=text, mend=remedy)
        elif plans is not None and (difference := _difference(plans.get(_INTENSITIES, {}), expected)):
            text = f"{PLANS} was made from another {FINGERPRINT}: it has {difference} on the annotated voxels"
            yield Finding(level="error", check="fingerprint", text=text, mend=self.plan)
        else:
            yield Finding(level="ok", check="fingerprint", text="CT intensities are those of the annotated voxels")

    def _planes(self, configuration: str, spacing_mm: Sequence[float], transpose: Sequence[int]) -> Iterator[Finding]:
        """Which annotated planes a stock trainer would not see."""
        target = [spacing_mm[list(transpose).index(axis)] for axis in range(3)]
        lost: dict[str, int] = {}
        total = 0
        for report in self.reports:
            if report.box is None or report.measure is None:
                continue
            planes = [(annotated.axis, annotated.index) for annotated in self.made.cases[report.case].slices]
            lower, cropped = report.box
            gone = lost_planes(
                planes, lower=lower, cropped=cropped, spacing_mm=report.measure.spacing_mm, target_spacing_mm=target
            )
            total += len(planes)
            if gone:
                lost[report.case] = len(gone)
        spacing = " x ".join(f"{side:g}" for side in spacing_mm)
        if not lost:
            text = f"{configuration}: resampling to {spacing} mm keeps all {total} annotated planes"
            yield Finding(level="ok", check="resampling", text=text)
            return
        some = ", ".join(f"{case} ({count})" for case, count in list(lost.items())[:5])
        text = (
            f"{configuration}: resampling to {spacing} mm loses {sum(lost.values())} of {total} annotated planes for "
            f"stock trainers: {some}{', ...' if len(lost) > 5 else ''}; nnUNetTrainerRADA draws them itself"
        )
        yield Finding(level="warning", check="resampling", text=text)

    def _cases(self, configuration: str, identifier: str) -> Iterator[Finding]:
        """Whether the preprocessed cases are those of the dataset."""
        folder = self.folder / identifier
        mend = f"nnUNetv2_preprocess -d {self.number} -c {configuration}"
        if not folder.is_dir():
            yield Finding(level="note", check="preprocessed", text=f"{configuration}: not preprocessed yet", mend=mend)
            return
        stored = {path.stem for path in folder.glob("*.pkl")}
        missing, extra = sorted(self.made.cases.keys() - stored), sorted(stored - self.made.cases.keys())
        for cases, what in ((missing, "lacks"), (extra, "holds, from another state of the dataset,")):
            if cases:
                text = f"{identifier} {what} {', '.join(cases[:5])}{', ...' if len(cases) > 5 else ''}"
                yield Finding(level="error", check="preprocessed", text=text, mend=mend)
        if not missing and not extra:
            text = f"{configuration}: all {len(stored)} training cases are preprocessed"
            yield Finding(level="ok", check="preprocessed", text=text)

    def _splits(self) -> Iterator[Finding]:
        """Whether nnU-Net's folds are the dataset's."""
        wanted, found = _json(self.raw / "rada" / SPLITS), _json(self.folder / SPLITS)
        mend = f"cp {self.raw / 'rada' / SPLITS} {self.folder / SPLITS}"
        if found == wanted and found is not None:
            yield Finding(level="ok", check="folds", text=f"{SPLITS} in nnUNet_preprocessed is the dataset's")
        elif found is None:
            text = f"no {SPLITS} in nnUNet_preprocessed yet: nnUNetTrainerRADA puts it there"
            yield Finding(level="note", check="folds", text=f"{text}, a stock trainer would scatter the labelled cases")
        elif wanted is not None:
            text = f"{SPLITS} in nnUNet_preprocessed is not the dataset's: nnUNetTrainerRADA replaces it"
            text += ", a stock trainer would use it"
            yield Finding(level="warning", check="folds", text=text, mend=mend)


def _difference(found: Mapping[str, Mapping[str, float]], expected: Mapping[str, Mapping[str, float]]) -> str | None:
    """Name the first number that is another, such as `channel 0 mean 12.3 instead of 98.7`."""
    for channel, numbers in expected.items():
        scale = max(abs(numbers["std"]), 1e-6)
        for name in _COMPARED:
            value = float(found.get(channel, {}).get(name, math.nan))
            if not abs(value - numbers[name]) <= _RELATIVE_TOLERANCE * scale:
                return f"channel {channel} {name} {value:.4g} instead of {numbers[name]:.4g}"
    return None


def _json(path: Path) -> Any:
    """Return the content of a JSON file, None where it is missing or damaged."""
    try:
        return load_json(path)
    except (OSError, ValueError):
        return None
