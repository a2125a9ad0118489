"""`rada-demo`: the whole job on generated phantom scans, through the stock nnU-Net commands, in minutes."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2_rada.device import CHOICES, pick_device
from nnunetv2_rada.stages import Console, Stage, run_command, run_stages
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.processes.progress import clock

DATASET_ID = 1
DATASET = f"Dataset{DATASET_ID:03d}_Phantom"
TRAINER = "nnUNetTrainerRADA"
CONFIGURATION = "3d_fullres"


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo makes and trains. A folder holds one demo with one set of settings."""

    labelled: int = 8
    """Phantoms with three annotated slices."""
    unlabelled: int = 12
    """Phantoms without any label."""
    test: int = 6
    """Phantoms to predict, with a dense truth."""
    shape: tuple[int, int, int] = (32, 32, 48)
    """Voxels along z, y, x."""
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 2.0)
    """Voxel size along z, y, x."""
    directions: str = "permuted"
    """How the stored arrays lie in the patient: here, array axes are not (axial, coronal, sagittal)."""
    class_names: tuple[str, ...] = ("lobed_organ",)
    """Organs to segment, in the order of `sparse_annotation_tools.phantom.CLASS_NAMES`."""
    base_filters: int = 8
    """Half the paper's network, for two cores."""
    num_iterations: int = 200
    """The paper trains 6000."""
    iterations_per_epoch: int = 20
    """A checkpoint is written after each."""
    stochastic_passes: int = 2
    """The paper takes 8."""
    seed: int = 0
    """Seed of phantoms, propagation and training."""

    def rada_config(self) -> dict[str, Any]:
        """Return the content of the RADA_CONFIG file."""
        return {
            "num_iterations": self.num_iterations,
            "iterations_per_epoch": self.iterations_per_epoch,
            "val_iterations_per_epoch": 2,
            "base_filters": self.base_filters,
            "stochastic_passes": self.stochastic_passes,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class DemoFolder:
    """Paths of one demo."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """The settings that the folder was made with; marks the folder as a demo's."""
        return self.root / "demo.json"

    @property
    def phantoms(self) -> Path:
        """The generated scans."""
        return self.root / "phantoms"

    @property
    def dataset(self) -> Path:
        """The raw dataset."""
        return self.root / "nnUNet_raw" / DATASET

    @property
    def fold(self) -> Path:
        """The training run."""
        return self.root / "nnUNet_results" / DATASET / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}" / "fold_all"

    @property
    def predictions(self) -> Path:
        """Predicted labels of the test phantoms."""
        return self.root / "predictions"

    @property
    def evaluation(self) -> Path:
        """Scores of the predictions."""
        return self.root / "evaluation.json"

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.root / "picture.png"

    def clear(self) -> None:
        """Delete what a demo writes, and nothing else; the mark of a demo goes last."""
        folders = ("phantoms", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "predictions", "stages", "logs")
        for name in folders:
            shutil.rmtree(self.root / name, ignore_errors=True)
        for file in (self.evaluation, self.picture, Path(self.environment()["RADA_CONFIG"]), self.settings_file):
            file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """Return the variables that keep everything inside this folder."""
        folders = {name: str(self.root / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        # Two cores. Threads that wait must not spin: on a shared machine that costs several times the work itself.
        threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
        processes = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2"}
        return {
            **folders,
            **threads,
            **processes,
            "nnUNet_compile": "f",
            "RADA_CONFIG": str(self.root / "rada_config.json"),
        }


@command("rada-demo")
def main(argv: Sequence[str] | None = None) -> None:
    """Make phantoms, annotate three slices of some, train, predict, evaluate, and show it."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    settings = DemoSettings()
    begin = time.monotonic()
    folder = open_folder(arguments.o, settings, overwrite=arguments.overwrite)
    console.line(f"Generated phantoms, not real scans. Everything is written to {folder.root}")
    seconds = run_stages(demo_stages(folder, settings, arguments.device, console), folder.root / "stages", console)
    console.line(_closing(folder, seconds, time.monotonic() - begin))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rada-demo",
        description="The whole job on generated phantom scans, through the stock nnU-Net commands, in a few minutes. "
        "Killed and started again, it goes on where it stopped.",
        epilog="example: rada-demo -o demo_output",
    )
    parser.add_argument("-o", type=Path, default=Path("demo_output"), metavar="DIR", help="output folder")
    parser.add_argument(
        "-device",
        choices=CHOICES,
        default="auto",
        help="auto (default): cuda where there is one",
    )
    parser.add_argument("--overwrite", action="store_true", help="start anew: delete what an earlier demo left in -o")
    return parser


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def open_folder(root: Path, settings: DemoSettings, *, overwrite: bool) -> DemoFolder:
    """Take a new or an earlier demo's folder.

    Raises:
        UserError: the folder holds something else, or a demo with other settings.
    """
    folder = DemoFolder(root=root.resolve())
    is_demo = folder.settings_file.exists()
    if folder.root.exists() and any(folder.root.iterdir()) and not is_demo:
        raise UserError(f"{folder.root} holds other files, expected a new folder or one of a demo; give another -o")
    if is_demo and overwrite:
        folder.clear()
        is_demo = False
    wanted = json.loads(json.dumps(asdict(settings)))
    if is_demo and _stored_settings(folder.settings_file) != wanted:
        raise UserError(f"{folder.root} holds a demo made with other settings; give --overwrite or another -o")
    write_json(folder.settings_file, wanted)
    write_json(Path(folder.environment()["RADA_CONFIG"]), settings.rada_config())
    return folder


def _stored_settings(path: Path) -> Any:
    try:
        return load_json(path)
    except ValueError:
        raise UserError(f"{path} is not valid JSON; give --overwrite, or another -o") from None


def demo_stages(folder: DemoFolder, settings: DemoSettings, device: str, console: Console) -> list[Stage]:
    """Return the stages of the demo, in order."""

    def external(name: str, *argv: str, summary: Callable[[str], str | None] = last_words) -> None:
        log = folder.root / "logs" / f"{name}.log"
        run_command(argv, log=log, environment=folder.environment(), console=console, summary=summary)

    def train() -> None:
        argv = ["nnUNetv2_train", f"{DATASET_ID}", CONFIGURATION, "all", "-tr", TRAINER, "-device", pick_device(device)]
        if any((folder.fold / f"checkpoint_{which}.pth").exists() for which in ("latest", "final")):
            argv.append("--c")
        external("train", *argv, summary=EpochSummary(settings.num_iterations // settings.iterations_per_epoch))

    def predict() -> None:
        external(
            "predict",
            *("nnUNetv2_predict", "-i", f"{folder.dataset / 'imagesTs'}", "-o", f"{folder.predictions}"),
            *("-d", f"{DATASET_ID}", "-c", CONFIGURATION, "-f", "all", "-tr", TRAINER),
            *("-device", pick_device(device), "-npp", "1", "-nps", "1"),
        )

    return [
        Stage(
            name="phantoms",
            title=f"generate {settings.labelled + settings.unlabelled + settings.test} phantom scans",
            run=partial(_make_phantoms, folder, settings),
        ),
        Stage(
            name="make_dataset",
            title=f"keep three slices of {settings.labelled} scans and propagate them: rada-make-sparse-dataset",
            run=partial(external, "make_dataset", *_make_dataset_command(folder, settings)),
        ),
        Stage(
            name="preprocess",
            title="plan and preprocess: nnUNetv2_plan_and_preprocess",
            run=partial(
                external,
                "preprocess",
                *("nnUNetv2_plan_and_preprocess", "-d", f"{DATASET_ID}", "-c", CONFIGURATION),
                *("-np", "1", "-npfp", "1", "--verify_dataset_integrity"),
            ),
        ),
        Stage(name="train", title=f"train: nnUNetv2_train ... -tr {TRAINER}", run=train),
        Stage(name="predict", title=f"predict {settings.test} unseen phantoms: nnUNetv2_predict", run=predict),
        Stage(
            name="evaluate",
            title="compare with the truth: rada-evaluate",
            run=partial(
                external,
                "evaluate",
                *("rada-evaluate", "-gt", f"{folder.dataset / 'labelsTs'}", "-pred", f"{folder.predictions}"),
                *("-o", f"{folder.evaluation}"),
            ),
        ),
        Stage(name="picture", title="draw the picture", run=partial(_draw_picture, folder)),
    ]


def _make_phantoms(folder: DemoFolder, settings: DemoSettings) -> None:
    from sparse_annotation_tools.phantom import write_phantom_set

    write_phantom_set(
        folder.phantoms,
        labelled=settings.labelled,
        unlabelled=settings.unlabelled,
        test=settings.test,
        shape=settings.shape,
        spacing_mm=settings.spacing_mm,
        directions=settings.directions,  # type: ignore[arg-type]
        classes=len(settings.class_names),
        seed=settings.seed,
    )


def _make_dataset_command(folder: DemoFolder, settings: DemoSettings) -> list[str]:
    phantoms = folder.phantoms
    return [
        *("rada-make-sparse-dataset", "-d", f"{DATASET_ID}", "-n", DATASET.partition("_")[2]),
        *("--images", f"{phantoms / 'labelled' / 'images'}", "--labels", f"{phantoms / 'labelled' / 'labels'}"),
        *("--simulate", "SCA", "--unlabelled", f"{phantoms / 'unlabelled' / 'images'}"),
        *("--test-images", f"{phantoms / 'test' / 'images'}", "--test-labels", f"{phantoms / 'test' / 'labels'}"),
        *("--label-names", *settings.class_names, "--modality", "MR", "--encoder", "alpha-clip-tiny"),
        *("-np", "2", "--seed", f"{settings.seed}"),
    ]


def _draw_picture(folder: DemoFolder) -> None:
    from sparse_annotation_tools.report.picture import dataset_picture

    dataset_picture(
        folder.dataset,
        folder.picture,
        predictions=folder.predictions,
        truth=folder.phantoms / "labelled" / "labels",  # for the Dice of propagated labels; training never reads it
    )


# --- what the reader sees -----------------------------------------------------------------------------------------


def last_words(line: str) -> str | None:
    """A command's latest line without time stamp; of progress what is done, None for decoration."""
    text = re.sub(r"^\d{4}-\d\d-\d\d[ T][\d:.]+:?\s*", "", line.strip())
    if bar := re.match(r"(?P<what>[^%]*?):?\s*\d+%\|[^|]*\| (?P<done>\d+/\d+)", text):
        return f"{bar['what']} {bar['done']}".strip()
    if line_of_progress := re.fullmatch(r"(?P<what>.*): (?P<done>\d+/\d+), [\d:]+( gone, about [\d:]+ left)?", text):
        return f"{line_of_progress['what']} {line_of_progress['done']}"
    return text if re.search(r"\w", text) else None


class EpochSummary:
    """Summarises nnU-Net's training log: the epoch, its loss, the time that is left."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._epoch: int | None = None
        self._loss = ""
        self._seconds = 0.0

    def __call__(self, line: str) -> str | None:
        """Take one line of the log; return the progress text when it changes."""
        text = last_words(line) or ""
        if match := re.match(r"Epoch (\d+)\s*$", text):
            self._epoch = int(match[1])
        elif match := re.match(r"train_loss (\S+)", text):
            self._loss = f", loss {match[1]}"
            return None
        elif match := re.match(r"Epoch time: ([\d.]+) s", text):
            self._seconds = float(match[1])
            return None
        elif self._epoch is not None and re.match(r"(predicting|Validation complete)", text):
            return f"validating: {text}"
        else:  # before the first epoch only counts, such as "side volumes 3/8", say anything
            return text if self._epoch is None and re.search(r"\d/\d+$", text) else None
        left = f", about {clock(self._seconds * (self._epochs - self._epoch))} left" if self._seconds else ""
        return f"epoch {self._epoch + 1} of {self._epochs}{self._loss}{left}"


def _closing(folder: DemoFolder, seconds: dict[str, float], this_run: float) -> str:
    content = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    parts = [
        "",
        dice_table(content),
        "",
        f"picture: {folder.picture}",
        f"curves:  {folder.fold / 'curves.png'}",
        "",
        "wall time: " + ", ".join(f"{name} {clock(value)}" for name, value in seconds.items()),
        f"all stages {clock(sum(seconds.values()))}, this run {clock(this_run)}",
        "",
        _NEXT,
    ]
    return "\n".join(parts)


def dice_table(evaluation: dict[str, Any]) -> str:
    """Return the Dice of every case and class, then mean and standard deviation, from rada-evaluate's JSON."""
    names = list(evaluation["mean"])
    width = max(len(case) for case in [*evaluation["cases"], "mean"])

    def row(title: str, scores: dict[str, dict[str, float | None]]) -> str:
        values = [scores[name]["dice"] for name in names]
        numbers = [
            f"{'-' if value is None else format(value, '.3f'):>{len(name)}}"
            for name, value in zip(names, values, strict=True)
        ]
        return f"{title:{width}}  {'  '.join(numbers)}"

    head = f"{'Dice':{width}}  {'  '.join(names)}"
    rows = [row(case, scores) for case, scores in evaluation["cases"].items()]
    return "\n".join([head, *rows, row("mean", evaluation["mean"]), row("sd", evaluation["sd"])])


_NEXT = """\
next: your own scans, with one to any number of slices painted per scan (images CASE_0000.nii.gz, labels CASE.nii.gz):
  rada-make-sparse-dataset -d 101 -n MyOrgan --images DIR --labels DIR --unlabelled DIR --label-names my_organ
  nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres --verify_dataset_integrity
  nnUNetv2_train 101 3d_fullres all -tr nnUNetTrainerRADA
  nnUNetv2_predict -i DIR -o predictions -d 101 -c 3d_fullres -f all -tr nnUNetTrainerRADA"""


if __name__ == "__main__":
    raise SystemExit(main())
