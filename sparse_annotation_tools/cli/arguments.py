"""Arguments that several commands take, read in one way."""

from __future__ import annotations

import argparse

from sparse_annotation_tools.errors import UserError

MOST_PROCESSES = 8  # by default; each may hold a scan in memory


def positive(text: str) -> int:
    """Return the number that an argument says: argparse's `type` of a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def add_processes(parser: argparse._ActionsContainer) -> None:
    """Add `-np`, read by `processes_of`."""
    parser.add_argument(
        "-np", dest="processes", type=int, metavar="N", help=f"processes (default: cores, at most {MOST_PROCESSES})"
    )


def processes_of(arguments: argparse.Namespace) -> int:
    """Return how many processes `-np` asks for; without it, one for each core that this process may use.

    Raises:
        UserError: the number is less than 1.
    """
    if arguments.processes is None:
        from joblib import cpu_count  # knows of affinity and of a container's limits

        return min(MOST_PROCESSES, int(cpu_count()))
    if arguments.processes < 1:
        raise UserError(f"-np is {arguments.processes}, expected 1 or more")
    return int(arguments.processes)
