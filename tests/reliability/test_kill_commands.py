"""Two kills by `stress/kill_commands.py`, of the command that starts fastest; a whole campaign takes an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_killed_command_ends_as_if_nothing_had_been(repository: Path) -> None:
    """Started again, it leaves the bytes of an undisturbed run, and no process of its own."""
    script = repository / "stress" / "kill_commands.py"
    done = subprocess.run(
        [sys.executable, str(script), "--commands", "suggest", "--kills", "2"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["kill"]["suggest"]
    assert figures["kills"] == 2
    assert figures["ends"] >= 1
    assert figures["different"] == figures["failed"] == figures["left_behind"] == 0
