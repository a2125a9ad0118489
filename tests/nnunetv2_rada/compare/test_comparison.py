"""A comparison runs every row once, goes on where it stopped, and says what is missing."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_rada.compare.command import main
from nnunetv2_rada.compare.folder import locked
from nnunetv2_rada.compare.runs import RunFolder, failure_reason
from nnunetv2_rada.data.rada_folder import sync_rada_folder
from sparse_annotation_tools.errors import UserError

Compare = Callable[..., int]
StockCommands = Any  # of conftest.py


@pytest.fixture
def compare(tmp_path: Path, commands: StockCommands) -> Compare:
    """Run the command in one folder, with stand-ins for the stock commands."""

    def run(*more: str, methods: str = "RADA MT", seeds: int = 1, table: str = "I", iterations: int = 20) -> int:
        argv = ["-d", "901", "--table", *table.split(), "-o", str(tmp_path / "out"), "-device", "cpu"]
        argv += ["--methods", *methods.split()] if methods else []
        return main([*argv, "--iterations", str(iterations), "--seeds", str(seeds), *more])

    return run


def _rows(tmp_path: Path) -> dict[str, dict[str, str]]:
    with (tmp_path / "out" / "results.csv").open() as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def test_each_row_and_seed_is_trained_once(compare: Compare, commands: StockCommands, tmp_path: Path) -> None:
    """In a results folder of its own, with its seed; typed again, nothing runs; more seeds are added."""
    assert compare(seeds=2) == 0
    trained = commands.trained("nnUNetTrainerRADA")
    assert [json.loads(Path(one["RADA_CONFIG"]).read_text())["seed"] for one in trained] == [0, 1]
    assert len({one["nnUNet_results"] for one in trained}) == 2
    assert {one["nnUNet_raw"] for one in trained} == {str(commands.raw)}
    assert all(one["nnUNet_preprocessed"].startswith(str(tmp_path)) for one in trained)
    assert len(commands.trained("nnUNetTrainerMT")) == 2
    count = len(commands.called)
    assert compare(seeds=2) == 0
    assert len(commands.called) == count
    assert compare(seeds=3) == 0
    assert len(commands.trained("nnUNetTrainerMT")) == 3


def test_the_tables_hold_every_row_and_mark_those_that_were_not_run(compare: Compare, tmp_path: Path) -> None:
    """RADA predicted the truth and MT the truth moved by a voxel; the paper's numbers stand beside them."""
    assert compare("--paper-dataset", "LA") == 0
    rows = _rows(tmp_path)
    assert float(rows["RADA"]["dice"]) == 1
    assert 0 < float(rows["MT"]["dice"]) < 1
    difference = float(rows["MT"]["dice"]) - 1
    assert float(rows["MT"]["dice_minus_RADA"]) == pytest.approx(difference, abs=1e-5)
    assert float(rows["MT"]["dice_minus_RADA_low"]) <= difference <= float(rows["MT"]["dice_minus_RADA_high"])
    assert (rows["MT"]["status"], rows["CPS"]["status"]) == ("finished", "not run")
    assert rows["RADA"]["paper_dice"] == "0.8652"
    assert {row["table"] for row in rows.values()} == {"I"}  # RADA stands in others too, but nobody asked for those
    text = (tmp_path / "out" / "results.md").read_text()
    for wanted in (
        "20 iterations for every row",
        "CPU seconds",
        "no semantics",
        "- **hd95**:",
        "| not run |",
        "0.8652",
    ):
        assert wanted in text


def test_a_row_that_equals_the_reference_differs_by_zero(compare: Compare, tmp_path: Path) -> None:
    """A run of its own with the same scores; a row that is the reference's run itself has no difference."""
    assert compare("--embedding", "--encoder random", table="I VII", methods="RADA RADA-text-photo") == 0
    rows = _rows(tmp_path)
    assert rows["RADA-text-photo"]["dataset"] == "given_text-photo"
    assert float(rows["RADA-text-photo"]["dice_minus_RADA"]) == 0
    assert rows["RADA"]["dice_minus_RADA"] == ""


