"""One row of the table: a command, what is wrong with its input, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reliability.place import Outcome, Place

Spoil = Callable[[Place], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        command: what is run.
        group: kind of input, a heading of the document.
        name: what is wrong (or odd) with the input, in words; with command and group the test's id.
        spoil: makes the good input so.
        options: command-line options that differ from the good command's; None leaves one out. `{inputs}` and so on
            stand for the folders of the place.
        says: pieces of what is printed, in order, with ` ... ` between them: of the error line where `status` is 2.
        prints: pieces of what else is printed on stdout, such as a finding.
        status: 2 refused, 0 fine by design.
        result: for status 0, what comes out, in words.
        right: for status 0, asserts that the result is right.
        keeps: for status 2, files that may be new: finished parts, from which the next run goes on.
        after: for status 2, a further assertion about what is left.
        slow: whether it takes seconds.
    """

    command: str
    group: str
    name: str
    spoil: Spoil
    says: str
    options: Mapping[str, str | list[str] | None] = field(default_factory=dict)
    prints: str = ""
    status: int = 2
    result: str = ""
    right: Callable[[Place, Outcome], None] | None = None
    keeps: str = ""
    after: Callable[[Place, Outcome], None] | None = None
    slow: bool = False

    @property
    def id(self) -> str:
        """The test's id."""
        return f"{self.command}: {self.group}: {self.name}"


def holds(text: str, pieces: str) -> bool:
    """Tell whether a text holds pieces, in order.

    >>> holds("a file is cut off; copy it again", "a file ... copy it")
    True
    """
    return re.search(".*".join(re.escape(piece) for piece in pieces.split(" ... ")), text, flags=re.DOTALL) is not None


def table(command: str, group: str, *lines: tuple[Any, ...]) -> list[Row]:
    """Make rows of one command and group, each of (name, spoil, says) and a dict of the other fields, if any."""
    return [
        Row(command=command, group=group, name=name, spoil=spoil, says=says, **(more[0] if more else {}))
        for name, spoil, says, *more in lines
    ]


def nothing(place: Place) -> None:
    """Leave the input as it is: the options are what is wrong."""
