"""A job of stages goes on where it was killed, and leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunetv2_rada.stages import Console, Stage, clock, installed_command, run_command, run_stages
from sparse_annotation_tools.errors import UserError


def _job(tmp_path: Path, done: list[str], *, fail: str | None = None) -> dict[str, float]:
    def run(name: str) -> None:
        if name == fail:
            raise KeyboardInterrupt
        done.append(name)

    stages = [Stage(name=name, title=name, run=lambda name=name: run(name)) for name in ("one", "two", "three")]  # type: ignore[misc]
    return run_stages(stages, tmp_path / "records", Console(rewrite=False))


def test_stages_run_in_order_and_once(tmp_path: Path) -> None:
    """A second call runs nothing and still knows what each stage took."""
    done: list[str] = []
    first = _job(tmp_path, done)
    assert done == ["one", "two", "three"]
    assert _job(tmp_path, done) == first
    assert done == ["one", "two", "three"]


def test_an_interrupted_job_goes_on_at_the_interrupted_stage(tmp_path: Path) -> None:
    """Finished stages are skipped, the interrupted one starts again."""
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _job(tmp_path, done, fail="two")
    assert done == ["one"]
    _job(tmp_path, done)
    assert done == ["one", "two", "three"]


def test_stages_after_an_unfinished_one_run_again(tmp_path: Path) -> None:
    """A record of a later stage does not count once an earlier stage has to run."""
    done: list[str] = []
    _job(tmp_path, done)
    (tmp_path / "records" / "two.json").unlink()
    _job(tmp_path, done)
    assert done == ["one", "two", "three", "two", "three"]


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """kill -9 in the middle of a stage: the next process skips what was finished."""
    script = f"""
import time
from pathlib import Path
from nnunetv2_rada.stages import Console, Stage, run_stages
folder = Path({str(tmp_path)!r})
def slow():
    (folder / "started").touch()
    time.sleep(0 if (folder / "second").exists() else 60)
def first():
    with (folder / "first").open("a") as file:
        file.write("x")
stages = [Stage(name="a", title="a", run=first), Stage(name="b", title="b", run=slow)]
run_stages(stages, folder / "records", Console())
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    _wait_for(tmp_path / "started")
    process.kill()
    process.wait()
    (tmp_path / "second").touch()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert (tmp_path / "first").read_text() == "x"


def test_output_goes_to_the_log_and_its_summary_to_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything a command prints is kept; the console shows what the summary makes of it."""
    run_command(
        ["python", "-c", "import os; print('hello', os.environ['COLOUR'], end='\\r'); print('bye')"],
        log=tmp_path / "logs" / "a.log",
        environment={"COLOUR": "orange"},
        console=Console(rewrite=True),
        summary=lambda line: line.strip().upper() or None,
    )
    assert (tmp_path / "logs" / "a.log").read_text().splitlines()[1:] == ["hello orange", "bye"]
    shown = capsys.readouterr().out
    assert "HELLO ORANGE" in shown
    assert "BYE" in shown


def test_a_failing_command_is_shown_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last lines of the output and the log's path reach the user."""
    with pytest.raises(
        UserError, match=r"python ended with status 3, expected status 0; its whole output is in .*a\.log"
    ):
        run_command(
            ["python", "-c", "print('no such disk'); raise SystemExit(3)"],
            log=tmp_path / "a.log",
            environment={},
            console=Console(rewrite=False),
            summary=lambda line: None,
        )
    assert "no such disk" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "found"), [(9, r"ended by signal 9 \(out of memory\?\),"), (15, "ended by signal 15,")]
)
def test_an_ended_command_is_told_from_a_failed_one(tmp_path: Path, number: int, found: str) -> None:
    """A signal is named as such; only the one that a machine without memory sends is blamed on memory."""
    with pytest.raises(UserError, match=found):
        run_command(
            ["python", "-c", f"import os; os.kill(os.getpid(), {number})"],
            log=tmp_path / "a.log",
            environment={},
            console=Console(rewrite=False),
            summary=lambda line: None,
        )


def test_an_interruption_ends_the_command_and_its_workers(tmp_path: Path) -> None:
    """No process of a stage survives it, not even those that its command started."""
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pid_file)!r}, 'w').write(str(p.pid)); print('started', flush=True); time.sleep(60)"
    )

    def interrupt(line: str) -> str | None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(
            ["python", "-c", script],
            log=tmp_path / "a.log",
            environment={},
            console=Console(rewrite=False),
            summary=interrupt,
        )
    worker = int(pid_file.read_text())
    assert _is_gone(worker)


@pytest.mark.slow
def test_a_second_signal_does_not_cut_the_cleaning_up_short(tmp_path: Path) -> None:
    """A job that is told twice to end, as by an impatient user or by `timeout`, still ends its command first."""
    pid_file = tmp_path / "pid"
    command = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); print('started', flush=True); time.sleep(60)"
    )
    script = f"""
import signal
from pathlib import Path
from nnunetv2_rada import stages
from nnunetv2_rada.stages import Console, run_command
stages._GRACE_SECONDS = 2.0
signal.signal(signal.SIGTERM, signal.default_int_handler)
run_command(["python", "-c", {command!r}], log=Path({str(tmp_path / "a.log")!r}), environment={{}},
            console=Console(), summary=lambda line: None)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    _wait_for(pid_file)
    for _ in range(2):
        time.sleep(0.4)
        process.terminate()
    process.wait(timeout=30)
    assert _is_gone(int(pid_file.read_text()))


def test_a_command_of_another_environment_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command that is only on PATH is not used; the error says how to install it here."""
    foreign = tmp_path / "rada-foreign"
    foreign.write_text("#!/bin/sh\n")
    foreign.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UserError, match="command rada-foreign not found in"):
        installed_command("rada-foreign")
    assert Path(installed_command("python")).exists()


def test_the_clock_shows_minutes_and_seconds() -> None:
    """Seconds are rounded and carried."""
    assert [clock(seconds) for seconds in (0, 9.4, 59.6, 3600)] == ["0:00", "0:09", "1:00", "1:00:00"]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be reaped has."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False
