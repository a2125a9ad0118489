"""The folder that holds one comparison."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.processes.lock import FileLock


@dataclass(frozen=True, kw_only=True)
class ComparisonFolder:
    """Paths of one comparison: datasets, runs, tables."""

    root: Path

    @property
    def mark(self) -> Path:
        """What the comparison was begun with; marks the folder as a comparison's."""
        return self.root / "compare.json"

    @property
    def datasets(self) -> Path:
        """The datasets' variants, each with nnU-Net folders of its own."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """The runs, each with an nnUNet_results of its own."""
        return self.root / "runs"

    @property
    def speeds(self) -> Path:
        """Trainers whose speed was measured before any run of theirs was finished."""
        return self.root / "speeds"

    def open(self, wanted: dict[str, Any]) -> None:
        """Begin a comparison, or take up one that was begun with the same things.

        Raises:
            UserError: the folder holds something else, or a comparison of other things.
        """
        visible = [path for path in self.root.glob("*") if not path.name.startswith(".")]
        if visible and not self.mark.exists():
            raise UserError(f"{self.root} holds other files, expected a new folder or a comparison's; give another -o")
        with locked(self.root, wait=True):  # of two processes that begin at once, one does
            if not self.mark.exists():
                write_json(self.mark, wanted)
                return
        begun = self._begun_with()
        for name in {**begun, **wanted}:
            if begun.get(name) != wanted.get(name):
                raise UserError(
                    f"{self.root} holds a comparison with {name} {_shown(begun.get(name))}, now "
                    f"{_shown(wanted.get(name))}: its rows would not be comparable; give the former, or another -o"
                )

    def _begun_with(self) -> dict[str, Any]:
        try:
            begun = load_json(self.mark)
        except ValueError as error:
            raise UserError(f"{self.mark} is damaged ({error}); put it back, or give another -o") from None
        if not isinstance(begun, dict):
            raise UserError(
                f"{self.mark} holds {type(begun).__name__}, expected what rada-compare wrote; give another -o"
            )
        return begun


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a folder against other processes that work on the same comparison.

    Yields:
        Whether it is held; always true after waiting. A process that dies lets go.
    """
    lock = FileLock(folder / ".lock")
    try:
        yield lock.take(wait=wait)
    finally:
        lock.release()
