"""The one exception for mistakes that the user can mend, and how its message names many things."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A mistake in the input, the options or the surroundings that the user can mend.

    Its message is one line: what was found, what was expected, and what to type next. Commands print it on stderr and
    exit with status 2 (see `sparse_annotation_tools.cli.command`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
