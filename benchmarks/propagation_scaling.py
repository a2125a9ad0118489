"""Measure how making a dataset grows with the number of scans: `python benchmarks/propagation_scaling.py --data DIR`.

DIR is laid out as for benchmarks/propagation.py. `make_dataset` runs in a fresh process for each number of scans and of
processes, on the first scans of one set; the table gives wall time, that of the registrations in it, the same
once more by running processes, CPU time, and the peak memory of the largest process (read from /proc: Linux
only).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from propagation import find_sets, machine  # the benchmark beside this one

from sparse_annotation_tools.dataset import make as dataset
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.files.volumes import read_label
from sparse_annotation_tools.processes.parallel import run_in_processes


def main() -> None:
    """Measure every combination, print a table and one line of JSON."""
    arguments = _parse()
    if arguments.folder is not None:
        print(json.dumps(measure(arguments.folder, arguments.processes[0])))
        return
    ((name, source),) = find_sets(arguments.data, [arguments.set])
    scans = sorted((source / "images").glob("*_0000.nii.gz"))[: max(arguments.volumes)]
    rows = []
    print(f"{name}\nvolumes  processes   wall s  registering s  once more    CPU s  s a volume  peak MB of a process")
    for count in sorted({min(number, len(scans)) for number in arguments.volumes}):
        with tempfile.TemporaryDirectory() as temporary:
            _copy(source, [scan.name.removesuffix("_0000.nii.gz") for scan in scans[:count]], Path(temporary))
            runs: dict[int, list[dict[str, Any]]] = {processes: [] for processes in arguments.processes}
            for _ in range(arguments.repeats):
                for processes in runs:  # in turn, so that a machine that slows down does so for all
                    runs[processes].append(_in_fresh_process(Path(temporary), processes))
                    shutil.rmtree(Path(temporary) / "raw")
        for processes, of_these in runs.items():
            row = {name: statistics.median(run[name] for run in of_these) for name in of_these[0]}
            rows.append({"volumes": count, "processes": processes, **row})
            print(
                f"{count:7d} {processes:10d} {row['wall_s']:8.1f} {row['registering_s']:14.1f} "
                f"{row['registering_again_s']:10.1f} {row['cpu_s']:8.1f} {row['wall_s'] / count:11.2f} "
                f"{row['peak_mb']:12.0f}"
            )
    print(json.dumps({"benchmark": "propagation_scaling", "set": name, "rows": rows, "machine": machine()}))


def measure(folder: Path, processes: int) -> dict[str, float]:
    """Make a dataset of the scans in a folder, and once more; wall and CPU seconds, and the largest process's memory.

    The second time the processes run already, as they do for every scan of a command but its first ones.
    """
    stages: dict[str, float] = {}

    def timed(*arguments: Any, description: str, **options: Any) -> Any:
        start = time.perf_counter()
        results = run_in_processes(*arguments, description=description, **options)
        stages[description] = time.perf_counter() - start
        return results

    dataset.run_in_processes = timed
    start, cpu = time.perf_counter(), _cpu_s()
    _make(folder, "Dataset001_Scaling", processes)
    found = {
        "wall_s": time.perf_counter() - start,
        "registering_s": stages["propagating slices, each both ways"],
        "cpu_s": _cpu_s() - cpu,
        "peak_mb": max(map(_peak_mb, _family())),
    }
    _make(folder, "Dataset002_Again", processes)
    return {**found, "registering_again_s": stages["propagating slices, each both ways"]}


def _make(folder: Path, name: str, processes: int) -> None:
    values = {int(value) for path in (folder / "labels").iterdir() for value in set(read_label(path).array.flat)}
    request = DatasetRequest(
        raw=folder / "raw",
        dataset=name,
        images=folder / "images",
        labels=folder / "labels",
        label_names=tuple(f"class_{value}" for value in range(1, max(values) + 1)),
        simulate="SCA",
        processes=processes,
    )
    dataset.make_dataset(request, embed=lambda _: None, warn=lambda _: None)


def _in_fresh_process(folder: Path, processes: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--data", str(folder), "--folder", str(folder), "-np", str(processes)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _copy(source: Path, cases: list[str], folder: Path) -> None:
    for part, ending in (("images", "_0000.nii.gz"), ("labels", ".nii.gz")):
        (folder / part).mkdir()
        for case in cases:
            shutil.copy(source / part / f"{case}{ending}", folder / part)


def _family() -> list[int]:
    """Return this process and its workers, which are kept for the next call."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    return [os.getpid(), *map(int, children)]


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of its living workers."""
    total = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    for child in _family()[1:]:
        fields = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _peak_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="densely labelled scans")
    parser.add_argument("--set", default="la_x3", metavar="NAME", help="which set of DIR (default la_x3)")
    parser.add_argument("--volumes", nargs="+", type=int, default=[1, 2, 4, 8], metavar="N", help="(default 1 2 4 8)")
    parser.add_argument("-np", dest="processes", nargs="+", type=int, default=[1, 2], help="(default 1 2)")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="runs; the median of each is given")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # what a fresh process is to work on
    return parser.parse_args()


if __name__ == "__main__":
    main()
