"""`rada-embed` from the command line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sparse_annotation_tools.cli.embed import main
from sparse_annotation_tools.prompts import alpha_clip, clip_encoder
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.prompts.weights import file_sha256

from .tiny_clip import ALPHA_FILE, tiny_config, tiny_state


@pytest.fixture(autouse=True)
def _nnunet_raw(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nnU-Net's environment point to the dataset."""
    monkeypatch.setenv("nnUNet_raw", str(dataset.parent))


@pytest.fixture
def clip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of both towers of the small model of the reference fixture, for which ViT-B-16 stands."""
    for module in (alpha_clip, clip_encoder):
        monkeypatch.setattr(module, "clip_config", lambda architecture: tiny_config())
    save_file(tiny_state(), tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def test_every_encoder_embeds_an_existing_dataset(dataset: Path, clip_file: Path, tmp_path: Path) -> None:
    """All six, one after the other on one dataset, each with every option that has a meaning for it."""
    common = ["--prompt", "photo", "--prompt-planes", "SA", "--normalise", "raw"]
    files = ["--clip-weights", str(clip_file), "--architecture", "ViT-B-16"]
    alpha = ["--alpha-weights", str(ALPHA_FILE), "--expected-sha256", file_sha256(clip_file), file_sha256(ALPHA_FILE)]
    prompts = dataset / "rada" / "prompts.safetensors"

    def embedded(*argv: str) -> PromptStore:
        assert main(["-d", "101", "--encoder", *argv]) == 0
        return PromptStore.load(prompts)

    stores = {
        "alpha-clip": embedded("alpha-clip", *files, *alpha, *common),
        "clip": embedded("clip", *files, *common),
        "alpha-clip-tiny": embedded("alpha-clip-tiny", *common),
        "random": embedded("random", "--encoder-seed", "3", *common),
    }
    mine = prompts.rename(tmp_path / "mine.safetensors")
    stores["precomputed"] = embedded("precomputed", "--precomputed-file", str(mine))
    for encoder, store in stores.items():
        assert (store.encoder, store.normalise, store.prompt_planes) == (encoder, "raw", ("sagittal", "axial"))
        assert store.metadata["template"] == "A photo of a [CLS]."
        assert set(store.images) == {"a", "b"}
    assert stores["random"].stamp
    assert stores["precomputed"].stamp  # whoever made the file made it with random
    assert not any(stores[encoder].stamp for encoder in ("alpha-clip", "clip", "alpha-clip-tiny"))
    assert main(["-d", "101", "--encoder", "none"]) == 0
    assert not prompts.exists()


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (os.environ["BOMB"],)


def _other_architecture(state: dict[str, Tensor]) -> object:
    return {name: torch.zeros(577, 1024) if "positional" in name else tensor for name, tensor in state.items()}


FAULTS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "pickled code": (lambda state: {**state, "more": _Bomb()}, "holds pickled code, which was not run"),
    "LoRA factors": (lambda state: {**state, "conv1.lora_A": torch.ones(2)}, "holds LoRA factors"),
    "another architecture": (_other_architecture, "577 positions, expected"),
    "a missing key": (
        lambda state: {name: tensor for name, tensor in state.items() if "ln_pre.b" not in name},
        "lacks",
    ),
    "an extra key": (lambda state: {**state, "head.weight": torch.ones(2)}, "has the unknown head.weight"),
    "NaN": (lambda state: {name: tensor * torch.nan for name, tensor in state.items()}, "are NaN or infinite"),
    "no state dict": (lambda state: list(state.values()), "holds no state dict"),
}


@pytest.mark.parametrize("role", ["clip", "alpha"])
@pytest.mark.parametrize("fault", [*FAULTS, "half a file", "no file", "a folder", "not the expected file"])
def test_every_unfit_weight_file_is_one_line_and_status_2(
    dataset: Path,
    clip_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    role: str,
    fault: str,
) -> None:
    """Given as either of the two files: the line names the file, nothing ran and nothing was written."""
    monkeypatch.setenv("BOMB", str(tmp_path / "it_ran"))
    state = tiny_state() if role == "clip" else torch.load(ALPHA_FILE, weights_only=True)
    path = tmp_path / "unfit.pth"
    expected: list[str] = []
    if fault in FAULTS:
        change, message = FAULTS[fault]
        torch.save(change(state), path)
    else:
        torch.save(state, path)
        if fault == "half a file":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            message = "is no whole PyTorch weight file"
        elif fault == "not the expected file":
            expected, message = ["--expected-sha256", "0" * 64], "which is not among --expected-sha256"
        else:
            path.unlink()
            message = "does not exist"
            if fault == "a folder":
                path.mkdir()
                message = "is a folder"
    files = {"clip": clip_file, "alpha": ALPHA_FILE, role: path}
    argv = ["--clip-weights", str(files["clip"]), "--alpha-weights", str(files["alpha"]), *expected]
    assert main(["-d", "101", "--encoder", "alpha-clip", *argv]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("rada-embed: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert (clip_file.name if expected and role == "alpha" else path.name) in printed.err
    assert not (tmp_path / "it_ran").exists()
    assert not (dataset / "rada" / "prompts.safetensors").exists()


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
        (["-d", "101", "--encoder", "precomputed", "--precomputed-file", "nowhere"], "nowhere does not exist"),
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
