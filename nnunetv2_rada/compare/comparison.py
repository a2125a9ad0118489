"""Carry out a comparison: every row, every seed, with tables after each run."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnunetv2_rada.compare.datasets import Datasets
from nnunetv2_rada.compare.estimate import Estimate, Work, estimate
from nnunetv2_rada.compare.folder import ComparisonFolder, locked
from nnunetv2_rada.compare.processes import cpu_seconds, end_leftovers
from nnunetv2_rada.compare.rows import REFERENCE, Row
from nnunetv2_rada.compare.runs import RunFolder, RunKey, Training, failure_reason, finished_speed
from nnunetv2_rada.compare.speed import EpochClock, Speed, SpeedFile, iterations_of_seconds, mean_speed
from nnunetv2_rada.compare.variants import DatasetVariant, check_prompts, embedding_changes, resolve
from nnunetv2_rada.stages import Console
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json

_REFERENCE_TRAINER = f"nnUNetTrainer{REFERENCE}"
_PROBE_EPOCHS = 2  # of a run's own length, as validation and checkpoints cost seconds an epoch; the second one counts


class _Enough(Exception):  # noqa: N818 (it is no error)
    """A measurement is done; the command that it was made on may end."""


@dataclass(kw_only=True)
class Comparison:
    """The runs of some rows and seeds.

    Attributes:
        folder: where it lies.
        datasets: makes the datasets.
        training: trains, predicts, evaluates.
        rows: what was asked for.
        seeds: number of runs of each row.
        settings: RADA_CONFIG of every run, but for the seed, and the length of rows that match seconds.
        with_prompts: trainers that need embeddings.
        write_tables: called after each run.
        impossible: why a row cannot be run, by its name.
    """

    folder: ComparisonFolder
    datasets: Datasets
    training: Training
    rows: Sequence[Row]
    seeds: int
    settings: Mapping[str, Any]
    with_prompts: frozenset[str]
    write_tables: Callable[[], None]
    impossible: dict[str, str] = field(default_factory=dict)

    @property
    def console(self) -> Console:
        """Where progress is shown."""
        return self.training.external.console

    def variant(self, row: Row) -> DatasetVariant:
        """Return the dataset of a row.

        Raises:
            UserError: it cannot be made.
        """
        variant = resolve(row.need, self.datasets.given)
        embedding_changes(self.datasets.given, variant)
        if row.trainer_class in self.with_prompts:
            check_prompts(self.datasets.given, variant)
        return variant

    def sort_out(self) -> None:
        """Set rows aside that cannot be run.

        Raises:
            UserError: none can be run.
        """
        for row in self.rows:
            try:
                self.variant(row)
            except UserError as error:
                self.impossible[row.name] = str(error)
        for name, reason in self.impossible.items():
            self.console.line(f"not possible: {name}: {reason}")
        if len(self.impossible) == len(self.rows):
            raise UserError(next(iter(self.impossible.values())))

    def keys(self) -> list[RunKey]:
        """Return the runs, seed by seed; of a seed the reference first, rows that match its seconds last."""
        possible = [row for row in self.rows if row.name not in self.impossible]
        ordered = sorted(possible, key=lambda row: (row.matches_seconds, row.name != REFERENCE))
        keys: dict[str, RunKey] = {}
        for seed in range(self.seeds):
            for row in ordered:
                key = RunKey(row=row, variant=self.variant(row), seed=seed)
                keys.setdefault(key.name, key)
        return list(keys.values())

    def run_folder(self, key: RunKey) -> RunFolder:
        """Return where a run lies."""
        return RunFolder(root=self.folder.runs / key.name)

    def run(self) -> list[str]:
        """Carry out what is not finished; return the names of runs that failed."""
        failed = []
        keys = self.keys()
        for number, key in enumerate(keys, start=1):
            folder = self.run_folder(key)
            if folder.is_finished:
                continue
            with locked(folder.root, wait=False) as mine:
                if not mine:
                    self.console.line(f"run {number} of {len(keys)}: {key.name} is carried out by another process")
                    continue
                if folder.is_finished:  # by another process, since
                    continue
                self.console.line(
                    f"run {number} of {len(keys)}: {key.name}; left: {self.estimate() or 'not known yet'}"
                )
                folder.failure.unlink(missing_ok=True)
                try:
                    place = self.datasets.make(key.variant)
                    settings = folder.read(folder.settings) or self._settings_of(key)  # a run keeps what it began with
                    self.training.carry_out(key, folder, place, settings)
                except UserError as error:
                    reason = failure_reason(folder, error)
                    write_json(folder.failure, {"reason": reason})
                    failed.append(key.name)
                    self.console.line(f"      failed: {reason}")
            self.write_tables()
        return failed

    # ---- speed and budgets ----------------------------------------------------------------------------------------

    def speeds(self) -> dict[str, Speed]:
        """Return what is known of trainers' speeds: from finished runs, else measured by itself."""
        measured: dict[str, list[Speed]] = {}
        for record in sorted(self.folder.runs.glob("*/run.json")):
            run = RunFolder(root=record.parent)
            if (speed := finished_speed(run)) is not None:
                measured.setdefault(run.read(record)["trainer"], []).append(speed)
        result = {trainer: speed for trainer, several in measured.items() if (speed := mean_speed(several))}
        for file in sorted(self.folder.speeds.glob("*/epochs.json")):
            probed = SpeedFile(file).speed()
            if probed is not None and len(json.loads(file.read_text())) > 1:
                result.setdefault(file.parent.name, probed)
        return result

    def estimate(self) -> Estimate | None:
        """Return the time that all unfinished runs will take; None where nothing has been measured."""
        speeds = self.speeds()
        if not speeds:
            return None
        iterations = int(self.settings["num_iterations"])
        work = [
            Work(
                trainer=_REFERENCE_TRAINER if key.row.matches_seconds else key.row.trainer_class, iterations=iterations
            )
            for key in self.keys()
            if not self.run_folder(key).is_finished
        ]
        return estimate(work, speeds, self._overheads())

    def measure_first(self) -> None:
        """Measure the speed of one trainer, the reference's where it is among them, where no speed is known.

        A trainer that fails is left to its run, which says so in the tables.
        """
        unfinished = [key for key in self.keys() if not self.run_folder(key).is_finished]
        for key in unfinished:
            if self.speeds():
                return
            of_reference = key.row.matches_seconds  # its length follows from the reference's
            with contextlib.suppress(UserError):
                self.speed(_REFERENCE_TRAINER if of_reference else key.row.trainer_class, key.variant)

    def speed(self, trainer: str, variant: DatasetVariant) -> Speed:
        """Return a trainer's speed; train some iterations where it is not known."""
        if trainer not in self.speeds():
            self._probe(trainer, variant)
        return self.speeds()[trainer]

    def _probe(self, trainer: str, variant: DatasetVariant) -> None:
        place = self.datasets.make(variant)
        folder = RunFolder(root=self.folder.speeds / trainer)
        with locked(folder.root, wait=True):
            if trainer in self.speeds():  # measured by another process, since
                return
            length = int(self.settings["iterations_per_epoch"])
            self.console.line(f"measure the speed of {trainer} over {_PROBE_EPOCHS} epochs of {length} iterations")
            (folder.root / "epochs.json").unlink(missing_ok=True)
            shutil.rmtree(folder.results, ignore_errors=True)
            folder.results.mkdir(parents=True)
            write_json(folder.settings, {**self.settings, "num_iterations": _PROBE_EPOCHS * length})
            clock = EpochClock(lambda: cpu_seconds(folder.root))

            def on_line(line: str) -> str | None:
                if (epoch := clock(line)) is not None:
                    folder.speed.add(epoch, length)
                    if not epoch.first:
                        raise _Enough
                return None

            with contextlib.suppress(_Enough):
                self.training.external.run(
                    self.training.train_command(trainer, place),
                    log=folder.root / "logs" / "train.log",
                    run=folder.root,
                    environment={**place.environment(folder.results), "RADA_CONFIG": str(folder.settings)},
                    on_line=on_line,
                )
            end_leftovers(folder.root)
            shutil.rmtree(folder.results, ignore_errors=True)

    def _settings_of(self, key: RunKey) -> dict[str, Any]:
        """Return RADA_CONFIG of a run; a row that matches seconds gets as many as the reference takes."""
        settings = {**self.settings, "seed": key.seed}
        if not key.row.matches_seconds:
            return settings
        device = self.training.device
        own = finished_speed(RunFolder(root=self.folder.runs / f"{REFERENCE}@given@seed{key.seed}"))
        reference = own or self.speed(_REFERENCE_TRAINER, DatasetVariant())
        seconds = reference.seconds(device) * int(self.settings["num_iterations"])
        own_speed = self.speed(key.row.trainer_class, key.variant)
        iterations, length = iterations_of_seconds(
            seconds, own_speed.seconds(device), length=int(self.settings["iterations_per_epoch"])
        )
        self.console.line(f"      {seconds:.0f} seconds, as {REFERENCE} takes: {iterations} iterations")
        return {**settings, "num_iterations": iterations, "iterations_per_epoch": length}

    def _overheads(self) -> list[float]:
        """Seconds of finished runs beyond their training's iterations."""
        result = []
        for path in self.folder.runs.glob("*/run.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["seconds_per_iteration"]:
                training = record["iterations"] * record["seconds_per_iteration"]["wall"]
                stages = record["stage_seconds"]
                result.append(max(0.0, stages["train"] - training) + stages["predict"] + stages["evaluate"])
        return result
