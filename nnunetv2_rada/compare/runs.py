"""One run: a trainer, a dataset, a seed; trained, predicted and evaluated."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.datasets import VariantFolder
from nnunetv2_rada.compare.external import External
from nnunetv2_rada.compare.processes import cpu_seconds
from nnunetv2_rada.compare.rows import Row
from nnunetv2_rada.compare.speed import EpochClock, Speed, SpeedFile
from nnunetv2_rada.compare.variants import DatasetVariant
from nnunetv2_rada.demo import EpochSummary
from nnunetv2_rada.stages import Stage, run_stages
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json

_TAIL = 30  # lines of a log in which its last error is looked for


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What tells a run from others. Rows of several tables may mean the same run.

    Attributes:
        row: one of the rows that mean it.
        variant: the dataset.
        seed: of initialisation, batches, dropout and noise.
    """

    row: Row
    variant: DatasetVariant
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.row.trainer}@{self.variant.name}@seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Paths of one run."""

    root: Path

    @property
    def settings(self) -> Path:
        """RADA_CONFIG of the run."""
        return self.root / "rada.json"

    @property
    def results(self) -> Path:
        """Its nnUNet_results."""
        return self.root / "results"

    @property
    def predictions(self) -> Path:
        """Predicted test scans."""
        return self.root / "predictions"

    @property
    def scores(self) -> Path:
        """What `rada-evaluate` says of them."""
        return self.root / "scores.json"

    @property
    def record(self) -> Path:
        """Budget and times; its presence says that the run is finished."""
        return self.root / "run.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed."""
        return self.root / "failure.json"

    @property
    def speed(self) -> SpeedFile:
        """Its epochs that were timed."""
        return SpeedFile(self.root / "epochs.json")

    @property
    def is_finished(self) -> bool:
        """Whether its scores are there for good."""
        return self.record.is_file()

    def read(self, path: Path) -> Any:
        """Return the content of one of its JSON files, None where there is none."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How every run trains and predicts.

    Attributes:
        configuration: of nnU-Net's plans.
        device: cpu, cuda or mps.
        truth: dense labels of the test scans.
        images: the test scans.
        external: runs commands.
    """

    configuration: str
    device: str
    truth: Path
    images: Path
    external: External

    def carry_out(self, key: RunKey, folder: RunFolder, place: VariantFolder, settings: Mapping[str, Any]) -> None:
        """Train, predict and evaluate; take up what an earlier attempt left.

        Raises:
            UserError: a command failed.
        """
        if not folder.settings.is_file():  # a run that was begun keeps its settings
            write_json(folder.settings, dict(settings))
        stages = [
            Stage(
                name="train",
                title=f"train: nnUNetv2_train ... -tr {key.row.trainer_class}",
                run=lambda: self._train(key, folder, place),
            ),
            Stage(name="predict", title="predict the test scans", run=lambda: self._predict(key, folder, place)),
            Stage(name="evaluate", title="compare with the truth", run=lambda: self._evaluate(folder)),
        ]
        begin = time.monotonic()
        seconds = run_stages(stages, folder.root / "stages", self.external.console)
        speed = folder.speed.speed()
        write_json(
            folder.record,
            {
                "trainer": key.row.trainer_class,
                "dataset": key.variant.name,
                "seed": key.seed,
                "iterations": folder.read(folder.settings)["num_iterations"],
                "seconds_per_iteration": asdict(speed) if speed else None,
                "device": self.device,
                "stage_seconds": seconds,
                "last_attempt_seconds": time.monotonic() - begin,
            },
        )

    def _environment(self, folder: RunFolder, place: VariantFolder) -> dict[str, str]:
        folder.results.mkdir(parents=True, exist_ok=True)
        return {**place.environment(folder.results), "RADA_CONFIG": str(folder.settings)}

    def _train(self, key: RunKey, folder: RunFolder, place: VariantFolder) -> None:
        settings = folder.read(folder.settings)
        length = settings["iterations_per_epoch"]
        command = [*self.train_command(key.row.trainer_class, place)]
        if any(folder.results.glob("*/*/fold_all/checkpoint_*.pth")):
            command.append("--c")
        clock = EpochClock(lambda: cpu_seconds(folder.root))
        summary = EpochSummary(settings["num_iterations"] // length)

        def on_line(line: str) -> str | None:
            if (epoch := clock(line)) is not None and not (epoch.first and "--c" in command):
                folder.speed.add(epoch, length)  # the first epoch after --c may be a part of one
            return summary(line)

        self._external("train", command, folder, place, on_line)

    def train_command(self, trainer: str, place: VariantFolder) -> list[str]:
        """Return the stock command that trains on all labelled scans."""
        number = place.dataset.split("_")[0][7:]
        return ["nnUNetv2_train", number, self.configuration, "all", "-tr", trainer, "-device", self.device]

    def _predict(self, key: RunKey, folder: RunFolder, place: VariantFolder) -> None:
        shutil.rmtree(folder.predictions, ignore_errors=True)
        command = [
            *("nnUNetv2_predict", "-i", str(self.images), "-o", str(folder.predictions), "-d", place.dataset),
            *("-c", self.configuration, "-f", "all", "-tr", key.row.trainer_class),
            *("-device", self.device, "-npp", "1", "-nps", "1"),
        ]
        self._external("predict", command, folder, place, EpochSummary(1))

    def _external(self, name: str, command: list[str], folder: RunFolder, place: VariantFolder, on_line: Any) -> None:
        self.external.run(
            command,
            log=folder.root / "logs" / f"{name}.log",
            run=folder.root,
            environment=self._environment(folder, place),
            on_line=on_line,
        )

    def _evaluate(self, folder: RunFolder) -> None:
        from sparse_annotation_tools.evaluation.evaluate import evaluate_pairs
        from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind
        from sparse_annotation_tools.files.label_maps import find_labels, find_pairs

        pairs, _ = find_pairs(self.truth, folder.predictions)
        evaluation = evaluate_pairs(pairs, find_labels(self.truth, folder.predictions))
        write_json(folder.scores, {**evaluation.to_json(), "embeddings": embeddings_behind(folder.predictions)})


def finished_speed(folder: RunFolder) -> Speed | None:
    """Return the speed of a finished run."""
    record = folder.read(folder.record)
    stored = record and record["seconds_per_iteration"]
    return Speed(**stored) if stored else None


def failure_reason(folder: RunFolder, error: UserError) -> str:
    """Return why a run failed: the error that its command printed last, where the message only says that it ended."""
    for log in folder.root.glob("logs/*.log"):
        if str(log) in str(error):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
            named = [line.strip() for line in lines if re.search(r"error\b|Error:", line)]
            return f"{named[-1]} ({log})" if named else str(error)
    return str(error)
