"""Tests of `rada-annotate` as far as it goes without a page."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from sparse_annotation_tools.cli.annotate import main


def test_a_command_that_is_refused_starts_no_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Processes that load ANTs would go on for seconds after the line that says what is wrong."""
    before = set(multiprocessing.active_children())
    assert main(["-i", str(tmp_path / "nowhere"), "-o", str(tmp_path / "annotated")]) == 2
    assert "nowhere" in capsys.readouterr().err
    time.sleep(0.5)  # a thread would start them
    assert set(multiprocessing.active_children()) <= before  # an earlier test's may end meanwhile
