"""The commands of the table, each with a command line that works on the good input."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from phantom_dataset import Options, make_options, words

from reliability.place import TEST, Place


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
        return [_placed(word, place) for word in words({**self.options, **changes})]


def _placed(text: str, place: Place) -> str:
    for name in ("inputs", "raw", "preprocessed", "results", "work"):
        text = text.replace(f"{{{name}}}", str(getattr(place, name)))
    return text


_MODEL = {"-d": "7", "-f": "0", "-device": "cpu", "-i": "{inputs}/test/images"}
_TOOLS = "sparse_annotation_tools.cli"
COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="rada-make-sparse-dataset",
            entry=f"{_TOOLS}.make_sparse_dataset:main",
            base="scans",
            options=make_options("{inputs}", unlabelled=True, test=True),
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
        Command(
            name="nnUNetv2_train",
            entry="reliability.stock:train",
            base="model",
            options={"7": "", "3d_fullres": "", "0": "", "-tr": "nnUNetTrainerRADA", "-device": "cpu"},
        ),
        Command(
            name="nnUNetv2_predict",
            entry="reliability.stock:predict",
            base="model",
            options={**_MODEL, "-c": "3d_fullres", "-tr": "nnUNetTrainerRADA", "-o": "{work}/predicted"},
        ),
        Command(
            name="rada-heatmap",
            entry="nnunetv2_rada.cli.heatmap:main",
            base="model",
            options={**_MODEL, "--case": TEST, "--class": "organ", "-o": "{work}/heat"},
        ),
        Command(
            name="rada-predict-networks",
            entry="nnunetv2_rada.cli.predict_networks:main",
            base="model",
            options={**_MODEL, "-o": "{work}/networks", "-npp": "0", "-nps": "0"},
        ),
        Command(
            name="rada-compare",
            entry="nnunetv2_rada.compare.command:main",
            base="dataset",
            options={
                **{"-d": "7", "--table": "I", "-o": "{work}/comparison", "-device": "cpu"},
                **{"--methods": "RADA", "--iterations": "10", "--seeds": "1"},
            },
        ),
        Command(
            name="rada-report",
            entry=f"{_TOOLS}.report:main",
            base="report",
            options={"-d": "7", "-o": "{work}/report", "-pred": "{inputs}/predictions", "-np": "1"},
        ),
        Command(
            name="rada-figure",
            entry=f"{_TOOLS}.figure:main",
            base="predictions",
            options={
                **{"-i": "{inputs}/labelled/images", "-gt": "{inputs}/labelled/labels"},
                **{"--predictions": ["one={inputs}/predictions"], "-o": "{work}/figure.png"},
            },
        ),
        Command(
            name="rada-annotate",
            entry=f"{_TOOLS}.annotate:main",
            base="scans",
            options={"-i": "{inputs}/labelled/images", "-o": "{work}/annotated"},
        ),
        Command(name="rada-doctor", entry="nnunetv2_rada.doctor:main", base="scans"),
        Command(name="rada-demo", entry="nnunetv2_rada.demo:main", base="scans", options={"-o": "{work}/demo"}),
    )
}
