"""`rada-compare` through the stock commands."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from end_to_end.workspace import CONFIG, DATASET, Workspace

pytestmark = pytest.mark.end_to_end

_SETTINGS = {**CONFIG, "num_iterations": 2, "iterations_per_epoch": 1, "batch_labelled": 1}


def test_a_comparison_that_is_killed_in_a_training_is_finished_by_the_same_command(
    workspace: Workspace, tmp_path: Path
) -> None:
    """SIGKILL to the command alone: what it left running is ended, and no row is missing or trained twice."""
    (tmp_path / "settings.json").write_text(json.dumps(_SETTINGS))
    command = [
        *(sys.executable, "-m", "nnunetv2_rada.compare.command", "-d", "901", "--table", "I"),
        *("--methods", "Supervised", "MT", "--seeds", "1", "--settings", str(tmp_path / "settings.json")),
        *("-device", "cpu", "-o", str(tmp_path / "out")),
    ]
    variables = workspace.environment(RADA_CONFIG="", nnUNet_results="")
    runs = tmp_path / "out" / "runs"
    first = runs / "MT@given@seed0"  # the tables' order
    with (tmp_path / "killed.log").open("w") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 900
            while not list(first.glob("results/*/*/fold_all/checkpoint_latest.pth")) and process.poll() is None:
                assert time.monotonic() < deadline, (tmp_path / "killed.log").read_text()
                time.sleep(0.05)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert not list(runs.glob("*/run.json"))

    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "measure the speed" not in done.stdout
    log_text = (first / "logs" / "train.log").read_text()
    assert [line.endswith("--c") for line in log_text.splitlines() if line.startswith("$ nnUNetv2_train")] == [
        False,
        True,
    ]
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = {line["row"]: line for line in csv.DictReader(file) if line["class"] == "lobed_organ"}
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "not run"} == {
        "Supervised": "finished",
        "MT": "finished",
    }
    assert rows["MT"]["iterations"] == rows["Supervised"]["iterations"] == "2"
    assert float(rows["Supervised"]["training_seconds"]) > 0
    assert (tmp_path / "out" / "table_I.png").is_file()
    stored = json.loads(next((first / "results" / DATASET).glob("*/plans.json")).read_text())
    assert stored["configurations"]["3d_fullres"]["rada"]["config"]["num_iterations"] == 2
