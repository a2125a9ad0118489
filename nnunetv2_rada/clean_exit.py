"""End a stock nnU-Net command with one line and status 2 where a trainer meets a mistake that the user can mend."""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from sparse_annotation_tools.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def ends_cleanly(hook: Callable[P, R]) -> Callable[P, R]:
    """Turn `UserError`, and a full disk, in a trainer's hook into one line on stderr and exit status 2."""

    @functools.wraps(hook)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return hook(*args, **kwargs)
        except UserError as error:
            _stop(args[0], str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = error.filename or getattr(args[0], "output_folder", "a file")
            _stop(args[0], f"no space left for {where}; free some and run the same command again with --c")

    return wrapper  # type: ignore[return-value]  # _stop never returns


def _stop(trainer: Any, message: str) -> None:
    kind = trainer if isinstance(trainer, type) else type(trainer)
    print(f"{kind.__name__}: error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2)
