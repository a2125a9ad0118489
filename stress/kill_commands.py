"""Kill the long commands at random moments, start them again, and see that they end as if nothing had been.

`python stress/kill_commands.py --kills 50 --seed 0` takes an hour or more; `--commands` chooses. Each command runs
undisturbed first, on small generated scans. Then it is started over and over, killed with SIGKILL at a random moment,
its whole process group or its first process alone, and started again at once, until it comes to its end. No process
of any of these starts may be left then. What it left is compared with the undisturbed run: datasets, embeddings,
suggestions, reports, heat maps and predictions byte by byte; of a training the weights, the losses and the predictions
of its validation. The last line is one JSON object with the figures. Linux only: processes are found in /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killable_commands import Command, commands

MOST_WAIT_S = 30.0  # for the workers of a killed command to end
MARK = "RADA_KILL_CAMPAIGN"  # in the environment of all processes of a run


@dataclass
class Campaign:
    """What happened to one command.

    Attributes:
        undisturbed_s: wall time of a run that nobody kills.
        usual_s: of the last start that came to its end, and more after each kill: kills spread over it, however busy
            the machine is meanwhile.
        kills: how often it was killed.
        alone: how often only its first process.
        ends: how often it came to its end after kills.
        different: what was not as after the undisturbed run, by run.
        failed: starts that ended with another status than 0.
        left_behind: command lines of processes that were still there long after their first process was killed.
    """

    undisturbed_s: float
    usual_s: float = 0.0
    kills: int = 0
    alone: int = 0
    ends: int = 0
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether it ended as it should each time."""
        return not (self.different or self.failed or self.left_behind)


def disturb(command: Command, kills: int, chance: random.Random, log: Path) -> Campaign:
    """Run a command undisturbed, then kill it that many times; the last run is left to come to its end."""
    command.begin()
    start = time.monotonic()
    status = _start(command, log, mark="undisturbed", first=True).wait()
    if status:
        raise SystemExit(f"undisturbed, it ended with status {status}: {_last_line(log)}")
    campaign = Campaign(undisturbed_s=time.monotonic() - start)
    campaign.usual_s = campaign.undisturbed_s
    expected = command.result()
    while campaign.kills < kills:
        command.begin()
        mark = f"{os.getpid()} {log.stem} {campaign.ends}"
        process = _start(command, log, mark=mark, first=True)
        while not _killed_or_ended(process, campaign, kills, chance):
            process = _start(command, log, mark=mark, first=False)
        if process.returncode:
            campaign.failed.append(f"status {process.returncode}: {_last_line(log)}")
        campaign.ends += 1
        found = command.result()
        campaign.different += [
            f"run {campaign.ends}: {name}"
            for name in sorted({*expected, *found})
            if expected.get(name) != found.get(name)
        ]
        campaign.left_behind += _still_there(mark)
        differences = f"{len(campaign.different)} differences {' '.join(campaign.different[-3:])}"
        print(f"  {campaign.kills} kills, {campaign.ends} ends, {differences}", flush=True)
    return campaign


def _killed_or_ended(process: subprocess.Popen[bytes], campaign: Campaign, kills: int, chance: random.Random) -> bool:
    """Kill a run at a random moment; return True if it had come to its end before, or has been killed enough."""
    moment_s = chance.uniform(0, 1.2 * campaign.usual_s) if campaign.kills < kills else None
    start = time.monotonic()
    try:
        process.wait(timeout=moment_s)
        campaign.usual_s = time.monotonic() - start
        return True
    except subprocess.TimeoutExpired:
        alone = chance.random() < 0.5
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        campaign.kills += 1
        campaign.usual_s *= 1.1
        campaign.alone += alone
        return False


def _start(command: Command, log: Path, *, mark: str, first: bool) -> subprocess.Popen[bytes]:
    scripts = sysconfig.get_path("scripts")
    words = [str(Path(scripts) / command.words[0]), *command.words[1:], *(() if first else command.again)]
    threads = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    variables = {**os.environ, **command.variables, **threads, MARK: mark}
    with log.open("ab") as output:
        return subprocess.Popen(words, env=variables, stdout=output, stderr=output, start_new_session=True)


def _still_there(mark: str) -> list[str]:
    """Wait for all processes of a run to end; where some do not, end them and return their command lines."""
    deadline = time.monotonic() + MOST_WAIT_S
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return list(left.values())


def _marked(mark: str) -> dict[int, str]:
    """Return the command line of each process that carries the mark of a run."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split()
    return " ".join(lines[-30:])


def main() -> int:
    """Kill and print what came of it; 1 where a command did not end as it should."""
    arguments = _parse()
    figures: dict[str, Any] = {}
    fine = True
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for name in arguments.commands:
            print(name, flush=True)
            chance = random.Random(f"{arguments.seed} {name}")
            campaign = disturb(commands(work)[name](), arguments.kills, chance, work / f"{name}.log")
            for line in (*campaign.different[:10], *campaign.failed[:10], *campaign.left_behind[:10]):
                print(f"  {line}")
            figures[name] = {
                "undisturbed_s": round(campaign.undisturbed_s, 1), "kills": campaign.kills, "alone": campaign.alone,
                "ends": campaign.ends, "different": len(campaign.different), "failed": len(campaign.failed),
                "left_behind": len(campaign.left_behind),
            }  # fmt: skip
            print(f"  {figures[name]}", flush=True)
            fine &= campaign.fine
    print(json.dumps({"kill": figures, "seed": arguments.seed, "machine": platform.machine()}))
    return 0 if fine else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = list(commands(Path()))
    parser.add_argument("--commands", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="of each command (default 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default 0)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep scans, datasets and logs here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
