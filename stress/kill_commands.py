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
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHAPE = (16, 18, 20)
MOST_WAIT_S = 30.0  # for the workers of a killed command to end
MARK = "RADA_KILL_CAMPAIGN"  # in the environment of all processes of a run
TRAINING = {
    "num_iterations": 8, "iterations_per_epoch": 4, "val_iterations_per_epoch": 1, "base_filters": 4,
    "stochastic_passes": 2, "max_patch_voxels": 16 * 16 * 16, "batch_labelled": 1, "batch_unlabelled": 1,
    "mirror_axes": [], "checkpoint_minutes": 1e-4,
}  # fmt: skip

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Command:
    """A command to be killed.

    Attributes:
        words: its command line.
        variables: of its environment.
        begin: puts everything into the state before the first start.
        result: what it left, by name.
        again: words to add when it is started again.
    """

    words: list[str]
    variables: Mapping[str, str]
    begin: Callable[[], None]
    result: Callable[[], Result]
    again: tuple[str, ...] = ()


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
    _start(command, log, mark="undisturbed", first=True).wait()
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


# ---- the commands ---------------------------------------------------------------------------------------------------


def commands(work: Path) -> dict[str, Callable[[], Command]]:
    """Return what makes each command ready, by name."""
    return {
        "suggest": lambda: suggest(work),
        "report": lambda: report(work),
        "embed": lambda: embed(work),
        "make -np 1": lambda: make(work, processes=1),
        "make -np 2": lambda: make(work, processes=2),
        "train": lambda: train(work),
        "heatmap": lambda: heatmap(work),
        "networks": lambda: networks(work),
        "compare": lambda: compare(work),
        "demo": lambda: demo(work),
    }


def make(work: Path, processes: int) -> Command:
    """rada-make-sparse-dataset of two labelled, one unlabelled and one test scan."""
    scans, raw = _scans(work), work / f"raw_{processes}"
    words = [
        "rada-make-sparse-dataset", "-d", "7", "-n", "Killed", "--images", f"{scans}/labelled/images", "--labels",
        f"{scans}/labelled/labels", "--unlabelled", f"{scans}/unlabelled/images", "--test-images",
        f"{scans}/test/images", "--test-labels", f"{scans}/test/labels", "--simulate", "SCA", "--label-names", "organ",
        "--encoder", "random", "--encoder-seed", "0", "-np", str(processes),
    ]  # fmt: skip
    return Command(words, {"nnUNet_raw": str(raw)}, lambda: _empty(raw), lambda: _bytes(raw))


def embed(work: Path) -> Command:
    """rada-embed with the encoder that is part of the package, over embeddings of another one."""
    made = _made(work)
    raw = work / "raw_embed"

    def begin() -> None:
        shutil.rmtree(raw, ignore_errors=True)
        shutil.copytree(made, raw)

    words = ["rada-embed", "-d", "7", "--encoder", "alpha-clip-tiny"]
    cache = {"XDG_CACHE_HOME": str(raw / "cache"), "HOME": str(raw)}
    return Command(words, {"nnUNet_raw": str(raw), **cache}, begin, lambda: _bytes(raw / "Dataset007_Killed"))


def suggest(work: Path) -> Command:
    """rada-suggest-slices: records, label maps, pictures and the list of planes of four scans."""
    scans, output = _scans(work), work / "suggested"
    words = ["rada-suggest-slices", "-i", f"{scans}/suggest", "-o", str(output), "-np", "2"]
    return Command(words, {}, lambda: _empty(output), lambda: _bytes(output))


def report(work: Path) -> Command:
    """rada-report of the dataset and of a prediction, the truth of the test scan; there is no training to show."""
    raw, output = _made(work), work / "report"
    words = ["rada-report", "-d", "7", "-o", str(output), "-pred", f"{_scans(work)}/test/labels", "-np", "2"]
    variables = {"nnUNet_raw": str(raw), "nnUNet_results": str(work / "no_results")}
    return Command(words, variables, lambda: _empty(output), lambda: _bytes(output))


def train(work: Path) -> Command:
    """nnUNetv2_train, gone on with by --c; two epochs and the validation after them."""
    variables = _preprocessed(work)
    results = Path(variables["nnUNet_results"])
    words = ["nnUNetv2_train", "7", "3d_fullres", "0", "-tr", "nnUNetTrainerRADA", "-device", "cpu"]
    return Command(words, variables, lambda: _empty(results), lambda: _training(results), again=("--c",))


def heatmap(work: Path) -> Command:
    """rada-heatmap of the trained model and the test scan."""
    output, images = work / "heat", f"{_scans(work)}/test/images"
    words = [
        "rada-heatmap", "-d", "7", "-f", "0", "-i", images, "--case", "phantom_test_00", "--class", "organ",
        "-o", str(output), "-device", "cpu",
    ]  # fmt: skip
    return Command(words, _trained(work), lambda: _empty(output), lambda: _bytes(output))


