"""The commands of the table, each with a command line that works on the good input."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reliability.place import Place

Options = Mapping[str, str | list[str] | None]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command.

    Attributes:
        name: as typed.
        entry: module and function.
        base: which prepared folder it starts from.
        options: of a run that works; an empty value is a switch.
    """

    name: str
    entry: str
    base: str
    options: Options = field(default_factory=dict)

    def main(self) -> Callable[[Sequence[str]], int]:
        """Import the entry point."""
        module, function = self.entry.split(":")
        loaded: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
        return loaded

    def argv(self, place: Place, changes: Options) -> list[str]:
        """Return the arguments with changes."""
        words: list[str] = []
        for option, value in {**self.options, **changes}.items():
            if value is not None:
                values = [value] if isinstance(value, str) else value
                words += [option, *(_placed(each, place) for each in values if each)]
        return words


def _placed(text: str, place: Place) -> str:
    for name in ("inputs", "raw", "preprocessed", "results", "work"):
        text = text.replace(f"{{{name}}}", str(getattr(place, name)))
    return text


_TOOLS = "sparse_annotation_tools.cli"
COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="rada-make-sparse-dataset",
            entry=f"{_TOOLS}.make_sparse_dataset:main",
            base="scans",
            options={
                "-d": "7",
                "-n": "Phantom",
                "--images": "{inputs}/labelled/images",
                "--labels": "{inputs}/labelled/labels",
                "--unlabelled": "{inputs}/unlabelled/images",
                "--test-images": "{inputs}/test/images",
                "--test-labels": "{inputs}/test/labels",
                "--label-names": ["organ"],
                "--simulate": "SCA",
                "--encoder": "random",
                "--encoder-seed": "0",
                "-np": "1",
            },
        ),
        Command(
            name="rada-suggest-slices",
            entry=f"{_TOOLS}.suggest_slices:main",
            base="scans",
            options={"-i": "{inputs}/labelled/images", "-o": "{work}/slices", "-np": "1"},
        ),
        Command(
            name="rada-check-dataset",
            entry=f"{_TOOLS}.check_dataset:main",
            base="dataset",
            options={"-d": "7", "-np": "1"},
        ),
        Command(
            name="rada-embed",
            entry=f"{_TOOLS}.embed:main",
            base="dataset",
            options={"-d": "7", "--encoder": "random", "--encoder-seed": "0"},
        ),
        Command(
            name="rada-evaluate",
            entry=f"{_TOOLS}.evaluate:main",
            base="predictions",
            options={
                "-gt": "{inputs}/labelled/labels",
                "-pred": "{inputs}/predictions",
                "-o": "{work}/scores.json",
                "-np": "1",
            },
        ),
        Command(name="rada-doctor", entry="nnunetv2_rada.doctor:main", base="scans"),
        Command(name="rada-demo", entry="nnunetv2_rada.demo:main", base="scans", options={"-o": "{work}/demo"}),
    )
}