def test_a_failed_run_is_marked_with_its_reason_and_the_others_go_on(
    compare: Compare, commands: StockCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 at the end; the next start tries it again."""
    commands.broken["nnUNetTrainerRADA"] = UserError("the disk is full")
    assert compare("--yes", methods="MT RADA CPS") == 2
    rows = _rows(tmp_path)
    assert rows["RADA"]["status"] == "seed 0 failed: the disk is full"
    assert rows["CPS"]["status"] == "finished"
    assert "`RADA`: seed 0 failed: the disk is full" in (tmp_path / "out" / "results.md").read_text()
    assert "1 runs failed (RADA@given@seed0)" in capsys.readouterr().err
    commands.broken.clear()
    assert compare(methods="MT RADA CPS") == 0
    assert _rows(tmp_path)["RADA"]["status"] == "finished"


def test_the_reason_is_what_the_command_said_last(tmp_path: Path) -> None:
    """That it ended with status 2 is no reason; an error before any command is one."""
    folder = RunFolder(root=tmp_path)
    log = tmp_path / "logs" / "train.log"
    log.parent.mkdir()
    log.write_text("Epoch 0\nnnUNetTrainerMT: error: the loss of mt is nan at iteration 3\n")
    ended = UserError(f"nnUNetv2_train ended with status 2; its whole output is in {log}; mend it")
    assert failure_reason(folder, ended) == f"nnUNetTrainerMT: error: the loss of mt is nan at iteration 3 ({log})"
    assert failure_reason(folder, UserError("the scans have changed")) == "the scans have changed"
    log.write_text("Killed\n")
    assert failure_reason(folder, ended) == str(ended)


class _Killed(BaseException):
    """The end of the process, at a certain command."""


@pytest.mark.parametrize("word", ["plan_and_preprocess", "/runs/", "nnUNetTrainerMT"])
def test_a_comparison_that_was_killed_goes_on(
    compare: Compare, commands: StockCommands, tmp_path: Path, word: str
) -> None:
    """Killed in any command, then started again: what was finished is not run again, and nothing is left out."""
    commands.broken[word] = _Killed()
    with pytest.raises(_Killed):
        compare()
    commands.broken.clear()
    before = commands.names()
    assert compare() == 0
    rows = _rows(tmp_path)
    assert (rows["RADA"]["status"], rows["MT"]["status"]) == ("finished", "finished")
    if word == "nnUNetTrainerMT":
        assert "nnUNetv2_predict nnUNetTrainerRADA" in before
        assert "nnUNetv2_predict nnUNetTrainerRADA" not in commands.names()[len(before) :]


def test_training_is_continued_from_its_checkpoint(compare: Compare, commands: StockCommands) -> None:
    """Killed while predicting: --c is given where a checkpoint lies, and the training is not done again."""
    commands.broken["nnUNetv2_predict"] = _Killed()
    with pytest.raises(_Killed):
        compare(methods="MT")
    commands.broken.clear()
    assert compare(methods="MT") == 0
    assert len(commands.trained("nnUNetTrainerMT")) == 1
    fold = next(Path(commands.trained("nnUNetTrainerMT")[0]["nnUNet_results"]).glob("*/*/fold_all"))
    run = fold.parents[3]
    for path in (run / "run.json", *(run / "stages").iterdir()):
        path.unlink()
    assert compare(methods="MT") == 0
    assert commands.names()[-2] == "nnUNetv2_train nnUNetTrainerMT --c"


def test_stock_gets_the_references_seconds(compare: Compare, commands: StockCommands, tmp_path: Path) -> None:
    """RADA takes 3 seconds an iteration and stock 1.5: twice as many iterations, on the labelled scans alone."""
    commands.seconds = {"nnUNetTrainerRADA": 3.0, "nnUNetTrainerStock": 1.5}
    assert compare(methods="RADA Stock", iterations=100) == 0
    (environment,) = commands.trained("nnUNetTrainerStock")
    settings = json.loads(Path(environment["RADA_CONFIG"]).read_text())
    assert settings["num_iterations"] == 200
    images = Path(environment["nnUNet_raw"]) / "Dataset901_Phantom" / "imagesTr"
    assert len(list(images.iterdir())) == 2
    rows = _rows(tmp_path)
    assert rows["Stock"]["training_seconds"] == rows["RADA"]["training_seconds"] == "300"


def test_rows_with_other_slices_get_a_dataset_in_the_comparisons_own_folder(
    compare: Compare, commands: StockCommands, tmp_path: Path
) -> None:
    """The user's dataset is left as it is; other prompts are encoded on links to the same scans."""
    before = sorted((path, path.stat().st_mtime_ns) for path in commands.raw.rglob("*"))
    assert compare(methods="MT-SA RADA-text-photo", table="I VII") == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in commands.raw.rglob("*")) == before
    made = next(command for command, _ in commands.called if command[0] == "rada-make-sparse-dataset")
    assert made[made.index("--simulate") + 1] == "SA"
    embedded, environment = next(one for one in commands.called if one[0][0] == "rada-embed")
    assert embedded[embedded.index("--prompt") + 1] == "photo"
    assert embedded[embedded.index("--encoder-seed") + 1] == "0"
    raw = Path(environment["nnUNet_raw"]) / "Dataset901_Phantom"
    assert (raw / "imagesTr").resolve() == (commands.raw / "Dataset901_Phantom" / "imagesTr").resolve()
    assert not (raw / "rada" / "prompts.safetensors").is_symlink()
    original = commands.raw / "Dataset901_Phantom"
    preprocessed = Path(environment["nnUNet_preprocessed"]) / "copied"
    copied = sync_rada_folder(raw, preprocessed)  # as training does: it must find what lies in sub-folders
    for path in (original / "rada" / "propagated").iterdir():
        assert (copied.root / "propagated" / path.name).read_bytes() == path.read_bytes()