def networks(work: Path) -> Command:
    """rada-predict-networks of the trained model and the test scan, with a process for each part of the work."""
    output, images = work / "networks", f"{_scans(work)}/test/images"
    words = [
        "rada-predict-networks", "-d", "7", "-f", "0", "-i", images, "-o", str(output), "-npp", "1", "-nps", "1",
        "-device", "cpu", "--disable_tta",
    ]  # fmt: skip
    return Command(words, _trained(work), lambda: _empty(output), lambda: _bytes(output))


def compare(work: Path) -> Command:
    """rada-compare of two rows: trainings, predictions of the test scan, scores and pictures."""
    output = work / "compared"
    words = [
        "rada-compare", "-d", "7", "--table", "I", "--methods", "Supervised", "MT", "--seeds", "1", "--settings",
        f"{work}/config.json", "-device", "cpu", "--yes", "-o", f"{output}",
    ]  # fmt: skip
    variables = {**_preprocessed(work), "nnUNet_results": "", "RADA_CONFIG": ""}

    def result() -> Result:
        scores = {path.parent.name: path.read_text() for path in output.glob("runs/*/scores.json")}
        return {**_training(output), **scores}

    return Command(words, variables, lambda: _empty(output), result)


def demo(work: Path) -> Command:
    """rada-demo with fewer scans and iterations."""
    output = work / "demo"
    settings = {"labelled": 2, "unlabelled": 1, "test": 1, "base_filters": 4, "num_iterations": 8}
    settings |= {"iterations_per_epoch": 4, "shape": (16, 24, 24)}
    program = (
        "from functools import partial; from nnunetv2_rada import demo; "
        f"demo.DemoSettings = partial(demo.DemoSettings, **{settings}); demo.main({['-o', str(output)]})"
    )

    def result() -> Result:
        raw = {f"raw {name}": content for name, content in _bytes(output / "nnUNet_raw").items()}
        return {**raw, **_training(output), "picture": _bytes(output).get("picture.png")}

    return Command(["python", "-c", program], {}, lambda: _empty(output), result)


def _training(results: Path) -> Result:
    """Return, of all trainings in a folder, a hash of each weight, the losses, and the bytes of the predictions."""
    import torch

    found: dict[str, Any] = {}
    for path in sorted(results.rglob("checkpoint_final.pth")):
        of = path.parent.relative_to(results)
        content = torch.load(path, weights_only=False)
        for name, weight in content["network_weights"].items():
            found[f"{of} weight {name}"] = hashlib.sha256(weight.numpy().tobytes()).hexdigest()
        curves = {name: values for name, values in content["logging"].items() if "loss" in name or "dice" in name}
        found.update({f"{of} curve {name}": repr(values) for name, values in curves.items()})
    predicted = [path for kind in ("validation", "predictions") for path in results.rglob(f"{kind}/*.nii.gz")]
    return found | {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in predicted}


def _scans(work: Path) -> Path:
    from sparse_annotation_tools.phantom import write_phantom_set

    scans = work / "scans"
    if not scans.is_dir():
        write_phantom_set(scans, labelled=2, unlabelled=1, test=1, shape=SHAPE, spacing_mm=(3.0, 3.0, 3.0))
        (scans / "suggest").mkdir()
        for path in scans.glob("*/images/*.nii.gz"):
            shutil.copy(path, scans / "suggest")
    return scans


def _made(work: Path) -> Path:
    """Return nnUNet_raw with the dataset, made once."""
    raw = work / "raw_1"
    if not (raw / "Dataset007_Killed" / "rada" / "prompts.safetensors").is_file():
        command = make(work, processes=1)
        command.begin()
        _run(command.words, command.variables)
    return raw


def _nnunet(work: Path) -> Mapping[str, str]:
    """Return the environment of a training on the dataset."""
    (work / "config.json").write_text(json.dumps(TRAINING))
    return {
        "nnUNet_raw": str(_made(work)), "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"), "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f", "RADA_CONFIG": str(work / "config.json"),
    }  # fmt: skip


def _preprocessed(work: Path) -> Mapping[str, str]:
    """Return the environment of a training on the dataset, which is planned and preprocessed."""
    variables = _nnunet(work)
    if not (Path(variables["nnUNet_preprocessed"]) / "Dataset007_Killed" / "nnUNetPlans.json").is_file():
        _run(["nnUNetv2_plan_and_preprocess", "-d", "7", "-c", "3d_fullres", "-np", "1", "-npfp", "1"], variables)
    return variables


def _trained(work: Path) -> Mapping[str, str]:
    """Return the environment of a training that has come to its end."""
    variables = _nnunet(work)
    if not any(Path(variables["nnUNet_results"]).rglob("checkpoint_final.pth")):
        command = train(work)
        command.begin()
        _run(command.words, command.variables)
    return variables


def _run(words: list[str], variables: Mapping[str, str]) -> None:
    script = str(Path(sysconfig.get_path("scripts")) / words[0])
    done = subprocess.run([script, *words[1:]], env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr[-2000:]}")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _bytes(folder: Path) -> Result:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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
