"""Run a job as named stages in subprocesses, so that a killed job goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.processes.progress import clock

_QUIET_SECONDS = 15.0  # between two progress lines where the terminal cannot rewrite one
_GRACE_SECONDS = 10.0  # between asking a command to end and killing it
_LOG_WIDTH = 160  # characters of each of these lines; nnU-Net prints whole plans on one
_LOG_TAIL = 12  # lines of a failed stage's log that are shown


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a job.

    Attributes:
        name: file name of its log and of its record.
        title: what it does, for the reader.
        run: does it; killed at any moment and called again, it must end in the same result.
    """

    name: str
    title: str
    run: Callable[[], None]


class Console:
    """Prints lines, and one progress line that is rewritten in a terminal and rare in a file."""

    def __init__(self, *, rewrite: bool | None = None) -> None:
        self._rewrite = sys.stdout.isatty() if rewrite is None else rewrite
        self._open = False
        self._last = -_QUIET_SECONDS

    def line(self, text: str = "") -> None:
        """Print a line for good."""
        if self._open:
            print("\r\033[K", end="")
            self._open = False
        print(text, flush=True)

    def progress(self, text: str) -> None:
        """Show where the running stage is."""
        if self._rewrite:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)
            self._open = True
        elif time.monotonic() - self._last >= _QUIET_SECONDS:
            self._last = time.monotonic()
            print(text, flush=True)


def run_stages(stages: Sequence[Stage], records: Path, console: Console) -> dict[str, float]:
    """Run the stages that have not been finished, in order.

    A stage is finished when its record `records/NAME.json` exists; it is written after the stage returned. A stage
    after an unfinished one is run again even where an old record exists.

    Returns:
        Seconds of each stage's finishing run, by name.
    """
    seconds: dict[str, float] = {}
    going_on = True
    for number, stage in enumerate(stages, start=1):
        record = records / f"{stage.name}.json"
        head = f"[{number}/{len(stages)}] {stage.title}"
        if going_on and record.exists():
            seconds[stage.name] = json.loads(record.read_text(encoding="utf-8"))["seconds"]
            console.line(f"{head}: done before")
            continue
        going_on = False
        record.unlink(missing_ok=True)
        console.line(head)
        begin = time.monotonic()
        stage.run()
        seconds[stage.name] = time.monotonic() - begin
        write_json(record, {"seconds": seconds[stage.name]})
        console.line(f"      done in {clock(seconds[stage.name])}")
    return seconds


def installed_command(name: str) -> str:
    """Path of a console command in this Python's own environment.

    Raises:
        UserError: it is not there.
    """
    folder = Path(sysconfig.get_path("scripts"))
    found = shutil.which(name, path=str(folder))
    if found is None:
        raise UserError(
            f"command {name} not found in {folder}, beside this Python; run `{sys.executable} -m pip install "
            "nnunetv2-rada` or start this with the Python of the environment where it is installed"
        )
    return found


def run_command(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    console: Console,
    summary: Callable[[str], str | None],
) -> None:
    """Run an installed command to its end; all its output goes to `log`, a summary to the console.

    Args:
        command: name of the console command, then its arguments.
        log: file to append to.
        environment: variables to set on top of this process's.
        console: where progress is shown.
        summary: turns one line of output into the progress text, or into None to show nothing.

    Raises:
        UserError: the command ended with a status other than 0; it names the log.
    """
    program, *arguments = command
    argv = [installed_command(program), *arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        process: subprocess.Popen[str] = subprocess.Popen(
            argv,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # its own workers end with it, see _end
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:  # text mode: a progress bar's \r ends a line too
                file.write(line)
                file.flush()
                shown = summary(line)
                if shown:
                    console.progress(f"      {clock(time.monotonic() - begin)}  {shown}")
            status = process.wait()
        finally:
            _end(process)
    if status != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
        console.line("\n".join(f"      | {text[:_LOG_WIDTH]}" for text in tail))
        how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        hint = " (out of memory?)" if status == -9 else ""
        raise UserError(
            f"{program} {how}{hint}, expected status 0; its whole output is in {log}; mend what it says and "
            "run the same command again to go on"
        )


def _end(process: subprocess.Popen[Any]) -> None:
    """End the process and everything that it started; do nothing where it has ended by itself."""
    if process.poll() is not None:
        return
    with _uninterrupted():
        for ask in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            try:
                os.killpg(process.pid, ask) if os.name == "posix" else process.terminate()
                process.wait(timeout=_GRACE_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
            return


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let no second Ctrl-C or SIGTERM cut the cleaning-up short: it would leave a training run without a parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
