"""The one exception for mistakes that the user can mend, and how its message names many things."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 1000  # characters of a message


class UserError(Exception):
    """A mistake in the input, the options or the surroundings that the user can mend.

    Its message is one line: what was found, what was expected, and what to type next. Commands print it on stderr and
    exit with status 2 (see `sparse_annotation_tools.cli.command`). It may quote what an input says, so what a terminal
    would obey is escaped, and the middle of what nobody would read is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
        super().__init__(line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}")


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
