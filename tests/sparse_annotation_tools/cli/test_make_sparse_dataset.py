"""Tests of the command `rada-make-sparse-dataset`, with real registration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from phantom_dataset import make_options, words, write_small_phantoms

from sparse_annotation_tools.cli.make_sparse_dataset import main

Files = Callable[[Path], dict[str, bytes]]


def command_line(folder: Path) -> list[str]:
    """Return the arguments for one labelled and one unlabelled phantom, which are written to `folder`."""
    write_small_phantoms(folder, labelled=1, unlabelled=1)
    return words(make_options(folder, unlabelled=True, **{"-np": "2"}))


def running(arguments: list[str], raw: Path) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    code = "import sys; from sparse_annotation_tools.cli.make_sparse_dataset import main; sys.exit(main())"
    environment = {**os.environ, "nnUNet_raw": str(raw)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, text=True, **streams)


@dataclass(frozen=True)
class Made:
    """A dataset that the command made, undisturbed."""

    arguments: list[str]
    folder: Path
    output: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One run of the command."""
    root = tmp_path_factory.mktemp("made")
    arguments = command_line(root / "phantoms")
    process = running(arguments, root / "raw")
    output, _ = process.communicate()
    assert process.returncode == 0
    return Made(arguments, root / "raw" / "Dataset007_Phantom", output)


def test_the_command_makes_a_dataset_and_says_what_to_type_next(made: Made) -> None:
    """With embeddings; the exact command is kept in cases.json."""
    assert (made.folder / "rada" / "prompts.safetensors").is_file()
    command = json.loads((made.folder / "rada" / "cases.json").read_text())["command"]
    assert command.split() == ["rada-make-sparse-dataset", *made.arguments]
    assert "1 labelled cases with 3 annotated slices, 1 unlabelled cases, 0 test cases" in made.output
    assert "next: nnUNetv2_plan_and_preprocess -d 7 --verify_dataset_integrity" in made.output


@pytest.mark.slow
def test_a_command_killed_outright_goes_on_to_the_same_bytes(made: Made, tmp_path: Path, files_of: Files) -> None:
    """SIGKILL in the middle of propagation; typed again, it ends as if nothing had been, embeddings included."""
    process = running(made.arguments, tmp_path)
    killed = tmp_path / made.folder.name
    while not list((killed / ".propagated").glob("[!.]*")):
        assert process.poll() is None, "the command ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)  # returns when the worker processes, which hold the pipe too, are gone as well
    assert not (killed / "rada" / "cases.json").exists()
    again = running(made.arguments, tmp_path)
    again.communicate()
    assert again.returncode == 0
    assert files_of(killed) == files_of(made.folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"-d": "0"}, "-d is 0, expected a dataset number from 1 to 999"),
        ({"-d": "1000"}, "-d is 1000"),
        ({"-n": "my data"}, "-n is 'my data', expected letters"),
        ({"-np": "-1"}, "-np is -1, expected 1 or more"),
        ({"-np": "0"}, "-np is 0, expected 1 or more"),
        ({"--images": "nowhere"}, "nowhere is not a folder"),
        ({"--encoder": "alpha-clip"}, "--alpha-weights"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], message: str
) -> None:
    """No traceback; the line starts with the command's name."""
    arguments = command_line(tmp_path)
    for option, value in changed.items():
        arguments[arguments.index(option) + 1] = value
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("rada-make-sparse-dataset: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_an_unset_folder_is_named_with_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it can be typed into the shell."""
    monkeypatch.delenv("nnUNet_raw")
    assert main(command_line(tmp_path)) == 2
    assert "type: export nnUNet_raw=FOLDER" in capsys.readouterr().err


@pytest.mark.slow
def test_the_published_way_is_recorded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--paper: every setting of the propagation is in cases.json, and the labels are made by it."""
    arguments = command_line(tmp_path / "phantoms")
    seen = []
    for name, options in (("default", []), ("paper", ["--paper"])):
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / name))
        assert main([*arguments, *options]) == 0
        record = json.loads((tmp_path / name / "Dataset007_Phantom" / "rada" / "cases.json").read_text())
        seen.append(record["propagation"])
    assert seen[0]["transform"] == "SyNOnly"
    assert seen[1] == {
        "transform": "SyNRA",
        "reg_iterations": [40, 20, 0],
        "pixel_mm": 0,
        "interpolator": "nearestNeighbor",
        "morphology_mm": 3.0,
        "morphology_pixels": 5,
        "margin_mm": None,
        "hold_to_planes": False,
        "channel": 0,
    }


@pytest.mark.parametrize("option", [["--transform", "SyNRA"], ["--morphology-mm", "0"]])
def test_the_published_way_takes_no_other_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """It would not be the published way; without --paper the option counts."""
    arguments = command_line(tmp_path)
    assert main([*arguments, "--paper", *option]) == 2
    assert f"--paper sets all of the propagation, {option[0]} included; leave out" in capsys.readouterr().err


def test_update_adds_a_slice_and_leaves_no_trace(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_of: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scans are added to the folder; without --update that is refused, with it the dataset is that of a new command."""
    arguments = command_line(tmp_path / "phantoms")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    unlabelled = tmp_path / "phantoms" / "unlabelled" / "images"
    hidden = tmp_path / "hidden.nii.gz"
    scan = next(iter(unlabelled.iterdir()))
    second = unlabelled / "second_0000.nii.gz"
    second.write_bytes(scan.read_bytes())
    assert main(arguments) == 0
    second.rename(hidden)
    assert main(arguments) == 2
    assert "case second is there and not here; give --update" in capsys.readouterr().err
    assert main([*arguments, "--update"]) == 0
    expected = files_of(made.folder)
    found = files_of(tmp_path / "raw" / made.folder.name)
    # The folders in the recorded command are others; all else is the same.
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == ["rada/cases.json"]
    assert "--update" not in json.loads(found["rada/cases.json"])["command"]
