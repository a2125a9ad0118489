"""Commands in the documents parse, and the errors that the README explains are really printed."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import Any

import nnunetv2
import pytest
from documented_lines import PAGES, REPOSITORY, SCRIPTS, commands_of, entry_point

SOURCES = [
    path
    for folder in (REPOSITORY / "nnunetv2_rada", REPOSITORY / "sparse_annotation_tools", Path(nnunetv2.__path__[0]))
    for path in folder.rglob("*.py")
]
OF_THE_SYSTEM = ("Bus error", "unable to open shared memory", "CUDA out of memory")
"""Printed by the kernel, and by libraries that hold no Python source."""
FILLED = "\0"
"""Stands for whatever a message is filled with."""
FILLINGS = ("No space left on device", "no foreground", "origin", "axial", "in this epoch")
"""What the quoted texts are filled with, beside numbers and names of trainers."""


class Parsed(BaseException):
    """A command has read its options; no `except` of the command itself catches this."""


LINES = [(page, words) for page in PAGES for words in commands_of(page)]
WHOLE = [pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}") for page, words in LINES if "..." not in words]
QUOTED = [
    (page.name, text)
    for page in PAGES
    for text in [
        *(" ".join(words) for _, words in LINES if "..." in words),
        *re.findall(r"(?<!`)`(rada-[a-z-]+ [^`]+)`", page.read_text()),
    ]
]


def run_parser(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, *, options_of: list[str]) -> None:
    """Run a command until it has read its options; `options_of` takes the options that it knows."""
    read = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *arguments: Any) -> None:
        options_of.extend(self._option_string_actions)
        read(self, *arguments)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        with pytest.raises((Parsed, SystemExit)) as end:
            entry_point(name)(words)
    if end.type is SystemExit and not options_of:
        raise AssertionError(f"{name} parsed nothing")
    if end.type is SystemExit:
        raise end.value


@pytest.mark.parametrize("words", WHOLE)
def test_a_documented_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of a code block has the options that its command takes, with values of the right kind."""
    run_parser(words[0], words[1:], monkeypatch, options_of=[])


def test_commands_that_are_mentioned_exist_with_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those in the text, and those with dots in place of the rest."""
    known: dict[str, list[str]] = {}
    unknown = []
    for page, text in QUOTED:
        name, *words = text.split()
        if name not in SCRIPTS:
            unknown.append(f"{page}: {text}")
            continue
        if name not in known:
            known[name] = []
            with pytest.raises(SystemExit):
                run_parser(name, ["--help"], monkeypatch, options_of=known[name])
        options = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)]
        unknown += [f"{page}: {text}: {option}" for option in options if option not in known[name]]
    assert unknown == []


# ---- errors ----------------------------------------------------------------------------------------------------------


def messages() -> list[str]:
    """Every text of the sources, with `FILLED` for what it is filled with."""
    texts = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def troubleshooting() -> list[str]:
    """The texts of the README's table: what it says."""
    section = (REPOSITORY / "README.md").read_text().partition("## Troubleshooting")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


def shouted() -> list[str]:
    """The warnings and the stamp that all pages quote from logs."""
    texts = [" ".join(page.read_text().split()) for page in PAGES]
    quotes = r"[`\"]((?:WARNING: |encoder=random: )[^`\"]+)[`\"]"
    return [text for page in texts for text in re.findall(quotes, page)]


def as_pattern(shown: str) -> re.Pattern[str]:
    """What a message must match so that the README's text can come of it; dots stand for anything."""
    pieces = [piece.strip() for piece in shown.split("...") if piece.strip()]
    fillings = rf"(\d+\b|\bnan\b|\bnnUNetTrainer\w+|{'|'.join(FILLINGS)})"
    loose = [
        "".join(
            f"(?:{re.escape(part)}|{FILLED})" if number % 2 else re.escape(part)
            for number, part in enumerate(re.split(fillings, piece))
        )
        for piece in pieces
    ]
    return re.compile(".*".join(loose), flags=re.DOTALL)


def test_every_message_that_the_pages_explain_is_printed_somewhere() -> None:
    """Its words stand in the sources, of this package or of nnU-Net's."""
    shown = [*troubleshooting(), *shouted()]
    assert len(troubleshooting()) > 15
    assert len(shouted()) > 2
    texts = messages()
    invented = [text for text in shown if text not in OF_THE_SYSTEM and not any(map(as_pattern(text).search, texts))]
    assert invented == []
