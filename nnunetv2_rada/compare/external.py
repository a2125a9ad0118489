"""Run the stock commands of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_rada.compare import processes
from nnunetv2_rada.demo import last_words
from nnunetv2_rada.stages import Console, run_command


@dataclass(frozen=True, kw_only=True)
class External:
    """Runs commands one after the other, with their output in log files."""

    console: Console

    def run(
        self,
        command: Sequence[str],
        *,
        log: Path,
        run: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], str | None] = last_words,
    ) -> None:
        """Run a command to its end.

        Args:
            command: name and arguments.
            log: file that its output is appended to.
            run: folder of what it works on; what is left of an earlier command that worked on it is ended first.
            environment: variables on top of this process's.
            on_line: turns a line of output into the progress text.

        Raises:
            UserError: it ended with another status than 0.
        """
        processes.end_leftovers(run)
        marked = {**environment, **processes.environment(run)}
        run_command(command, log=log, environment=marked, console=self.console, summary=on_line)
