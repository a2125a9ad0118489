"""The benchmark of a training step: it runs, and its last line says what `docs/speed.md` quotes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_benchmark_of_a_step_ends_with_its_ratio(repository: Path) -> None:
    """With the smallest networks, patch and number of rounds: figures as JSON, of which the ratio is a number."""
    smallest = ["--base-filters", "1", "--patch", "16", "16", "16", "--passes", "1", "--rounds", "1", "--threads", "1"]
    command = [sys.executable, str(repository / "benchmarks" / "training_step.py"), *smallest]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["ratio_fp32"] > 0
    assert math.isfinite(figures["ratio_fp32"])
    (ours,), (published,) = figures["seconds"]["ours fp32"], figures["seconds"]["published fp32"]
    assert figures["ratio_fp32"] == pytest.approx(ours / published, rel=0.05)
    assert (figures["base_filters"], figures["patch"], figures["passes"]) == (1, [16, 16, 16], 1)
