"""A lock between processes, which the system takes back from a process that dies, however it dies."""

from __future__ import annotations

import atexit
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparse_annotation_tools.errors import UserError

if os.name == "posix":
    import fcntl

_held: dict[int, Path] = {}
"""Open locks of this process by file descriptor."""


class FileLock:
    """A lock on a file, which is there while the lock is held; a killed process leaves it behind, free for the next.

    Processes forked off meanwhile, such as data loaders, do not hold it: what a kill leaves of them locks nobody out.
    Where no lock can be had (a file system without locks, a folder that cannot be written), it counts as taken: then
    what is to be written meets the fault itself, and says so about its own file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Return whether it is held now; always, after waiting."""
        while True:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                return True
            _held[descriptor] = self.path
            if not _locked(descriptor, wait=wait):
                _close(descriptor)
                return False
            if _is_at(descriptor, self.path):
                break
            _close(descriptor)  # the former holder removed the file meanwhile
        with suppress(OSError):  # the name is only for messages
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        self._descriptor = descriptor
        return True

    def take_or_refuse(self, what: Path) -> None:
        """Take the lock.

        Raises:
            UserError: another process writes `what` at this moment.
        """
        if not self.take():
            raise UserError(
                f"{what} is being written by {self.holder()}; let it end, or end it, then run this command again"
            )

    def holder(self) -> str:
        """Return in words who holds it."""
        try:
            return self.path.read_text(encoding="utf-8").strip() or "another process"
        except OSError:
            return "another process"

    def release(self) -> None:
        """Let others take it; nothing happens if it is not held."""
        if self._descriptor in _held:
            _release(self._descriptor)
        self._descriptor = None


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against other runs that write it; the lock lies beside it, so that the folder may be replaced.

    Raises:
        UserError: another run writes it at this moment.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    lock.take_or_refuse(folder)
    try:
        yield
    finally:
        lock.release()


def _locked(descriptor: int, *, wait: bool) -> bool:
    if os.name == "posix":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _release(descriptor: int) -> None:
    try:
        with suppress(OSError):
            if _is_at(descriptor, _held[descriptor]):
                _held[descriptor].unlink()  # while it is held: who waits for it looks whether the file is still there
    finally:
        _close(descriptor)


def _close(descriptor: int) -> None:
    del _held[descriptor]
    os.close(descriptor)


@atexit.register
def _release_all() -> None:
    for descriptor in list(_held):
        _release(descriptor)


def _forget() -> None:
    """Close the parent's locks in a forked process, which leaves the parent holding them."""
    for descriptor in list(_held):
        _close(descriptor)


if os.name == "posix":
    os.register_at_fork(after_in_child=_forget)
