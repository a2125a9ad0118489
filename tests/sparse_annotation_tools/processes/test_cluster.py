"""Tests of work on a dask cluster: a scheduler and workers in processes of their own, one of which is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from phantom_dataset import make_options, words, write_small_phantoms

from sparse_annotation_tools.cli.make_sparse_dataset import main
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes import cluster as cluster_module
from sparse_annotation_tools.processes.cluster import dask_cluster
from sparse_annotation_tools.processes.parallel import run_in_processes

pytestmark = pytest.mark.slow

Files = Callable[[Path], dict[str, bytes]]

NO_PACKAGE = """
    import sys
    sys.modules['sparse_annotation_tools'] = sys.modules['sparse_annotation_tools.processes.cluster'] = None
"""
NO_FILES = """
    from pathlib import Path
    def read_text(path, *arguments, read=Path.read_text, **named):
        if path.name.startswith(".rada"):
            raise FileNotFoundError
        return read(path, *arguments, **named)
    Path.read_text = read_text
"""
OTHER_VERSION = """
    import importlib.metadata
    def version(package, installed=importlib.metadata.version):
        return "0.0.1" if package == "antspyx" else installed(package)
    importlib.metadata.version = version
"""


class Cluster:
    """A scheduler and workers without nannies: what is killed stays dead."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--scheduler-file", str(file), "--port", "0", "--host", "127.0.0.1")
        while not file.is_file() or not file.read_text():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]

    def add_worker(self, *options: str, first: str = "") -> subprocess.Popen[bytes]:
        """Start a worker, which runs the code `first` before anything else, and wait until the scheduler knows it."""
        import distributed

        preload = self._folder / f"preload_{len(self._processes)}.py"
        preload.write_text(textwrap.dedent(first))
        worker = self._start(
            "worker", self.address, "--no-nanny", "--nthreads", "1", "--preload", str(preload), *options
        )
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self._processes) - 1, timeout=60)
        return worker

    def _start(self, part: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", *options, "--no-dashboard"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1"
        process = subprocess.Popen(command, env=environment, cwd=self._folder, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill every process."""
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.close()


def command_line(folder: Path, cases: int) -> list[str]:
    """Return the arguments for some labelled phantoms, which are written to `folder`."""
    write_small_phantoms(folder, labelled=cases)
    return words(make_options(folder))


def test_a_killed_worker_costs_no_volume(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_of: Files
) -> None:
    """Both workers propagate; one is killed in the middle; every file is there, once, with its right bytes."""
    doomed, survivor = cluster.add_worker(), cluster.add_worker()
    arguments = command_line(tmp_path / "phantoms", cases=6)
    alone, together = tmp_path / "alone", tmp_path / "together"
    monkeypatch.setenv("nnUNet_raw", str(alone))
    assert main(arguments) == 0
    spread = [*arguments, "--backend", "dask", "--scheduler", cluster.address]
    code = "import sys; from sparse_annotation_tools.cli.make_sparse_dataset import main; sys.exit(main())"
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *spread], env={**os.environ, "nnUNet_raw": str(together)}, stderr=log, stdout=log
    )
    store = together / "Dataset007_Phantom" / ".propagated"
    seen: dict[Path, tuple[int, int]] = {}
    while process.poll() is None:
        for path in store.glob("[!.]*"):
            written = path.stat()
            assert seen.setdefault(path, (written.st_ino, written.st_mtime_ns)) == (written.st_ino, written.st_mtime_ns)
        if len(seen) >= 3 and doomed.poll() is None:
            doomed.kill()
        time.sleep(0.01)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert doomed.poll() is not None
    assert survivor.poll() is None
    expected, found = files_of(alone / "Dataset007_Phantom"), files_of(together / "Dataset007_Phantom")
    assert len([name for name in found if name.startswith("rada/fused")]) == 6
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == ["rada/cases.json"]  # the command differs


def test_work_is_done_by_all_workers_and_not_here(cluster: Cluster, tmp_path: Path) -> None:
    """Also by one that joins later; joblib alone would work here where there is one worker at the start."""

    def workers_at_work() -> set[int]:
        # Workers know the standard library, but not this file.
        tasks = [(["sh", "-c", "sleep 0.2; echo $PPID"],)] * 8
        answers = run_in_processes(
            subprocess.check_output, tasks, names=["asked"] * len(tasks), processes=1, description="asking"
        )
        return {int(answer) for answer in answers}

    first = cluster.add_worker()
    with dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path):
        assert workers_at_work() == {first.pid}
        second = cluster.add_worker()
        assert workers_at_work() == {first.pid, second.pid}


@pytest.mark.parametrize(
    ("options", "first", "message"),
    [
        ((), NO_PACKAGE, r"dask worker tcp://.* cannot run this package .*; install it there"),
        ((), NO_FILES, r"dask worker tcp://.* does not see .*file system that every worker sees"),
        ((), OTHER_VERSION, r"antspyx is 0\.0\.1 on dask worker tcp://.* and .* here; install the same version"),
        (("--nthreads", "3"), "", r"runs 3 tasks in one process.*--nthreads 1"),
    ],
)
def test_a_worker_that_cannot_do_the_work_is_named(
    cluster: Cluster, tmp_path: Path, options: tuple[str, ...], first: str, message: str
) -> None:
    """Before any work begins, in one line that says what to do; a good worker beside it does not hide it."""
    cluster.add_worker()
    cluster.add_worker(*options, first=first)
    with (
        pytest.raises(UserError, match=message) as raised,
        dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path),
    ):
        pytest.fail("the work began")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob(".rada-*"))


@pytest.mark.parametrize(
    ("options", "first", "message"),
    [
        ((), OTHER_VERSION, r"antspyx is 0\.0\.1 on dask worker tcp://.* and .* here; install the same version"),
        (("--nthreads", "3"), "", r"dask worker tcp://.* runs 3 tasks in one process.*--nthreads 1"),
    ],
)
def test_a_worker_that_joins_later_and_cannot_do_the_work_ends_it(
    cluster: Cluster,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    options: tuple[str, ...],
    first: str,
    message: str,
) -> None:
    """At its first task, in the line that it would have had at the start, and no other."""
    cluster.add_worker()
    with dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path):
        cluster.add_worker(*options, first=first)
        with pytest.raises(UserError, match=message) as raised:
            run_in_processes(time.sleep, [(0.01,)] * 400, names=["waiting"] * 400, processes=1, description="waiting")
    assert "\n" not in str(raised.value)
    assert caplog.text == ""


def test_a_folder_that_workers_do_not_see_is_named(cluster: Cluster, tmp_path: Path) -> None:
    """Images may lie elsewhere than nnUNet_raw."""
    cluster.add_worker()
    with (
        pytest.raises(UserError, match=r"does not see .*/elsewhere; images, labels and nnUNet_raw"),
        dask_cluster(cluster.address, folders=[tmp_path, tmp_path / "elsewhere"], writable=tmp_path),
    ):
        pytest.fail("the work began")


def test_a_cluster_without_workers_or_scheduler_is_said_to_be_so(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that starts them."""
    monkeypatch.setattr(cluster_module, "_PATIENCE_S", 1)
    with (
        pytest.raises(UserError, match=r"has no worker; start some by typing: dask worker tcp://"),
        dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path),
    ):
        pytest.fail("the work began")
    cluster.close()
    with (
        pytest.raises(UserError, match=r"no dask scheduler answers at tcp://.*start one by typing dask scheduler"),
        dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path),
    ):
        pytest.fail("the work began")


