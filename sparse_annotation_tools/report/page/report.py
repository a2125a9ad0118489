"""Make a report: one page that opens from disk without a network, and the files that it loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.evaluation.evaluate import Evaluation
from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind
from sparse_annotation_tools.files.atomic import atomic_path, clear_leftovers, is_leftover, write_text
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.prompts.encoders import RANDOM_STAMP
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.report.case_volumes import RawDataset
from sparse_annotation_tools.report.page.case_files import CaseTask, make_case, read_record, result_from_json
from sparse_annotation_tools.report.page.layers import MOST_VOXELS
from sparse_annotation_tools.report.page.left_out import left_out
from sparse_annotation_tools.report.page.panels import DOUBT_COLOUR
from sparse_annotation_tools.report.page.training import Training, read_training
from sparse_annotation_tools.report.palette import OKABE_ITO, class_colour
from sparse_annotation_tools.suggestion.doubt import predicted_cases

PAGE = "index.html"
_SCRIPTS = ("dom.js", "charts.js", "table.js", "overview.js", "viewer.js", "case.js", "app.js")
_ASSETS = ("style.css", *_SCRIPTS)
_VENDORED = ("niivue.umd.js", "LICENSE")
_NETWORK_DOUBT = "Disagreement of the networks"
_OWN_DOUBT = "Doubt of the prediction (1 - largest probability)"


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """What to report on.

    Attributes:
        dataset: raw dataset folder, made by rada-make-sparse-dataset.
        output: folder to write.
        trainer, plans, configuration: as nnU-Net's commands take them.
        results: nnU-Net's folder of results; None where it is not set.
        predictions: folder of predicted labels, or None.
        images: folder of the predicted scans that are not in the dataset, or None.
        truth: folder of dense labels besides labelsTs, or None.
        networks: folders of predictions, one a network, see `doubt.predicted_cases`.
        processes: how many to run.
    """

    dataset: Path
    output: Path
    trainer: str = "nnUNetTrainerRADA"
    plans: str = "nnUNetPlans"
    configuration: str = "3d_fullres"
    results: Path | None = None
    predictions: Path | None = None
    images: Path | None = None
    truth: Path | None = None
    networks: tuple[Path, ...] = ()
    processes: int = 1

    @property
    def dataset_id(self) -> str:
        """The number that nnU-Net's commands take, or the whole name."""
        number = self.dataset.name[7:10]
        return str(int(number)) if number.isdecimal() else self.dataset.name

    @property
    def model_folder(self) -> Path | None:
        """Where nnU-Net keeps the training."""
        if self.results is None:
            return None
        return self.results / self.dataset.name / f"{self.trainer}__{self.plans}__{self.configuration}"


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """What was made: the page, how many cases have one of their own, and what is missing."""

    page: Path
    cases: int
    missing: list[dict[str, str]]


def make_report(request: ReportRequest) -> ReportSummary:
    """Write the report; what is there and was made of the same inputs stays.

    Made twice of the same inputs, all its files are the same. A killed run goes on where it stopped.

    Raises:
        UserError: the output folder holds something else, or a file cannot be read or does not fit its image.
    """
    raw = RawDataset(request.dataset)
    _check_output(request.output)
    tasks = case_tasks(request, raw)
    _write_assets(request.output)
    run_in_processes(
        make_case,
        [(task,) for task in tasks],
        names=[task.case for task in tasks],
        processes=request.processes,
        description="making the cases",
    )
    _remove_other_cases(request.output / "cases", {task.folder.name for task in tasks})
    data = _page_data(request, raw, tasks)
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    write_text(request.output / "data" / "report.js", f"Rada.receiveReport({text});\n")
    _copy(files(__package__) / "static" / PAGE, request.output / PAGE)
    clear_leftovers(request.output)
    return ReportSummary(page=request.output / PAGE, cases=len(tasks), missing=data["missing"])


def case_tasks(request: ReportRequest, raw: RawDataset) -> list[CaseTask]:
    """Return the cases that there is something to see of: the labelled ones, and those with a prediction.

    Predictions of scans that are neither in the dataset nor in `request.images` are left out, as there is no image to
    show them on.
    """
    predicted = _cases_of(request.predictions, raw.ending)
    doubtful = set(predicted_cases(request.networks)) if request.networks else _with_probabilities(request.predictions)
    true = _cases_of(request.truth, raw.ending)
    test_truth = _cases_of(raw.folder / "labelsTs", raw.ending)
    roles = dict.fromkeys(_scans_of(request.images, raw.ending), "new")
    roles |= dict.fromkeys(_scans_of(raw.folder / "imagesTs", raw.ending), "test")
    roles |= {name: "labelled" if case.labelled else "unlabelled" for name, case in raw.cases.cases.items()}
    tasks = []
    for name, role in sorted(roles.items()):
        has_prediction = name in predicted
        if role != "labelled" and not has_prediction:
            continue
        truth = request.truth if name in true else None
        if truth is None and role == "test" and name in test_truth:
            truth = raw.folder / "labelsTs"
        has_doubt = has_prediction and name in doubtful
        sources = request.networks or (() if request.predictions is None else (request.predictions,))
        tasks.append(
            CaseTask(
                dataset=raw.folder,
                case=name,
                role=role,
                output=request.output / "cases",
                images=request.images if role == "new" else None,
                predictions=request.predictions if has_prediction else None,
                truth=truth,
                doubt=sources if has_doubt else (),
                doubt_title=_NETWORK_DOUBT if request.networks else _OWN_DOUBT,
            )
        )
    return tasks


