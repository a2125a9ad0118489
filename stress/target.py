"""One kind of input of the fuzz run, and how it tells whether what was read is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutations import Mutation


class WrongError(Exception):
    """A file was taken for something that it is not."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of input.

    Attributes:
        name: of the kind.
        file: name that a changed file gets.
        seeds: whole files.
        mutations: one of them is applied, sometimes two.
        check: reads the file at a path, given the bytes it was made from; raises
            `UserError` where the package refuses it, and `WrongError` where it took it for something that it is not.
    """

    name: str
    file: str
    seeds: Sequence[bytes]
    mutations: Sequence[Mutation]
    check: Callable[[Path, bytes], None]


def expect(true: bool, what: str) -> None:
    """Raise `WrongError` unless something holds."""
    if not true:
        raise WrongError(what)


def named(stem: str, suffix: str) -> str:
    """Return a file name that differs from others in more than the suffix: ITK confuses a.nii and a.nii.gz."""
    return f"{stem}-{suffix[1:].replace('.', '-')}{suffix}"