def test_a_task_that_ends_its_workers_is_the_users_to_mend(cluster: Cluster, tmp_path: Path) -> None:
    """Mostly memory; dask gives up when as many workers are lost by it as its own setting allows."""
    cluster.add_worker()
    cluster.add_worker()
    with (
        pytest.raises(UserError, match=r"one task ended several dask workers.*run the same command again"),
        dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path),
    ):
        run_in_processes(os._exit, [(1,)], names=["dying"], processes=1, description="dying")


def test_a_lost_scheduler_is_the_users_to_mend(cluster: Cluster, tmp_path: Path) -> None:
    """Not a traceback."""
    cluster.add_worker()
    threading.Timer(2, cluster.scheduler.kill).start()
    with (
        pytest.raises(UserError, match=r"scheduler at tcp://.* is gone; start it, and run the same command again"),
        dask_cluster(cluster.address, folders=[tmp_path], writable=tmp_path),
    ):
        run_in_processes(time.sleep, [(0.1,)] * 600, names=["waiting"] * 600, processes=1, description="waiting")


def test_without_dask_the_line_to_type_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no dependency of the rest."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = [*command_line(tmp_path, cases=1), "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1"]
    assert main(arguments) == 2
    assert "type: pip install 'nnunetv2-rada[dask]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "dask"], "--backend dask needs the cluster's address; give --scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler is for dask; give --backend dask as well"),
    ],
)
def test_backend_and_scheduler_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """One without the other is a slip."""
    assert main([*command_line(tmp_path, cases=1), *options]) == 2
    assert message in capsys.readouterr().err
