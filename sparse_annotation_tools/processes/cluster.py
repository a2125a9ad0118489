"""Work on an existing dask cluster instead of in processes on this machine.

`run_in_processes` goes through joblib, whose dask backend hands each task to a free worker, and hands it out again when
a worker dies. Before that, every worker is asked whether it can do the work; one that joins later, at its first task.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_annotation_tools.dataset.versions import package_versions
from sparse_annotation_tools.errors import UserError

_PATIENCE_S = 10  # for the scheduler to answer, and for a first worker
_READY = 64  # at least half as many tasks as are handed to the scheduler at a time


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a worker sees around it.

    Attributes:
        versions: of the packages that decide what a dataset holds.
        token: content of the file that it was asked to read; None where it sees no such file.
        may_write: whether it can write beside that file.
        missing: the folders that it does not see.
    """

    versions: Mapping[str, str]
    token: str | None
    may_write: bool
    missing: tuple[Path, ...]


@contextlib.contextmanager
def dask_cluster(scheduler: str, *, folders: Sequence[Path], writable: Path) -> Iterator[None]:
    """Let every `run_in_processes` in this block work on a dask cluster.

    Args:
        scheduler: its address, such as tcp://10.0.0.1:8786.
        folders: absolute paths that the workers must see.
        writable: absolute path of the folder that they write to.

    Raises:
        UserError: dask is not installed, nobody answers, or a worker cannot do the work; later, a task ended several
            workers, or the scheduler is gone.
    """
    try:
        import distributed
        from distributed.comm.core import CommClosedError
    except ModuleNotFoundError:
        raise UserError(
            "--backend dask needs the package distributed; type: pip install 'nnunetv2-rada[dask]'"
        ) from None
    import joblib

    for name in ("distributed", "distributed.client", "tornado.application"):  # each with a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what the user can mend comes as one line below
    again = "run the same command again, it goes on where it stopped"
    try:
        connect: Any = distributed.Client  # ships no types
        client = connect(scheduler, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no dask scheduler answers at {scheduler} ({type(error).__name__}); start one by typing dask scheduler, "
            "and give the address that it prints"
        ) from None
    with client:
        _check_workers(client, scheduler, folders, writable)
        try:
            with joblib.parallel_config(backend=_backend(client, scheduler)):
                yield
        except distributed.KilledWorker:
            raise UserError(
                f"one task ended several dask workers, probably for want of memory; give them more, and {again}"
            ) from None
        except (CommClosedError, CancelledError):
            raise UserError(f"the dask scheduler at {scheduler} is gone; start it, and {again}") from None


def look_around(token_file: Path, folders: Sequence[Path]) -> Surroundings:
    """Return what this process sees; runs on the workers."""
    try:
        token = token_file.read_text(encoding="utf-8")
    except OSError:
        token = None
    return Surroundings(
        versions=package_versions(),
        token=token,
        may_write=os.access(token_file.parent, os.W_OK),
        missing=tuple(folder for folder in folders if not folder.is_dir()),
    )


def call_on_fit_worker(
    scheduler: str, versions: Mapping[str, str], function: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """Return `function(*arguments, **named)`, unless this worker cannot do the work; runs on the workers.

    Raises:
        UserError: it runs several tasks at once, or has other versions of the packages.
    """
    _check_this_worker(scheduler, tuple(versions.items()))
    return function(*arguments, **named)


@functools.cache  # once for this process
def _check_this_worker(scheduler: str, versions: tuple[tuple[str, str], ...]) -> None:
    from distributed import get_worker

    worker = get_worker()
    _check_threads(worker.address, worker.state.nthreads, scheduler)
    _check_versions(worker.address, package_versions(), dict(versions))


def _backend(client: Any, scheduler: str) -> Any:
    """Return joblib's dask backend with three of its habits mended.

    It counts the workers at the start, and does all the work here if there is one: this keeps work ready for workers
    that join later, and asks them at their first task whether they can do it. And it waits for ever for a task that
    dask has given up, which this raises instead.
    """
    from joblib._dask import DaskDistributedBackend

    versions = package_versions()

    class Backend(DaskDistributedBackend):  # type: ignore[misc]  # ships no types
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(_READY, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Any = None) -> Any:
            func.items = [
                (call_on_fit_worker, (scheduler, versions, function, *arguments), named)
                for function, arguments, named in func.items
            ]
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: done.exception() and callback(_GivenUp(done.exception())))
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, _GivenUp):
                raise out.error
            return super().retrieve_result_callback(out)

    return Backend(client=client)


@dataclass(frozen=True)
class _GivenUp:
    """Stands for the result of a task that has none."""

    error: BaseException


def _check_workers(client: Any, scheduler: str, folders: Sequence[Path], writable: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE_S)
    except TimeoutError:
        raise UserError(
            f"the dask scheduler at {scheduler} has no worker; start some by typing: {_start(scheduler)}"
        ) from None
    for worker, threads in client.nthreads().items():
        _check_threads(worker, threads, scheduler)
    token = secrets.token_hex()
    token_file = writable / f".rada-{token[:16]}"
    try:
        writable.mkdir(parents=True, exist_ok=True)
        token_file.write_text(token, encoding="utf-8")
        answers = client.run(look_around, token_file, folders, on_error="return")
    finally:
        token_file.unlink(missing_ok=True)
    for worker, answer in answers.items():
        _check_worker(worker, answer, token_file, token)


def _check_worker(worker: str, answer: Surroundings | Exception, token_file: Path, token: str) -> None:
    if isinstance(answer, Exception):
        raise UserError(
            f"dask worker {worker} cannot run this package ({answer}); install it there in the same version, "
            "with all it needs, as here"
        )
    _check_versions(worker, answer.versions, package_versions())
    if answer.token != token or answer.missing:
        unseen = answer.missing[0] if answer.missing and answer.token == token else token_file.parent
        raise UserError(
            f"dask worker {worker} does not see {unseen}; images, labels and nnUNet_raw must lie on a file system that "
            "every worker sees under the same path"
        )
    if not answer.may_write:
        raise UserError(f"dask worker {worker} may not write to {token_file.parent}; give its user the right to")


def _check_threads(worker: str, threads: int, scheduler: str) -> None:
    if threads > 1:
        raise UserError(
            f"dask worker {worker} runs {threads} tasks in one process, and registration repeats its results only "
            f"where it is alone in it; start processes of one thread instead: {_start(scheduler)}"
        )


def _check_versions(worker: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    for package, version in here.items():
        if there[package] != version:
            raise UserError(
                f"{package} is {there[package]} on dask worker {worker} and {version} here; "
                "install the same version on both"
            )


def _start(scheduler: str) -> str:
    return f"dask worker {scheduler} --nworkers 4 --nthreads 1"
