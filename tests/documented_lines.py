"""The command lines of the documents, and the commands that they name."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
SCRIPTS = dict(
    re.findall(r'^(rada-[a-z-]+) = "([\w.:]+)"$', (REPOSITORY / "pyproject.toml").read_text(), flags=re.MULTILINE)
)


def commands_of(page: Path) -> Iterator[list[str]]:
    """The `rada-*` command lines of a page's code blocks, split as a shell does."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if line.strip().startswith("rada-") else []
            if words:
                ends = [number for number, word in enumerate(words) if word in ("|", "&&", ";", ">")]
                yield words[: min(ends, default=len(words))]


def entry_point(name: str) -> Callable[[list[str]], Any]:
    """What a command's console script calls."""
    module, _, function = SCRIPTS[name].partition(":")
    main: Callable[[list[str]], Any] = getattr(importlib.import_module(module), function)
    return main
