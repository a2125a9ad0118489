"""Time `--help` of every command: run `python benchmarks/startup.py`. Help should come in under half a second."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
TARGET_S = 0.5


def seconds_of_help(module: str, function: str, repeats: int = 5) -> float:
    """Wall time of the fastest of some fresh interpreters, as the installed command starts one."""
    code = f"import sys; from {module} import {function} as main; sys.argv[1:] = ['--help']; main()"
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Time every script of pyproject.toml, print a table and one line of JSON."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    scripts = re.findall(r'^(rada-[a-z-]+) = "([\w.]+):(\w+)"$', PYPROJECT.read_text(), flags=re.MULTILINE)
    times = {name: seconds_of_help(module, function) for name, module, function in scripts}
    for name, seconds in times.items():
        print(f"{name:26} {seconds:6.3f} s{'' if seconds < TARGET_S else f'   over {TARGET_S} s'}")
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "target_s": TARGET_S,
                "help_s": {name: round(seconds, 3) for name, seconds in times.items()},
                "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
            }
        )
    )


if __name__ == "__main__":
    main()
