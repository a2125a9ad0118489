"""`rada-embed` from the command line."""

from pathlib import Path

import pytest

from sparse_annotation_tools.cli.embed import main
from sparse_annotation_tools.prompts.store import PromptStore


@pytest.fixture(autouse=True)
def _nnunet_raw(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nnU-Net's environment point to the dataset."""
    monkeypatch.setenv("nnUNet_raw", str(dataset.parent))


@pytest.mark.parametrize("name", ["101", "Dataset101_Organs"])
def test_a_dataset_is_found_by_id_and_by_name(dataset: Path, name: str) -> None:
    """Both forms embed the same dataset."""
    assert main(["-d", name, "--encoder", "random", "--encoder-seed", "3"]) == 0
    assert PromptStore.load(dataset / "rada" / "prompts.safetensors").metadata["seed"] == "3"


def test_none_removes_the_embeddings(dataset: Path) -> None:
    """The file is gone afterwards."""
    main(["-d", "101", "--encoder", "random", "--encoder-seed", "3"])
    assert main(["-d", "101", "--encoder", "none"]) == 0
    assert not (dataset / "rada" / "prompts.safetensors").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-d", "7", "--encoder", "none"], "no Dataset007_*"),
        (["-d", "101", "--encoder", "random"], "--encoder-seed"),
        (["-d", "101", "--encoder", "precomputed", "--precomputed-file", "nowhere"], "nowhere not found"),
    ],
)
def test_mistakes_are_one_line_and_status_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but the line on stderr."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_nnunet_raw_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to export."""
    monkeypatch.delenv("nnUNet_raw")
    assert main(["-d", "101", "--encoder", "none"]) == 2
    assert "export nnUNet_raw" in capsys.readouterr().err


def test_two_datasets_of_one_id_are_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both names are listed."""
    (dataset.parent / "Dataset101_Other").mkdir()
    assert main(["-d", "101", "--encoder", "none"]) == 2
    assert "Dataset101_Organs, Dataset101_Other" in capsys.readouterr().err
