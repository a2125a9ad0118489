"""Checkpoints: nnU-Net's own content with the method's state beside it, written whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from sparse_annotation_tools.atomic import atomic_path
from sparse_annotation_tools.errors import UserError

METHOD_STATE = "method_state"
SECTION = "rada"
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
        content = torch.load(path, map_location=device, weights_only=False)  # nnU-Net's own format and reader
    except (OSError, EOFError, RuntimeError) as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}); move it away and run the same command "
            "again with --c, which takes the next older checkpoint"
        ) from None
    if METHOD_STATE not in content:
        raise UserError(f"checkpoint {path} was written by {content.get('trainer_name')}, not by a RADA trainer")
    return dict(content)
