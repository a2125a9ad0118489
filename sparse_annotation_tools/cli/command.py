"""The wrapper that every command shares: one line on stderr and exit status 2 for what the user can mend."""

from __future__ import annotations

import errno
import functools
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from sparse_annotation_tools.errors import UserError

Main = Callable[[Sequence[str] | None], None]

# What the user can mend about the surroundings: no space, no permission, a read-only or faulty disk, a full quota, ...
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE}
# ... a file where a folder belongs, a folder where a file belongs, a name that is too long.
_MENDABLE |= {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}


def command(name: str) -> Callable[[Main], Callable[..., int]]:
    """Turn `main(argv)` into a console entry point called `name`.

    The entry point returns 0 when done and 2, after one line on stderr, when `main` raises `UserError` or meets a
    full or unwritable disk, or a path that cannot be written to. Where the reader of its output has gone, as in
    `... | head -1`, it ends quietly with the status that a shell gives to programs that SIGPIPE ended (141). Any other
    exception is our bug and keeps its traceback.
    """

    def decorate(main: Main) -> Callable[..., int]:
        @functools.wraps(main)
        def entry_point(argv: Sequence[str] | None = None) -> int:
            try:
                try:
                    return _status(name, main, argv)
                finally:
                    sys.stdout.flush()  # short output meets a closed pipe only here
            except BrokenPipeError:
                closed = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
                if not closed:  # some other pipe, such as one to a worker
                    raise
                for stream in closed:  # Python flushes once more when it ends
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                return 128 + signal.SIGPIPE

        return entry_point

    return decorate


def _status(name: str, main: Main, argv: Sequence[str] | None) -> int:
    try:
        main(argv)
    except UserError as error:
        return _refuse(name, str(error))
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        file = error.filename2 or error.filename or "unknown file"  # of a rename, the name that was wanted
        return _refuse(name, f"{error.strerror}: {file}; mend it and run again")
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _has_no_reader(stream: TextIO) -> bool:
    """Whether a stream is a pipe whose other end is closed."""
    try:
        number = stream.fileno()
    except OSError:  # no file at all, as under tests
        return False
    poll = select.poll()
    poll.register(number, 0)  # errors are reported unasked
    return bool(poll.poll(0))


def _refuse(name: str, message: str) -> int:
    print(f"{name}: error: {message}", file=sys.stderr)
    return 2
