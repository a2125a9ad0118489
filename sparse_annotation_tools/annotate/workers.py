"""Processes that are kept warm, with ANTs loaded, and end with their parent, however it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.propagation.ants_library import load_ants

# Registration repeats its results only with one thread; and N processes of M threads get in each other's way.
_ONE_THREAD = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_Task = tuple[Callable[..., Any], tuple[Any, ...], "Future[Any]"]


class Workers:
    """A few processes that compute one call after the other.

    A thread feeds each process over a pipe. The process ends when its end of the pipe is closed, and the system closes
    it even if this process is killed.
    """

    def __init__(self, count: int, *, ahead: Callable[[], object] = load_ants) -> None:
        """`count` processes, once they are started; each then calls `ahead` before anything else."""
        self._ahead = ahead
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._feed, daemon=True) for _ in range(count)]

    @property
    def count(self) -> int:
        """How many calls are computed at once."""
        return len(self._threads)

    def start(self) -> None:
        """Start the processes; call it when it is sure that there will be work."""
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have `function(*arguments)` computed after `start`; another process must be able to import it.

        The future raises what the function raised, or `UserError` where the process was killed.
        """
        future: Future[Any] = Future()
        self._tasks.put((function, arguments, future))
        return future

    def close(self) -> None:
        """Let the processes end after what they are at."""
        for _ in self._threads:
            self._tasks.put(None)

    def _feed(self) -> None:
        process, pipe = self._start()
        while (task := self._tasks.get()) is not None:
            function, arguments, future = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                pipe.send((function, arguments))
                fine, result = pipe.recv()
            except (EOFError, OSError):
                future.set_exception(
                    UserError("a process was killed, probably for want of memory; close other programs")
                )
                process.join()
                process, pipe = self._start()
                continue
            if fine:
                future.set_result(result)
            else:
                future.set_exception(result)
        pipe.close()

    def _start(self) -> tuple[Any, Connection]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._ahead), daemon=True)
        process.start()
        theirs.close()
        return process, mine


def _work(pipe: Connection, ahead: Callable[[], object]) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    ahead()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            function, arguments = pipe.recv()
            try:
                answer = (True, function(*arguments))
            except Exception as error:  # for the parent to raise
                answer = (False, error)
            pipe.send(answer)
