"""Write files so that nothing half-written is left under its final name."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PARTIAL = ".partial-"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_MODE = 0o666 & ~_umask()  # asked for once, as other threads have no umask in that moment


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; rename it to `final` when the block ends well, else delete it.

    The temporary name keeps every suffix of `final`, because image writers choose their format by it, and starts with a
    dot, so that no folder listing takes it for a case.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffixes = _around(final)
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffixes, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_MODE)
        os.replace(temporary, final)
    except OSError as error:
        if error.filename is None or str(temporary) in (error.filename, error.filename2):
            error.filename, error.filename2 = str(final), None  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _around(final: Path) -> tuple[str, str]:
    """What stands before and behind the random part of a temporary name; 200 letters leave room in a file name."""
    stem, dot, suffixes = final.name.partition(".")
    return f"{_PARTIAL}{stem[:200]}-", dot + suffixes


def clear_leftovers_of(final: Path) -> None:
    """Drop what killed runs left half-written of one file, in a folder that may hold anything else."""
    prefix, suffixes = _around(final)
    for leftover in final.parent.glob(f"{glob.escape(prefix)}????????{glob.escape(suffixes)}"):
        leftover.unlink(missing_ok=True)


def clear_leftovers(folder: Path) -> None:
    """Drop what killed runs left half-written in a folder and those below it."""
    for leftover in folder.rglob(f"{_PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a file is one that a killed run left half-written."""
    return path.name.startswith(_PARTIAL)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path` as indented JSON, atomically. NaN must have been replaced by None before."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
