"""Run a function over many arguments in processes, and show how far they are."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.processes.progress import progress

Result = TypeVar("Result")

# Registration repeats its results only with one thread; and N processes of M threads get in each other's way.
_ONE_THREAD = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_AGAIN = "run the same command again with a smaller -np, it goes on where it stopped"


def run_in_processes(
    function: Callable[..., Result],
    arguments: Sequence[tuple[object, ...]],
    *,
    names: Sequence[str],
    processes: int,
    description: str,
) -> list[Result]:
    """Return `[function(*each) for each in arguments]`, computed by up to `processes` single-threaded processes.

    When the system kills a process, mostly for want of memory, what was under way gets a second try: each by itself,
    with no other process at work, so that it has all the memory and so that it is known whose process was killed if
    that happens again.

    Args:
        function: what is called; another process must be able to import it.
        arguments: of each call.
        names: of each call, for messages: its case.
        processes: how many run at once.
        description: what is done, for progress and messages.

    Raises:
        UserError: a process was killed again in the second try.
        Exception: the first one that `function` raised.
    """
    count = max(1, min(processes, len(arguments)))
    with (
        tempfile.TemporaryDirectory(prefix="rada-") as marks,
        progress(len(arguments), description) as shown,
    ):
        work = _Work(function, arguments, Path(marks), progress=shown.update)
        idle_process_killed = False
        while left := work.left():
            if work.do(left, processes=count):
                continue
            under_way = work.under_way()
            if not under_way and idle_process_killed:
                raise UserError(f"processes were killed twice while {description}, between two tasks; {_AGAIN}")
            idle_process_killed = not under_way
            whose = some([names[number] for number in under_way]) or "nothing"
            line = f"a process was killed while {description}; at work were: {whose}; each gets a second try, alone"
            shown.write(line)
            for number in under_way:
                if not work.do([number], processes=2):  # two for joblib, for which one is this process
                    raise UserError(
                        f"{names[number]}: its process was killed twice while {description}, the second time with no "
                        f"other at work, probably for want of memory; end other programs, and {_AGAIN}"
                    )
    return [work.results[number] for number in range(len(arguments))]


@dataclass
class _Work(Generic[Result]):
    """Calls by number, and what came of them.

    Attributes:
        function: what is called.
        arguments: of each call.
        marks: a folder that holds a file for each call that is under way.
        progress: called after each call that came to its end.
        results: of these, by number.
    """

    function: Callable[..., Result]
    arguments: Sequence[tuple[object, ...]]
    marks: Path
    progress: Callable[[], Any]
    results: dict[int, Result] = field(default_factory=dict)

    def left(self) -> list[int]:
        """Return the calls without a result."""
        return [number for number in range(len(self.arguments)) if number not in self.results]

    def under_way(self) -> list[int]:
        """Return the calls that have begun and not ended."""
        return sorted(int(path.name) for path in self.marks.iterdir())

    def do(self, numbers: Iterable[int], *, processes: int) -> bool:
        """Make these calls; return False where a process was killed."""
        from joblib import delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        parallel = _parallel(processes, pre_dispatch="2*n_jobs")
        task = functools.partial(delayed(_numbered), self.marks)
        try:
            for number, result in parallel(task(number, self.function, self.arguments[number]) for number in numbers):
                self.results[number] = result
                self.progress()
        except TerminatedWorkerError:
            return False
        return True


@contextlib.contextmanager
def call_ahead(function: Callable[[], object], *, processes: int) -> Iterator[None]:
    """Start the processes of a later `run_in_processes` and have each call `function`, while this one goes on.

    For work that begins with something that only this process can do, such as looking at a single scan.
    """
    from joblib import delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    done = _parallel(processes, pre_dispatch="all")(delayed(_call)(function) for _ in range(processes))
    try:
        yield
    finally:
        with contextlib.suppress(TerminatedWorkerError):  # `run_in_processes` has said so
            for _ in done:  # joblib warns of results that nobody takes
                pass


def _parallel(processes: int, *, pre_dispatch: str) -> Any:
    """Return joblib's executor: that of a cluster, where one is in use, else processes that end with this one."""
    from joblib import Parallel
    from joblib.parallel import get_active_backend

    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": pre_dispatch}
    backend = type(get_active_backend()[0])
    if backend.__name__ == "LokyBackend":
        options["backend"] = _ending_with_this(backend)
    return Parallel(n_jobs=processes, **options)


def _ending_with_this(backend: Any) -> Any:
    """Return a backend of processes that watch this one from their start, work or no work."""

    class EndingWithThis(backend):  # type: ignore[misc]
        def configure(self, *arguments: Any, **options: Any) -> Any:
            return super().configure(*arguments, initializer=_end_with, initargs=(os.getpid(),), **options)

    return EndingWithThis()


def _call(function: Callable[[], object]) -> None:
    function()


def _numbered(
    under_way: Path, number: int, function: Callable[..., Result], arguments: tuple[object, ...]
) -> tuple[int, Result]:
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    mark = under_way / str(number)
    with contextlib.suppress(OSError):  # dask's workers on other machines do not see it, and dask has its own retries
        mark.touch()
    result = function(*arguments)
    with contextlib.suppress(OSError):
        mark.unlink()
    return number, result


def _end_with(parent: int) -> None:
    """End this process, a child of `parent`, as soon as `parent` is gone.

    A killed command would otherwise leave its workers registering, and one of them might write into a dataset that the
    next run has finished meanwhile; those without work would wait for some for minutes.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


@functools.cache  # once for this process
def end_forks_with_this_process() -> None:
    """Let processes that are forked from now on, by whatever library, end as soon as the one that forked them is gone.

    For libraries that fork and leave their processes waiting when the command is killed.
    """
    forking: list[int] = [0]  # noted before, as the one that forks may be gone when the new process asks

    def note() -> None:
        forking[0] = os.getpid()

    os.register_at_fork(before=note, after_in_child=lambda: _end_with(forking[0]))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
