"""Weight files from elsewhere are read whole or refused with one line, and never run."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.pretrained import get_pretrained_url
from safetensors.torch import save_file

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import ARCHITECTURES
from sparse_annotation_tools.prompts.weights import OPENAI_TORCHSCRIPT_SHA256, file_sha256, read_state_dict

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def save(path: Path, content: Any, **options: Any) -> Path:
    """Write with torch.save and return the path."""
    torch.save(content, path, **options)
    return path


class _Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Anything."""
        return x * self.weight


@pytest.fixture
def torchscript(tmp_path: Path) -> Path:
    """A TorchScript archive such as OpenAI's."""
    path = tmp_path / "program.pt"
    torch.jit.script(_Module()).save(str(path))
    return path


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy", "half", "wrapped", "prefixed"])
def test_every_documented_form_gives_the_same_weights(tmp_path: Path, form: str) -> None:
    """Names and numbers come out alike, in float32, whatever the file's form."""
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(WEIGHTS, path)
    elif form == "legacy":
        save(path, WEIGHTS, _use_new_zipfile_serialization=False)
    elif form == "half":
        save(path, {name: tensor.half() for name, tensor in WEIGHTS.items()})
    elif form == "wrapped":
        save(path, {"epoch": 3, "state_dict": WEIGHTS})
    elif form == "prefixed":
        save(path, {f"module.{name}": tensor for name, tensor in WEIGHTS.items()})
    else:
        save(path, WEIGHTS)
    state = read_state_dict(path)
    assert list(state) == list(WEIGHTS) or form == "safetensors"
    for name, tensor in WEIGHTS.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    """A file that would make a folder on unpickling makes none."""
    target = tmp_path / "it_ran"
    monkeypatch.setenv("BOMB", str(target))
    path = save(tmp_path / "bomb.pth", {"a": _Bomb()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="pickled code, which was not run"):
        read_state_dict(path)
    assert not target.exists()


def test_an_unknown_torchscript_program_is_refused(torchscript: Path) -> None:
    """Only OpenAI's published files and those that the user vouches for are loaded."""
    with pytest.raises(UserError, match="--expected-sha256"):
        read_state_dict(torchscript)


def test_a_torchscript_program_that_the_user_vouches_for_is_read(torchscript: Path) -> None:
    """Its hash given, its weights come out."""
    state = read_state_dict(torchscript, trusted_sha256=[file_sha256(torchscript)])
    assert torch.equal(state["weight"], torch.ones(2))


def test_a_torchscript_program_of_a_published_hash_is_read(torchscript: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content: the file's name says nothing."""
    monkeypatch.setitem(OPENAI_TORCHSCRIPT_SHA256, file_sha256(torchscript), "ViT-B-16.pt")
    assert torch.equal(read_state_dict(torchscript)["weight"], torch.ones(2))


def test_the_published_hashes_are_those_of_open_clip() -> None:
    """OpenAI's addresses carry the SHA-256 of their file; all three architectures have one."""
    addresses = [get_pretrained_url(f"{name}-quickgelu", "openai") for name in ARCHITECTURES]
    assert dict(address.split("/")[-2:] for address in addresses) == OPENAI_TORCHSCRIPT_SHA256


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, keep: int) -> None:
    """Half a download is named as such, in one line."""
    whole = tmp_path / name
    save_file(WEIGHTS, whole) if name.endswith(".safetensors") else save(whole, WEIGHTS)
    whole.write_bytes(whole.read_bytes()[: min(keep, whole.stat().st_size - 8)])
    with pytest.raises(UserError, match=r"no whole .* get the file again"):
        read_state_dict(whole)


def test_nan_is_refused(tmp_path: Path) -> None:
    """The weight is named."""
    path = save(tmp_path / "w.pth", {**WEIGHTS, "a.bias": torch.tensor([1.0, float("nan")])})
    with pytest.raises(UserError, match=r"a\.bias are NaN"):
        read_state_dict(path)


def test_lora_factors_are_refused(tmp_path: Path) -> None:
    """Factors are not whole weights."""
    path = save(tmp_path / "w.pth", {**WEIGHTS, "a.lora_A": torch.ones(2)})
    with pytest.raises(UserError, match="LoRA"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"a": torch.ones(2, dtype=torch.long)}, {}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    """A list, a dict without tensors and integer tensors are no weights."""
    with pytest.raises(UserError, match="no state dict"):
        read_state_dict(save(tmp_path / "w.pth", content))


def test_a_file_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    """The found hash is in the message."""
    path = save(tmp_path / "w.pth", WEIGHTS)
    with pytest.raises(UserError, match=file_sha256(path)):
        file_sha256(path, expected=["0" * 64])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """Both are told apart."""
    with pytest.raises(UserError, match="does not exist"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(UserError, match="is a folder"):
        read_state_dict(tmp_path)
