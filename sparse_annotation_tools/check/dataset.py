"""Check a raw dataset before hours of training: its records, its files, its prompts, and what nnU-Net made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_annotation_tools.check.cases import CaseReport, check_test_case, check_training_case
from sparse_annotation_tools.check.findings import Finding
from sparse_annotation_tools.check.preprocessed import Preprocessed
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.files.label_maps import Labels
from sparse_annotation_tools.files.volumes import FILE_ENDING
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import IGNORE, SCHEMA_VERSION, CasesFile, RadaFolder

TRAINERS_WITHOUT_PROMPTS = (
    "nnUNetTrainerStock",
    "nnUNetTrainerSupervised",
    "nnUNetTrainerSupervised_Fused",
    "nnUNetTrainerDeSCO",
    "nnUNetTrainerDeSCO_AxialSagittal",
    "nnUNetTrainerMT",
    "nnUNetTrainerUAMT",
    "nnUNetTrainerCPS",
    "nnUNetTrainerDTC",
    "nnUNetTrainerSASSNet",
    "nnUNetTrainerBCP",
)
"""Trainers that a dataset made with `--encoder none` is enough for."""


def check_dataset(folder: Path, preprocessed: Path | None, *, processes: int) -> list[Finding]:
    """Check one raw dataset; everything that can be looked at is, whatever was found before.

    Args:
        folder: of the raw dataset.
        preprocessed: its folder in `nnUNet_preprocessed`; None where that is not set.
        processes: how many read scans at once.
    """
    rada = RadaFolder(root=folder / "rada")
    unfinished = RadaFolder(root=folder / ".incomplete")
    if unfinished.cases_file.is_file():
        command = _loaded(unfinished)
        text = "the dataset is not finished: the command that makes it was stopped"
        mend = command.command if isinstance(command, CasesFile) else "the rada-make-sparse-dataset command again"
        return [Finding(level="error", check="records", text=text, mend=mend)]
    made = _loaded(rada)
    if isinstance(made, str):
        return [Finding(level="error", check="records", text=made)]
    raw = _RawDataset(folder=folder, rada=rada, made=made)
    reports = raw.read_cases(processes)
    training = [report for report in reports if report.role != "test"]
    findings = [*raw.records(), *(finding for report in reports for finding in report.findings)]
    findings += [*raw.same_images(reports), *raw.classes(), *raw.folds(), *raw.prompts()]
    if preprocessed is None:
        text = "nnUNet_preprocessed is not set: intensity statistics, plans and nnU-Net's folds were not checked"
        findings.append(
            Finding(level="note", check="plans", text=text, mend="export nnUNet_preprocessed=FOLDER, then this again")
        )
    else:
        findings += Preprocessed(folder=preprocessed, raw=folder, made=made, reports=training).check()
    return findings


def _loaded(rada: RadaFolder) -> CasesFile | str:
    try:
        return CasesFile.load(rada)
    except UserError as error:
        return str(error)


@dataclass(frozen=True, kw_only=True)
class _RawDataset:
    """A raw dataset's folder and its records."""

    folder: Path
    rada: RadaFolder
    made: CasesFile

    @property
    def number(self) -> int:
        return int(self.made.dataset.removeprefix("Dataset").split("_")[0])

    @property
    def remake(self) -> str:
        """The command that makes the dataset anew."""
        return self.made.command + ("" if "--overwrite" in self.made.command.split() else " --overwrite")

    def read_cases(self, processes: int) -> list[CaseReport]:
        """Check the files of every case, with a progress bar."""
        classes = sorted(self.made.classes.values())
        tasks: list[tuple[object, ...]] = [
            *((check_training_case, self.folder, case, self.made.cases[case], classes, self.remake) for case in
              (*self.made.labelled, *self.made.unlabelled)),
            *((check_test_case, self.folder, case, hashes, classes, self.remake) for case, hashes in
              sorted(self.made.test.items())),
        ]  # fmt: skip
        names = [str(case) for _, _, case, *_ in tasks]
        return run_in_processes(_call, tasks, names=names, processes=processes, description="checking cases")

    def records(self) -> Iterator[Finding]:
        """Counts, dataset.json, and cases that the records do not know."""
        labelled, unlabelled = len(self.made.labelled), len(self.made.unlabelled)
        slices = sum(len(case.slices) for case in self.made.cases.values())
        text = (
            f"schema version {SCHEMA_VERSION}; {labelled} labelled cases with {slices} annotated slices, "
            f"{unlabelled} unlabelled cases, {len(self.made.test)} test cases"
        )
        yield Finding(level="ok", check="records", text=text)
        if labelled == 0:
            yield self._wrong("records", "no case is labelled; annotate slices of at least one scan")
        if labelled == 1:
            text = "one labelled case validates on itself: validation says nothing about other scans; annotate one more"
            yield Finding(level="warning", check="records", text=text)
        if unlabelled == 0:
            text = "no unlabelled cases: the labelled ones serve as the unlabelled stream; add scans without labels"
            yield Finding(level="warning", check="records", text=text)
        yield from self._dataset_json()
        for case in (*self.made.cases, *self.made.test):
            if case.endswith("_seg"):
                yield self._wrong("names", "ends in _seg, and nnU-Net drops such cases from training; rename it", case)
        stored = {path.name[: -len("_0000" + FILE_ENDING)] for path in self.folder.glob(f"imagesTr/*{FILE_ENDING}")}
        for case in sorted(stored - self.made.cases.keys()):
            yield self._wrong("records", "is in imagesTr, but cases.json does not know it; add it to the input", case)

    def _dataset_json(self) -> Iterator[Finding]:
        path = self.folder / "dataset.json"
        try:
            labels = Labels.from_dataset_json(path)
        except UserError as error:
            yield self._wrong("records", str(error))
            return
        if labels.classes != self.made.classes or labels.ignore != len(self.made.classes) + 1:
            text = f"dataset.json has the classes {_text(labels.classes or {})} and {IGNORE} {labels.ignore}"
            expected = f"expected {_text(self.made.classes)} and {IGNORE} {len(self.made.classes) + 1}"
            yield self._wrong("records", f"{text}, {expected}")

    def same_images(self, reports: Sequence[CaseReport]) -> Iterator[Finding]:
        """Cases whose images hold the same voxels."""
        groups: defaultdict[str, list[CaseReport]] = defaultdict(list)
        for report in reports:
            if report.content is not None:
                groups[report.content].append(report)
        found = False
        for group in groups.values():
            if len(group) > 1:
                found = True
                yield self._same_image(group)
        if not found:
            yield Finding(level="ok", check="same image", text=f"all {len(groups)} images are different")

    def _same_image(self, group: Sequence[CaseReport]) -> Finding:
        roles = {report.role for report in group}
        text = f"{', '.join(f'{report.case} ({report.role})' for report in group)} are the same image"
        if "test" in roles and len(roles) > 1:
            return self._wrong("same image", f"{text}: the test would not be one; remove one of them from the input")
        text += "; keep one of them in the input"
        return Finding(level="warning", check="same image", text=text, mend=self.remake)

    def classes(self) -> Iterator[Finding]:
        """On how many labelled cases each class was annotated."""
        for name, value in self.made.classes.items():
            cases = [
                case
                for case in self.made.labelled
                if any(value in annotated.classes for annotated in self.made.cases[case].slices)
            ]
            text = f"{name} is on annotated slices of {len(cases)} of {len(self.made.labelled)} labelled cases"
            if cases:
                yield Finding(level="ok", check="classes", text=text)
            else:
                yield self._wrong("classes", f"{text}: nothing can be learnt of it; annotate it, or leave it out")

    def folds(self) -> Iterator[Finding]:
        """Whether the folds hold the dataset's cases, and each trains on every class."""
        try:
            folds = load_json(self.rada.splits_file)
            listed = [({*fold["train"]}, {*fold["val"]}) for fold in folds]
        except (OSError, ValueError, TypeError, KeyError) as error:
            yield self._wrong("folds", f"rada/splits_final.json cannot be read ({error!r})")
            return
        labelled = set(self.made.labelled)
        for number, (train, validation) in enumerate(listed):
            strange = sorted((train | validation) - self.made.cases.keys()) + sorted(validation - labelled)
            if strange or not validation or not train:
                text = f"fold {number} of rada/splits_final.json is stale"
                yield self._wrong("folds", text + (f": it names {strange[0]}" if strange else ": it is empty"))
                return
            shown = {
                value
                for case in train & labelled
                for annotated in self.made.cases[case].slices
                for value in annotated.classes
            }
            for name in (name for name, value in self.made.classes.items() if value not in shown):
                text = f"fold {number} trains on no annotated slice of {name}: nnUNetTrainerRADA refuses this fold"
                mend = f"nnUNetv2_train {self.number} 3d_fullres all -tr nnUNetTrainerRADA"
                yield Finding(level="warning", check="folds", text=text, mend=mend)
        text = f"{len(listed)} folds over {len(labelled)} labelled cases"
        yield Finding(level="ok", check="folds", text=text)

    def prompts(self) -> Iterator[Finding]:
        """Whether there are embeddings of every labelled case, and what they are worth."""
        mend = f"rada-embed -d {self.number} --encoder alpha-clip-tiny"
        if not self.rada.prompts_file.is_file():
            text = (
                "rada/prompts.safetensors, the embeddings of the annotated slices, is missing: "
                f"{', '.join(TRAINERS_WITHOUT_PROMPTS)} train without it; "
                "nnUNetTrainerRADA, its variants and nnUNetTrainerSGTC refuse to, and for them"
            )
            yield Finding(level="warning", check="prompts", text=text, mend=mend)
            return
        try:
            store = PromptStore.load(
                self.rada.prompts_file, classes=sorted(self.made.classes, key=lambda name: self.made.classes[name])
            )
        except UserError as error:
            yield Finding(level="error", check="prompts", text=str(error), mend=mend)
            return
        lacking = sorted(set(self.made.labelled) - store.images.keys())
        if lacking:
            text = f"rada/prompts.safetensors holds no embedding of {', '.join(lacking[:5])}"
            yield Finding(level="error", check="prompts", text=text, mend=mend)
        elif store.encoder == "random":
            yield Finding(level="warning", check="prompts", text=store.stamp or "encoder=random", mend=mend)
        else:
            stamp = f" ({store.stamp})" if store.stamp else ""
            yield Finding(level="ok", check="prompts", text=f"embeddings of encoder {store.encoder}{stamp}")

    def _wrong(self, check: str, text: str, case: str = "") -> Finding:
        return Finding(level="error", check=check, text=text, mend=self.remake, case=case)


def _call(function: object, *arguments: object) -> CaseReport:
    report = function(*arguments)  # type: ignore[operator]
    assert isinstance(report, CaseReport)
    return report


def _text(classes: object) -> str:
    return ", ".join(f"{value} ({name})" for name, value in dict(classes).items())  # type: ignore[call-overload]
