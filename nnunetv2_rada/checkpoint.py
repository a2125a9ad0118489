"""Checkpoints: nnU-Net's own content with the method's state beside it, written whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from nnunetv2_rada.network import weights_difference
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path

METHOD_STATE = "method_state"
SECTION = "rada"
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError)
"""What a file that is no checkpoint, or no file of a model, makes nnU-Net and PyTorch raise."""
EPOCH_OUTPUTS = "rada_epoch_outputs"  # of the iterations of an epoch that was not finished


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint under its final name once all of it is on the disk; an older one stays until then.

    Raises:
        UserError: there is no room for it, or the folder cannot be written.
    """
    serialised = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError that does not name it
    torch.save(content, serialised)
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(serialised.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path} ({serialised.getbuffer().nbytes / 1e6:.0f} MB) cannot be written: {error.strerror}; "
            "the checkpoints before it are whole; make room and run the same command again with --c"
        ) from None


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one of our own checkpoints.

    Raises:
        UserError: it cannot be read, or a trainer of another package wrote it.
    """
    try:
        content = _load(path, device)
    except ValueError as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({error}); move it away and run the same command again with --c, which "
            "takes the next older checkpoint"
        ) from None
    if METHOD_STATE not in content:
        raise UserError(f"checkpoint {path} was written by {content.get('trainer_name')}, not by a RADA trainer")
    return content


def check_pretrained_weights(path: Path, own: dict[str, Any]) -> None:
    """Refuse a checkpoint that cannot be the start of a network with these weights.

    Raises:
        UserError: it cannot be read, or is of other networks.
    """
    other = "give -pretrained_weights a checkpoint of this trainer for as many classes and channels, or leave it out"
    try:
        weights = _load(path, "cpu")["network_weights"]
    except (ValueError, KeyError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({error}); {other}") from None
    if difference := weights_difference({name: weights[name] for name in own if name in weights}, own):
        raise UserError(f"checkpoint {path} is of other networks ({difference}); {other}")


def _load(path: str | Path, device: torch.device | str) -> dict[str, Any]:
    """Read a checkpoint as nnU-Net does; whatever is wrong with the file is a `ValueError`."""
    try:
        content = torch.load(path, map_location=device, weights_only=False)  # nnU-Net's own format and reader
    except UNREADABLE as error:
        raise ValueError(reason_of(error)) from None
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}")
    return content


def reason_of(error: BaseException) -> str:
    """Return the first sentence of an error's message: PyTorch's explain at length."""
    return str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
