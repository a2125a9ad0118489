"""The long commands, on small generated scans, as `kill_commands.py` kills them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPE = (16, 18, 20)
TRAINING = {
    "num_iterations": 8, "iterations_per_epoch": 4, "val_iterations_per_epoch": 1, "base_filters": 4,
    "stochastic_passes": 2, "max_patch_voxels": 16 * 16 * 16, "batch_labelled": 2, "batch_unlabelled": 2,
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
