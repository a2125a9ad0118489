"""Run a function over many arguments in processes, with a progress bar."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sparse_annotation_tools.errors import UserError

Result = TypeVar("Result")

# Registration repeats its results only with one thread; and N processes of M threads get in each other's way.
_ONE_THREAD = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_in_processes(
    function: Callable[..., Result], arguments: Sequence[tuple[object, ...]], *, processes: int, description: str
) -> list[Result]:
    """Return `[function(*each) for each in arguments]`, computed by up to `processes` single-threaded processes.

    Raises:
        UserError: a process was killed, mostly for want of memory.
        Exception: the first one that `function` raised.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from tqdm import tqdm

    results: dict[int, Result] = {}
    parallel = Parallel(
        n_jobs=max(1, min(processes, len(arguments))),
        return_as="generator_unordered",
        batch_size=1,
        pre_dispatch="2*n_jobs",
    )
    tasks = (delayed(_numbered)(os.getpid(), number, function, each) for number, each in enumerate(arguments))
    try:
        with tqdm(total=len(arguments), desc=description, disable=not arguments) as bar:
            for number, result in parallel(tasks):
                results[number] = result
                bar.update()
    except TerminatedWorkerError:
        raise UserError(
            f"a process was killed while {description}, probably for want of memory; "
            "run the same command again with a smaller -np, it goes on where it stopped"
        ) from None
    return [results[number] for number in range(len(arguments))]


@contextlib.contextmanager
def import_ahead(module: str, *, processes: int) -> Iterator[None]:
    """Start the processes of a later `run_in_processes` and have each import `module`, while this one goes on.

    For work that begins with something that only this process can do, such as looking at a single scan.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    imports = (delayed(_import)(os.getpid(), module) for _ in range(processes))
    done = Parallel(n_jobs=processes, return_as="generator_unordered", batch_size=1, pre_dispatch="all")(imports)
    try:
        yield
    finally:
        with contextlib.suppress(TerminatedWorkerError):  # `run_in_processes` has said so
            for _ in done:  # joblib warns of results that nobody takes
                pass


def _import(parent: int, module: str) -> None:
    _end_with(parent)
    importlib.import_module(module)


def _numbered(
    parent: int, number: int, function: Callable[..., Result], arguments: tuple[object, ...]
) -> tuple[int, Result]:
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    _end_with(parent)
    return number, function(*arguments)


@functools.cache
def _end_with(parent: int) -> None:
    """End this process, if it is a child of `parent`, as soon as `parent` is gone.

    A killed command would otherwise leave its workers registering, and one of them might write into a dataset that the
    next run has finished meanwhile.
    """
    if os.getppid() == parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
