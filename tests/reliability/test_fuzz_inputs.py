"""The first 200 damaged files of `stress/fuzz_inputs.py`, in a process of its own; thousands take minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_damaged_files_are_refused_or_read_right(repository: Path) -> None:
    """None ends in a traceback, hangs, ends the process or is taken for something that it is not."""
    script = repository / "stress" / "fuzz_inputs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--inputs", "200", "--seed", "1"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["refused"] + figures["read"] == figures["inputs"] == 200
    assert figures["refused"] > 50
    assert figures["read"] > 20
