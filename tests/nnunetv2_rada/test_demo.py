"""The demo stays in its folder, goes on where it stopped and reports plainly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_rada import demo
from nnunetv2_rada.config import Config
from nnunetv2_rada.demo import DemoFolder, DemoSettings, EpochSummary, demo_stages, dice_table, last_words, open_folder
from nnunetv2_rada.stages import Console
from sparse_annotation_tools.errors import UserError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that the demo would have run, in order."""
    called: list[list[str]] = []

    def record(command: Sequence[str], **_: Any) -> None:
        called.append(list(command))

    monkeypatch.setattr(demo, "run_command", record)
    return called


def _stage(folder: DemoFolder, name: str) -> None:
    stages = {stage.name: stage for stage in demo_stages(folder, DemoSettings(), "cpu", Console(rewrite=False))}
    stages[name].run()


def test_the_job_runs_the_stock_commands_in_order(tmp_path: Path, commands: list[list[str]]) -> None:
    """Between phantoms and picture there are only console commands, nnU-Net's own where it has one."""
    folder = open_folder(tmp_path / "demo", DemoSettings(), overwrite=False)
    names = [stage.name for stage in demo_stages(folder, DemoSettings(), "cpu", Console(rewrite=False))]
    assert (names[0], names[-1]) == ("phantoms", "picture")
    for name in names[1:-1]:
        _stage(folder, name)
    assert [command[0] for command in commands] == [
        "rada-make-sparse-dataset",
        "nnUNetv2_plan_and_preprocess",
        "nnUNetv2_train",
        "nnUNetv2_predict",
        "rada-evaluate",
    ]


def test_the_demo_encodes_with_the_encoder_that_follows_the_mask(tmp_path: Path, commands: list[list[str]]) -> None:
    """The one inside the package: nothing is downloaded, and nothing is random."""
    _stage(open_folder(tmp_path / "demo", DemoSettings(), overwrite=False), "make_dataset")
    (command,) = commands
    assert command[command.index("--encoder") + 1] == "alpha-clip-tiny"


@pytest.mark.parametrize("checkpoint", ["checkpoint_latest.pth", "checkpoint_final.pth"])
def test_training_goes_on_from_a_checkpoint(tmp_path: Path, commands: list[list[str]], checkpoint: str) -> None:
    """`--c` is given exactly when there is a checkpoint to go on from."""
    folder = open_folder(tmp_path / "demo", DemoSettings(), overwrite=False)
    _stage(folder, "train")
    folder.fold.mkdir(parents=True)
    (folder.fold / checkpoint).touch()
    _stage(folder, "train")
    assert ["--c" in command for command in commands] == [False, True]


def test_everything_is_written_inside_the_folder(tmp_path: Path) -> None:
    """nnU-Net's folders and the config are the demo's own, whatever the user's variables say."""
    folder = open_folder(tmp_path / "demo", DemoSettings(), overwrite=False)
    environment = folder.environment()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "RADA_CONFIG"):
        assert Path(environment[name]).is_relative_to(tmp_path / "demo")
    config = Config().overridden_by_file(environment["RADA_CONFIG"])
    assert config.num_iterations == DemoSettings().num_iterations


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """A folder that is no demo's is refused, with and without --overwrite."""
    (tmp_path / "thesis.txt").write_text("final")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other files"):
            open_folder(tmp_path, DemoSettings(), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_demo_with_other_settings_is_refused_until_overwritten(tmp_path: Path) -> None:
    """Settings of two demos never mix; --overwrite deletes what the demo wrote and nothing else."""
    folder = open_folder(tmp_path / "demo", DemoSettings(), overwrite=False)
    folder.fold.mkdir(parents=True)
    (folder.root / "my notes.txt").write_text("keep")
    open_folder(folder.root, DemoSettings(), overwrite=False)
    assert folder.fold.exists()
    with pytest.raises(UserError, match="made with other settings; give --overwrite"):
        open_folder(folder.root, DemoSettings(seed=1), overwrite=False)
    open_folder(folder.root, DemoSettings(seed=1), overwrite=True)
    assert not folder.fold.exists()
    assert (folder.root / "my notes.txt").exists()


def test_the_training_log_is_summarised() -> None:
    """Of nnU-Net's log the reader sees the epoch, the loss and the time that is left."""
    summary = EpochSummary(10)
    assert summary("INFO: You are using the old nnU-Net default plans.") is None
    assert summary("RADA side volumes:  12%|█▎  | 1/8 [02:13<15:33, 133.39s/case]") == "RADA side volumes 1/8"
    assert summary("RADA side volumes: 2/8, 0:20 gone, about 1:00 left") == "RADA side volumes 2/8"
    stamp = "2025-01-31 10:00:00.123456: "
    shown = [
        summary(stamp + line)
        for line in ("Epoch 0", "Current learning rate: 0.01", "train_loss 0.9", "Epoch time: 12.5 s", "Epoch 1 ")
    ]
    assert shown == ["epoch 1 of 10", None, None, None, "epoch 2 of 10, loss 0.9, about 1:52 left"]
    assert summary("predicting phantom_labelled_00") == "validating: predicting phantom_labelled_00"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("propagating slices:  12%|█▎        | 3/24 [00:32<03:06,  8.86s/it]\n", "propagating slices 3/24"),
        (" 50%|█████     | 1/2 [00:32<03:06]", "1/2"),
        ("encoding slices: 3/24, 0:32 gone, about 3:44 left\n", "encoding slices 3/24"),
        ("encoding slices: 24/24, 4:16\n", "encoding slices 24/24"),
        ("2025-01-31 10:00:00.123456: Experiment planning...", "Experiment planning..."),
        ("############\n", None),
        ("\n", None),
    ],
)
def test_a_line_of_output_is_shortened(line: str, shown: str | None) -> None:
    """Time stamps and bars go, decoration is not shown at all."""
    assert last_words(line) == shown


def test_the_dice_table_has_a_line_per_case_and_shows_missing_numbers() -> None:
    """A score that does not exist is a dash, not a zero."""
    evaluation = {
        "cases": {"a": {"organ": {"dice": 0.5}}, "b": {"organ": {"dice": None}}},
        "mean": {"organ": {"dice": 0.5}},
        "sd": {"organ": {"dice": None}},
    }
    assert dice_table(evaluation).splitlines() == [
        "Dice  organ",
        "a     0.500",
        "b         -",
        "mean  0.500",
        "sd        -",
    ]
