"""Checkpoints are whole or not there."""

import errno
import os
import resource
import subprocess
import sys

import pytest
import torch

from nnunetv2_rada.checkpoint import METHOD_STATE, read_checkpoint, write_checkpoint
from sparse_annotation_tools.errors import UserError


def content(value, size=10):
    """A checkpoint of one tensor."""
    return {METHOD_STATE: {}, "weight": torch.full((size,), float(value))}


def test_what_was_written_is_read(tmp_path):
    """The content comes back; no temporary file stays."""
    write_checkpoint(tmp_path / "checkpoint_latest.pth", content(1))
    assert torch.equal(read_checkpoint(tmp_path / "checkpoint_latest.pth")["weight"], torch.ones(10))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_latest.pth"]


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    """A limit on the size of files stands for the disk: one line, and the older checkpoint is untouched."""
    path = tmp_path / "checkpoint_latest.pth"
    write_checkpoint(path, content(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"checkpoint_latest\.pth \(0 MB\) cannot be written: File too large"):
            write_checkpoint(path, content(2, size=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(read_checkpoint(path)["weight"], torch.ones(10))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_latest.pth"]


def test_no_space_on_the_device_is_said_in_one_line(tmp_path, monkeypatch):
    """The system's own words are in it, and what to do."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device; .* with --c") as error:
        write_checkpoint(tmp_path / "checkpoint_latest.pth", content(1))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_killed_while_writing_leaves_the_older_checkpoint(tmp_path):
    """SIGKILL just before the file gets its name."""
    path = tmp_path / "checkpoint_latest.pth"
    write_checkpoint(path, content(1))
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from nnunetv2_rada.checkpoint import write_checkpoint\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_checkpoint(Path({str(path)!r}), {{'method_state': {{}}, 'weight': torch.zeros(10)}})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert torch.equal(read_checkpoint(path)["weight"], torch.ones(10))


def test_a_checkpoint_that_is_none_of_ours_is_refused(tmp_path):
    """A cut-off file and one of a stock trainer: one line each."""
    path = tmp_path / "checkpoint_latest.pth"
    torch.save({"trainer_name": "nnUNetTrainer"}, path)
    with pytest.raises(UserError, match="was written by nnUNetTrainer"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(path)
