"""Read weight files that came from elsewhere: never run code from them, never take half of one."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.files.volumes import sha256_of_file

OPENAI_TORCHSCRIPT_SHA256 = {
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "ViT-B-16.pt",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836": "ViT-L-14.pt",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02": "ViT-L-14-336px.pt",
}
"""SHA-256 of the files that OpenAI published, as open_clip lists them. They are programs, so only these are loaded."""

_TORCHSCRIPT_SCALARS = ("input_resolution", "context_length", "vocab_size")  # not weights
_WRAPPERS = ("state_dict", "model")


def file_sha256(path: Path, expected: Collection[str] = ()) -> str:
    """Return the SHA-256 of a weight file.

    Raises:
        UserError: the file does not exist or cannot be read, or `expected` is not empty and does not hold its hash.
    """
    try:
        digest = sha256_of_file(path)
    except FileNotFoundError:
        raise UserError(f"weight file {path} does not exist; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected a weight file; give the file inside it") from None
    if expected and digest not in expected:
        raise UserError(
            f"{path} has SHA-256 {digest}, which is not among --expected-sha256; get the right file, or "
            f"correct the option"
        )
    return digest


def read_state_dict(path: Path, trusted_sha256: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the tensors of a weight file in float32, by name.

    Reads .safetensors, PyTorch state dicts (zip or legacy format, any float type, bare or under `state_dict`, with or
    without a `module.` prefix) and OpenAI's TorchScript archives.

    Args:
        path: the file.
        trusted_sha256: hashes of further TorchScript archives that the user vouches for.

    Raises:
        UserError: the file is missing or damaged, holds pickled code or an unknown TorchScript program, or holds
            something that is not a finite weight.
    """
    digest = file_sha256(path)
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(path)
    elif _is_torchscript(path):
        content = _read_torchscript(path, digest, trusted_sha256)
    else:
        content = _read_pickle_without_code(path)
    state = _without_prefix(path, _unwrapped(path, content))
    if any("lora_" in name for name in state):
        raise UserError(f"{path} holds LoRA factors, expected whole weights; merge them into the model and save that")
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise UserError(f"{path}: weights {some(bad, 3)} are NaN or infinite; get the file again")
    return state


def check_names_and_shapes(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raise `UserError` unless `state` has exactly the expected names and shapes."""
    missing = sorted(set(expected) - set(state))
    extra = sorted(set(state) - set(expected))
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in state and state[name].shape != shape
    ]
    faults = [
        f"{what} {some(names, 3)}"
        for what, names in (("lacks", missing), ("has the unknown", extra), ("has", shapes))
        if names
    ]
    if faults:
        raise UserError(f"{path} is not of this architecture: it {' and '.join(faults)}; check --architecture")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no whole .safetensors file ({error}); get the file again") from None


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(path: Path, digest: str, trusted: Collection[str]) -> dict[str, Tensor]:
    if digest not in OPENAI_TORCHSCRIPT_SHA256 and digest not in trusted:
        raise UserError(
            f"{path} is a TorchScript program with the unknown SHA-256 {digest}; only OpenAI's three published files "
            f"are loaded. Give a .safetensors file, or vouch for this one with --expected-sha256 {digest}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit.load is deprecated, but nothing else reads these three files
            state: dict[str, Tensor] = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read ({_first_line(error)}); get the file again") from None
    return {name: tensor for name, tensor in state.items() if name not in _TORCHSCRIPT_SCALARS}


def _read_pickle_without_code(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error).upper():
            raise UserError(
                f"{path} holds pickled code, which was not run; save its state dict as .safetensors and give that"
            ) from None
        raise UserError(f"{path} is no whole PyTorch weight file ({_first_line(error)}); get the file again") from None


def _unwrapped(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict itself, in float32."""
    if isinstance(content, Mapping):
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), content)
        tensors = {name: tensor for name, tensor in inner.items() if isinstance(tensor, Tensor)}
        if tensors and len(tensors) == len(inner) and all(tensor.is_floating_point() for tensor in tensors.values()):
            return {str(name): tensor.float() for name, tensor in tensors.items()}
    raise UserError(f"{path} holds no state dict of weights; save model.state_dict() as .safetensors and give that")


def _without_prefix(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    if not all(name.startswith("module.") for name in state):
        return state
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
