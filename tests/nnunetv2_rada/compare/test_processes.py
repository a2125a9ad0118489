"""Processes of a run are found by its mark, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_rada.compare.processes import cpu_seconds, end_leftovers, environment

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc on this system")
_BURN = (
    "import multiprocessing, time\n"
    "def burn():\n    end = time.process_time() + 0.3\n    while time.process_time() < end: pass\n"
    "worker = multiprocessing.get_context('fork').Process(target=burn)\n"
    "worker.start(); worker.join()\n"
    "print('done', flush=True); time.sleep(60)\n"
)


def test_cpu_time_holds_that_of_workers_and_leftovers_are_ended(tmp_path: Path) -> None:
    """A worker's CPU time counts after its end; a run of another folder is not touched."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BURN], env={**os.environ, **environment(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    used = cpu_seconds(tmp_path)
    assert used is not None
    assert 0.3 <= used < 5
    assert cpu_seconds(tmp_path / "other") is None
    assert end_leftovers(tmp_path / "other") == 0
    assert process.poll() is None
    assert end_leftovers(tmp_path) == 1
    assert process.wait() == -9
    process.stdout.close()
