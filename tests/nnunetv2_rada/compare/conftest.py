"""A small dataset, and stock commands that do nothing but leave what they would leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantom_dataset import make_options, words

from nnunetv2_rada.compare import external
from sparse_annotation_tools.cli.make_sparse_dataset import main as make_sparse_dataset
from sparse_annotation_tools.files.volumes import read_label, write_label
from sparse_annotation_tools.phantom import write_phantom_set

NAME = "Dataset901_Phantom"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An nnUNet_raw with one dataset, cut out of dense labels that lie beside it."""
    root = tmp_path_factory.mktemp("compared")
    (root / "raw").mkdir()
    scans = root / "scans"
    write_phantom_set(scans, labelled=2, unlabelled=1, test=3, shape=(12, 16, 18), classes=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_raw", str(root / "raw"))
        status = make_sparse_dataset(
            words(make_options(scans, unlabelled=True, test=True, **{"-d": "901", "--morphology-mm": "0"}))
        )
    assert status == 0
    return root / "raw"


@pytest.fixture
def raw(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where the commands look for it."""
    monkeypatch.setenv("nnUNet_raw", str(made))
    return made


@dataclass
class StockCommands:
    """Stands in for the commands of nnU-Net and of this project.

    Attributes:
        raw: nnUNet_raw of the dataset.
        called: every command, with its environment.
        seconds: of an iteration, by trainer; 1 where none is named.
        broken: what goes wrong, by a word of the command.
    """

    raw: Path
    called: list[tuple[list[str], dict[str, str]]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    broken: dict[str, BaseException] = field(default_factory=dict)
    now: float = 0.0

    def names(self) -> list[str]:
        """Return what was run: the command, and of a training its trainer and `--c`."""
        return [
            " ".join([command[0], *(word for word in command if word.startswith("nnUNetTrainer") or word == "--c")])
            for command, _ in self.called
        ]

    def trained(self, trainer: str) -> list[dict[str, str]]:
        """Return the environments of the trainings of a trainer, its measurement left out."""
        return [
            environment
            for command, environment in self.called
            if command[0] == "nnUNetv2_train" and trainer in command and "/runs/" in environment["nnUNet_results"]
        ]

    def __call__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        console: Any,
        summary: Callable[[str], Any],
    ) -> None:
        """Do as `stages.run_command`."""
        self.called.append((list(command), dict(environment)))
        for word, error in self.broken.items():
            if word in " ".join(command):
                raise error
        steps = {
            "nnUNetv2_plan_and_preprocess": self._preprocess,
            "rada-make-sparse-dataset": self._make,
            "rada-embed": self._embed,
            "nnUNetv2_train": self._train,
            "nnUNetv2_predict": self._predict,
        }
        steps[command[0]](list(command), environment, summary)

    def _preprocess(self, command: list[str], environment: Mapping[str, str], summary: Any) -> None:
        folder = Path(environment["nnUNet_preprocessed"]) / NAME
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nnUNetPlans.json").write_text("{}")

    def _make(self, command: list[str], environment: Mapping[str, str], summary: Any) -> None:
        shutil.copytree(self.raw / NAME, Path(environment["nnUNet_raw"]) / NAME)

    def _embed(self, command: list[str], environment: Mapping[str, str], summary: Any) -> None:
        (Path(environment["nnUNet_raw"]) / NAME / "rada" / "prompts.safetensors").write_bytes(b"")

    def _train(self, command: list[str], environment: Mapping[str, str], summary: Any) -> None:
        settings = json.loads(Path(environment["RADA_CONFIG"]).read_text())
        trainer = command[command.index("-tr") + 1]
        length = settings["iterations_per_epoch"]
        for epoch in range(settings["num_iterations"] // length):
            summary(f"2026: Epoch {epoch}")
            self.now += length * self.seconds.get(trainer, 1.0)
            summary("2026: Epoch time: 1.0 s")
        fold = Path(environment["nnUNet_results"]) / NAME / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_all"
        fold.mkdir(parents=True, exist_ok=True)
        (fold / "checkpoint_final.pth").write_bytes(b"")

    def _predict(self, command: list[str], environment: Mapping[str, str], summary: Any) -> None:
        """Predict the truth, shifted by a voxel for other trainers than RADA."""
        output = Path(command[command.index("-o") + 1])
        for path in sorted((self.raw / NAME / "labelsTs").glob("*.nii.gz")):
            label = read_label(path)
            shift = 0 if "nnUNetTrainerRADA" in command else 1
            write_label(output / path.name, np.roll(label.array, shift, axis=2).astype(np.uint8), label.geometry)


@pytest.fixture
def commands(raw: Path, monkeypatch: pytest.MonkeyPatch) -> StockCommands:
    """Put the stand-ins in place of the commands; the clock runs with them."""
    from nnunetv2_rada.compare import comparison, report, runs
    from nnunetv2_rada.compare.speed import EpochClock

    stand_in = StockCommands(raw)
    monkeypatch.setattr(report, "draw", lambda *_: None)  # takes a second; has a test of its own
    monkeypatch.setattr(external, "run_command", stand_in)
    for module in (runs, comparison):
        monkeypatch.setattr(module, "EpochClock", lambda _: EpochClock(lambda: stand_in.now, lambda: stand_in.now))
    return stand_in
