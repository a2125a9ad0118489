"""Two runs that write one dataset at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reliability.commands import COMMANDS
from reliability.place import Place, content_of

MAKE, EMBED = COMMANDS["rada-make-sparse-dataset"], COMMANDS["rada-embed"]
# A command whose registration waits until it is let go.
_SLOW_MAKE = """
import sys, time
from pathlib import Path
from reliability.bases import copy_slice
from reliability.commands import COMMANDS
from sparse_annotation_tools.dataset.make import make_dataset
def propagate(*arguments):
    Path(sys.argv[1], "begun").touch()
    while not Path(sys.argv[1], "go").exists():
        time.sleep(0.01)
    return copy_slice(*arguments)
make_dataset.__kwdefaults__["propagate"] = propagate
sys.exit(COMMANDS["rada-make-sparse-dataset"].main()(sys.argv[2:]))
"""


def start(here: Place, signs: Path) -> subprocess.Popen[bytes]:
    """Start to make the dataset, and return while it is at work."""
    signs.mkdir()
    words = [sys.executable, "-c", _SLOW_MAKE, str(signs), *MAKE.argv(here, {})]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (signs / "begun").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.slow
def test_of_two_runs_on_one_dataset_the_second_is_refused(
    place: Callable[[str], Place], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line and nothing changed; the first ends as if alone; a killed first one locks nobody out."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    here = place("scans")
    killed = start(here, tmp_path / "signs of the killed")
    killed.kill()
    killed.wait()
    first = start(here, tmp_path / "signs")
    before = content_of(here.root)
    for command in (MAKE, EMBED):
        outcome = here.run(command.main(), command.argv(here, {}), capfd)
        assert outcome.status == 2
        assert f"{here.dataset.name} is being written by process {first.pid}" in outcome.said[-1]
        assert content_of(here.root) == before
    (tmp_path / "signs" / "go").touch()
    assert first.wait(600) == 0
    made = content_of(here.raw)
    assert here.run(MAKE.main(), [*MAKE.argv(here, {}), "--overwrite"], capfd).status == 0
    alone = content_of(here.raw)
    assert alone == made
    assert not any("lock" in name for name in alone)
