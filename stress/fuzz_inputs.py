"""Read thousands of damaged files, and see that none ends in a traceback, hangs or is taken for something it is not.

`python stress/fuzz_inputs.py --inputs 12000 --seed 0` takes minutes. Whole files of every kind that the commands read
are changed (bits, fields of headers, words, lines, values in JSON) and read in this process. Every input must be
refused with a `UserError` of one line, or read as a second, independent reader reads it. What is wrong is printed with
the number of its input, which `--only NUMBER` makes again. The last line is one JSON object with the figures.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import SimpleITK as sitk
from mutations import ANY
from target import Target, WrongError
from targets import all_targets

from sparse_annotation_tools.errors import UserError

LIMIT_S = 5.0  # of CPU time for one input; a whole one takes milliseconds
LIMIT_WALL_S = 120.0  # where nothing happens at all
MEMORY = 6 << 30  # of address space: a header that promises terabytes must not be believed


class TooSlowError(Exception):
    """An input took longer than the limit."""


def changed_file(target: Target, seed: int, number: int) -> tuple[bytes, bytes]:
    """Return a whole file of the target and what input `number` makes of it."""
    random = np.random.default_rng([seed, number])
    whole = target.seeds[random.integers(len(target.seeds))]
    content = whole
    for _ in range(1 if random.random() < 0.75 else 2):
        try:
            content = target.mutations[random.integers(len(target.mutations))](content, random)
        except (ValueError, EOFError, OSError, zlib.error):  # no JSON, no gzip any more after the first change
            content = ANY[random.integers(len(ANY))](content, random)
    return whole, content


def outcome(target: Target, path: Path, whole: bytes) -> tuple[str, str]:
    """Read one file: `refused`, `read`, `wrong success`, `traceback` or `hang`, and what there is to say about it."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        target.check(path, whole)
    except UserError as error:
        message = str(error)
        fine = bool(message.strip()) and message.isprintable() and len(message) < 2000
        return ("refused", "") if fine else ("traceback", f"the message is no line to show: {message[:200]!r}")
    except WrongError as error:
        return "wrong success", str(error)
    except TooSlowError:
        return "hang", f"more than {LIMIT_S:g} s of CPU time"
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read", ""


def fuzz(inputs: int, seed: int, folder: Path, numbers: Sequence[int] | None = None) -> dict[str, Any]:
    """Read that many damaged files in turn of every kind; return the figures and what was found.

    A reader in C may end the whole process. So a copy of it reads, and where that ends another copy goes on.
    """
    (folder / "suggestions").mkdir()
    targets = all_targets(folder)
    for target in targets:  # else all of its inputs would be refused, and nobody the wiser
        for whole in target.seeds:
            (folder / target.file).write_bytes(whole)
            target.check(folder / target.file, whole)
    counts: dict[str, Counter[str]] = {target.name: Counter() for target in targets}
    found: list[dict[str, Any]] = []
    start = time.perf_counter()
    left = list(range(inputs) if numbers is None else numbers)
    while left:
        log = folder / "outcomes"
        log.touch()
        child = os.fork()
        if not child:
            _read_all(targets, seed, folder, left, log)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        done = [json.loads(line) for line in log.read_text().splitlines()]
        if status:  # of a signal, or of the watch over readers that do not come back
            done.append((left[len(done)], "crash", f"the process ended with status {status}"))
        for number, kind, text in done:
            name = targets[number % len(targets)].name
            counts[name][kind] += 1
            if kind not in ("refused", "read"):
                found.append({"input": number, "target": name, "kind": kind, "text": text})
        left = left[len(done) :]
        log.unlink()
    return {"counts": counts, "found": found, "seconds": time.perf_counter() - start}


def _read_all(targets: Sequence[Target], seed: int, folder: Path, numbers: Sequence[int], log: Path) -> None:
    with log.open("w") as outcomes:
        for number in numbers:
            target = targets[number % len(targets)]
            whole, content = changed_file(target, seed, number)
            path = folder / target.file
            path.write_bytes(content)
            faulthandler.dump_traceback_later(LIMIT_WALL_S, exit=True)
            print(json.dumps([number, *outcome(target, path, whole)]), file=outcomes, flush=True)
            faulthandler.cancel_dump_traceback_later()
            path.unlink()


def keep(seed: int, number: int, folder: Path, into: Path) -> None:
    """Write one damaged file, for a person to look at."""
    targets = all_targets(folder)
    target = targets[number % len(targets)]
    path = into / str(number) / target.file
    path.parent.mkdir(parents=True)
    path.write_bytes(changed_file(target, seed, number)[1])


def main() -> int:
    """Fuzz and print what was found; 1 where anything was."""
    arguments = _parse()
    signal.signal(signal.SIGPROF, _too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    warnings.simplefilter("ignore")
    if not arguments.chatter:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.keep:
            for number in arguments.only:
                keep(arguments.seed, number, Path(folder), arguments.keep)
            return 0
        result = fuzz(arguments.inputs, arguments.seed, Path(folder), arguments.only)
    for each in result["found"][: arguments.show]:
        print(f"input {each['input']} ({each['target']}): {each['kind']}: {each['text'].strip()}\n")
    total: Counter[str] = Counter()
    print(f"{'kind':16}{'inputs':>8}{'refused':>9}{'read':>7}{'wrong':>7}")
    for name, counted in result["counts"].items():
        total += counted
        bad = sum(counted.values()) - counted["refused"] - counted["read"]
        print(f"{name:16}{sum(counted.values()):8}{counted['refused']:9}{counted['read']:7}{bad:7}")
    figures = {kind: total[kind] for kind in ("refused", "read", "wrong success", "traceback", "hang", "crash")}
    described = {"inputs": sum(total.values()), **figures, "seconds": round(result["seconds"], 1)}
    print(json.dumps({"fuzz": "inputs", "seed": arguments.seed, **described, "machine": platform.machine()}))
    return 1 if result["found"] else 0


def _too_slow(*_: object) -> None:
    raise TooSlowError


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=12_000, metavar="N", help="how many (default 12000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the changes (default 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the inputs of --only here, and read none")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="only these inputs")
    parser.add_argument("--chatter", action="store_true", help="let ITK write on stderr what it thinks of the files")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="findings to print (default 20)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