def _cases_of(folder: Path | None, ending: str) -> set[str]:
    if folder is None or not folder.is_dir():
        return set()
    return {path.name.removesuffix(ending) for path in folder.iterdir() if path.name.endswith(ending)}


def _scans_of(folder: Path | None, ending: str) -> set[str]:
    return {name.removesuffix("_0000") for name in _cases_of(folder, ending) if name.endswith("_0000")}


def _with_probabilities(folder: Path | None) -> set[str]:
    if folder is None:
        return set()
    return {case for case in find_label_maps(folder) if (folder / f"{case}.npz").is_file()}


# --- the folder ---------------------------------------------------------------------------------------------------


def _check_output(output: Path) -> None:
    """Refuse to mix a report with other files, which it might replace; a run killed at once left but a leftover."""
    others = (path for path in output.rglob("*") if not path.is_dir() and not is_leftover(path))
    if any(others) and not (output / "assets" / _SCRIPTS[-1]).is_file():
        raise UserError(f"-o {output} holds files but no report; give a new folder or an earlier report's")


def _write_assets(output: Path) -> None:
    static = files(__package__) / "static"
    vendored = files(__package__.rpartition(".")[0]) / "vendor" / "niivue"
    _copy(static / _SCRIPTS[-1], output / "assets" / _SCRIPTS[-1])  # the mark of a report goes first
    for name in _ASSETS:
        _copy(static / name, output / "assets" / name)
    for name in _VENDORED:
        _copy(vendored / name, output / "assets" / "niivue" / name)


def _copy(source: Any, target: Path) -> None:
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def _remove_other_cases(folder: Path, kept: set[str]) -> None:
    """Remove the cases of an earlier report that are not in this one."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in kept and read_record(path) is not None:
            shutil.rmtree(path)


# --- the data of the page -----------------------------------------------------------------------------------------


def _page_data(request: ReportRequest, raw: RawDataset, tasks: list[CaseTask]) -> dict[str, Any]:
    records = [_record(task) for task in tasks]
    results = {task.case: record["result"] for task, record in zip(tasks, records, strict=True) if record["result"]}
    model_folder = request.model_folder
    training = None if model_folder is None else read_training(model_folder, request.configuration)
    cases = raw.cases
    test = _scans_of(raw.folder / "imagesTs", raw.ending)
    slices = [drawn for case in cases.cases.values() for drawn in case.slices]
    return {
        "dataset": raw.folder.name,
        "modality": cases.modality,
        "classes": [
            {"name": name, "value": value, "colour": class_colour(value)}
            for name, value in sorted(raw.classes.items(), key=lambda item: item[1])
        ],
        "counts": {
            "labelled": len(cases.labelled),
            "unlabelled": len(cases.unlabelled),
            "test": len(test),
            "slices": len(slices),
        },
        "slices_by_view": {
            view: sum(drawn.view == view for drawn in slices) for view in ("sagittal", "coronal", "axial")
        },
        "made_by": {
            "strategy": cases.strategy,
            "seed": cases.seed,
            "command": cases.command,
            "propagation": cases.propagation,
            "versions": cases.versions,
        },
        "encoder": _encoder(raw, training, request.predictions),
        "training": None if training is None else training.to_json(),
        "evaluation": _evaluation(raw, results) if results else None,
        "cases": [record["content"] for record in records],
        "missing": left_out(request, raw, tasks, training, has_results=bool(results)),
        "most_voxels": MOST_VOXELS,
        "palette": list(OKABE_ITO),
        "doubt_colour": DOUBT_COLOUR,
    }


def _record(task: CaseTask) -> dict[str, Any]:
    record = read_record(task.folder)
    if record is None:
        raise UserError(f"{task.folder} vanished while the report was made; run the same command again")
    return record


def _evaluation(raw: RawDataset, results: dict[str, Any]) -> dict[str, Any]:
    """The summary of rada-evaluate's result file; the measures of each case lie with the case."""
    evaluation = Evaluation(
        classes=dict(sorted(raw.classes.items(), key=lambda item: item[1])),
        results={case: result_from_json(result) for case, result in results.items()},
    )
    return {name: value for name, value in evaluation.to_json().items() if name != "cases"}


def _encoder(raw: RawDataset, training: Training | None, predictions: Path | None) -> dict[str, str]:
    """What made the embeddings of the training, else of the dataset, and what that means."""
    name = training.encoder if training else None
    if name is None and raw.rada.prompts_file.is_file():
        store = PromptStore.load(raw.rada.prompts_file)
        name = store.stamp or store.encoder
    kind = "none" if name in (None, "none") else "weights"
    if name == RANDOM_STAMP:
        kind = "random"
    elif name is not None and "alpha-clip-tiny" in name:
        kind = "tiny"
    behind = embeddings_behind(predictions) if predictions is not None else None
    return {"name": name or "none", "kind": kind, "predictions": behind or ""}