def test_rows_that_cannot_be_run_are_marked_and_alone_refused(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The random encoder has no counterpart without a mask."""
    assert compare(methods="", table="IV") == 0
    assert "random has no counterpart" in _rows(tmp_path)["SGTC-CLIP"]["status"]
    capsys.readouterr()
    assert compare(methods="SGTC-CLIP", table="IV") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_more_than_an_hour_needs_a_yes(
    compare: Compare, commands: StockCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    """The time is measured on some iterations, before anything long is started."""
    commands.seconds = {"nnUNetTrainerRADA": 300.0}
    assert compare() == 2
    assert "this takes at most about 3 h 20 min, start-up and prediction not counted" in capsys.readouterr().err
    assert commands.trained("nnUNetTrainerRADA") == []
    assert compare("--yes") == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_filters": 8}, "settings"),
        ({"seed": 1}, "seeds of a comparison"),
        ({"method": "cps"}, "method.*what makes MT"),
        ({"base_filter": 8}, "unknown setting base_filter"),
    ],
)
def test_settings_that_would_spoil_the_comparison_are_refused(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], message: str
) -> None:
    """Others than the folder was begun with, and those that make a row what it is."""
    assert compare() == 0
    capsys.readouterr()
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert compare("--settings", str(tmp_path / "settings.json")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_a_dataset_that_changed_since_is_refused(
    compare: Compare, commands: StockCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Embeddings that were made anew would be in some rows and not in others."""
    assert compare() == 0
    mark = tmp_path / "out" / "compare.json"
    content = json.loads(mark.read_text())
    mark.write_text(json.dumps({**content, "prompts.safetensors": "another"}))
    assert compare() == 2
    assert "prompts.safetensors" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX systems")
def test_two_processes_share_the_runs(
    compare: Compare, commands: StockCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What another process holds is passed over."""
    assert compare(methods="Supervised") == 0
    with locked(tmp_path / "out" / "runs" / "RADA@given@seed0", wait=False) as mine:
        assert mine
        assert compare() == 0
    assert commands.trained("nnUNetTrainerRADA") == []
    assert len(commands.trained("nnUNetTrainerMT")) == 1
    assert "RADA@given@seed0 is carried out by another process" in capsys.readouterr().out
