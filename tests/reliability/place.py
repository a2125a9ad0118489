"""Where one row of the table happens: a folder of inputs, nnU-Net's folders, and a way to run a command."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CASE, OTHER, UNLABELLED, TEST = "phantom_labelled_00", "phantom_labelled_01", "phantom_unlabelled_00", "phantom_test_00"
DATASET = "Dataset007_Phantom"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines on stderr, without progress bars and argparse's usage."""
        text = re.sub(r"^usage: .*\n(?: .*\n)*", "", self.err, flags=re.MULTILINE)
        lines = [line for raw in text.splitlines() for line in raw.split("\r")]
        return [line for line in lines if line.strip() and not re.search(r"%\||it/s\]|: \d+/\d+, \d+:\d\d", line)]


@dataclass(frozen=True)
class Place:
    """The folders of one row, and pytest's way to change what is undone after it.

    `inputs` holds scans and labels in `labelled`, `unlabelled` and `test`, `raw`, `preprocessed` and `results` are
    nnU-Net's folders, `work` is the current folder.
    """

    root: Path
    patch: pytest.MonkeyPatch
    notes: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Path:
        """`place.raw` and so on."""
        if name in ("inputs", "raw", "preprocessed", "results", "work"):
            return self.root / name
        raise AttributeError(name)

    @property
    def images(self) -> Path:
        """Folder of labelled images."""
        return self.inputs / "labelled" / "images"

    @property
    def labels(self) -> Path:
        """Folder of their label maps."""
        return self.inputs / "labelled" / "labels"

    @property
    def image(self) -> Path:
        """One labelled image."""
        return self.images / f"{CASE}_0000.nii.gz"

    @property
    def label(self) -> Path:
        """Its label map."""
        return self.labels / f"{CASE}.nii.gz"

    @property
    def dataset(self) -> Path:
        """The raw dataset, where the row has one."""
        return self.raw / DATASET

    def run(self, main: Callable[[Sequence[str]], int], argv: Sequence[str], capture: Any) -> Outcome:
        """Run a command in this process, in the folder `work`; `capture` is pytest's capfd."""
        capture.readouterr()
        with _inside(self.work), _files_up_to(self.notes.get("largest file")):
            try:
                status = main(argv)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capture.readouterr()
        return Outcome(status=status, out=captured.out, err=captured.err)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _files_up_to(size: int | None) -> Iterator[None]:
    """Let no file grow beyond a size, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def content_of(root: Path) -> dict[str, str]:
    """Return every file, link and folder below a folder, with a hash of what is in it."""
    return {str(path.relative_to(root)): _content(path) for path in sorted(root.rglob("*"))}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what was added, removed or changed."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "other"
