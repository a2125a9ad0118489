"""What the page shows of a scan is what the dataset will hold, computed by processes that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.annotate.session import Session
from sparse_annotation_tools.annotate.workers import Workers
from sparse_annotation_tools.errors import UserError

from .conftest import PAGE, write_scan


def read(path: Path) -> np.ndarray:
    """Read an array (z, y, x)."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_dataset_holds_what_was_shown(
    start: Callable[..., Session],
    phantoms: Path,
    request_for: Callable[..., Any],
    make_quickly: Callable[..., Any],
    nnunet_folders: Any,
    tmp_path: Path,
) -> None:
    """rada-make-sparse-dataset reads the folder unchanged, and makes the very labels that the page showed."""
    names = ("lobed_organ", "bean_organ")
    session = start(images=phantoms / "labelled" / "images", output=tmp_path / "out", label_names=names)
    for case in session.scans:
        session.open(PAGE, case)
        truth = read(phantoms / "labelled" / "labels" / f"{case}.nii.gz")
        scan = session._current(case)
        for number, (view, axis) in enumerate(scan.axes.items()):
            index = int((truth > 0).sum(axis=tuple(other for other in range(3) if other != axis)).argmax())
            viewer_axis, position = scan.frame.plane((axis, index))
            session.act(PAGE, case, "add", view, index, 3 * number)
            drawn = np.ascontiguousarray(np.take(scan.frame.array(truth), position, viewer_axis)).astype(np.uint8)
            session.save(PAGE, case, view, index, 3 * number + 1, drawn)
            session.act(PAGE, case, "finish", view, index, 3 * number + 2)
    deadline = time.monotonic() + 30
    while session.preview_state()["preview"]["state"] != "ready" or len(scan.previewer.preview.carried or {}) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    heard: list[str] = []
    labels, planes = tmp_path / "out" / "labels", tmp_path / "out" / "planes.csv"
    made = make_quickly(request_for(phantoms, labels=labels, planes_file=planes, simulate=None), heard)
    rada = nnunet_folders.raw / "Dataset101_Phantom" / "rada"
    preview = scan.previewer.preview
    np.testing.assert_array_equal(preview.fused, read(rada / "fused" / f"{case}.nii.gz"))
    assert preview.carried is not None
    for k, each in enumerate(made.cases[case].slices):
        propagated = read(rada / "propagated" / f"{case}_{k}.nii.gz")
        np.testing.assert_array_equal(preview.carried[each.axis, each.index], propagated)


@pytest.fixture
def workers() -> Iterator[Workers]:
    """One process."""
    running = Workers(1, ahead=os.getpid)
    running.start()
    yield running
    running.close()


def test_a_process_computes_one_call_after_the_other_and_hands_back_errors(workers: Workers) -> None:
    """Results and exceptions are those of the function; a process that is killed is replaced."""
    first = workers.submit(os.getpid).result(timeout=60)
    assert first not in (os.getpid(), None)
    with pytest.raises(ValueError, match="invalid literal"):
        workers.submit(int, "x").result(timeout=60)
    assert workers.submit(os.getpid).result(timeout=60) == first
    with pytest.raises(UserError, match="was killed"):
        workers.submit(os.kill, first, signal.SIGKILL).result(timeout=60)
    assert workers.submit(os.getpid).result(timeout=60) != first


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def heed_ctrl_c() -> None:
    """Undo what a shell does to commands in the background, such as a run of all tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_outlives_the_command(tmp_path: Path, how: signal.Signals, status: int) -> None:
    """Ctrl-C ends it well and says what to do next; killed, it leaves no process and no lock behind."""
    write_scan(tmp_path / "images" / "a_0000.nii.gz")
    words = [sys.executable, "-m", "sparse_annotation_tools.cli.annotate", "-i", str(tmp_path / "images"), "-o"]
    words.append(str(tmp_path / "out"))
    for _ in range(2):  # the second finds the folder free
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c)
        assert process.stdout is not None
        assert any("http://127.0.0.1:" in line for line in process.stdout)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        deadline = time.monotonic() + 60
        while len(children) < 2 and time.monotonic() < deadline:
            children = [
                child
                for thread in Path(f"/proc/{process.pid}/task").iterdir()
                for child in (thread / "children").read_text().split()
            ]
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == status
        assert how == signal.SIGKILL or "no slice is finished yet" in output
        while any(is_running(int(child)) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.1)
