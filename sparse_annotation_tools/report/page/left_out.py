"""What a report leaves out for want of input, and what to type to have it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from sparse_annotation_tools.report.case_volumes import RawDataset
from sparse_annotation_tools.report.page.case_files import CaseTask
from sparse_annotation_tools.report.page.training import Training

if TYPE_CHECKING:
    from sparse_annotation_tools.report.page.report import ReportRequest


def left_out(
    request: ReportRequest, raw: RawDataset, tasks: list[CaseTask], training: Training | None, *, has_results: bool
) -> list[dict[str, str]]:
    """Return one sentence for each part that is left out, and what to type to have it.

    Args:
        request: what was asked for; the commands repeat it.
        raw: the dataset.
        tasks: the cases of the report.
        training: what was found of a training, or None.
        has_results: whether any prediction could be measured.

    Returns:
        `part`, `text` and `command` of each, in the order in which they are made.
    """
    dataset, found = request.dataset_id, []
    report = f"rada-report -d {dataset} -o {shlex.quote(str(request.output))}"
    if request.trainer != type(request).trainer:
        report += f" -tr {request.trainer}"
    scans, further = _scans_to_predict(request, raw)
    truth = "" if request.truth is None else f" -gt {shlex.quote(str(request.truth))}"
    predictions = shlex.quote(str(request.predictions))
    options = f"-d {dataset} -c {request.configuration} -f all -tr {request.trainer}"
    if training is None:
        text = f"No training of {request.trainer} was found" + (
            "." if request.results else ": nnUNet_results is not set."
        )
        command = f"nnUNetv2_train {dataset} {request.configuration} all -tr {request.trainer}"
        found.append({"part": "training", "text": text, "command": command})
    elif not training.folds:
        text = f"{request.trainer} has written no curves (curves.json) yet; trainers of nnU-Net itself write none."
        command = f"nnUNetv2_train {dataset} {request.configuration} all -tr {request.trainer} --c"
        found.append({"part": "training", "text": text, "command": command})
    has_predictions = any(task.predictions for task in tasks)
    if not has_predictions:
        if request.predictions:
            text = f"{request.predictions} holds no prediction of a scan in this dataset or in -i."
            command = f"{report} -pred {predictions}{truth} -i FOLDER_OF_THEIR_SCANS"
        else:
            text = "No predictions were given."
            command = f"nnUNetv2_predict -i {scans} -o predictions {options} "
            command += f"&& {report} -pred predictions{further}{truth}"
        found.append({"part": "predictions", "text": text, "command": command})
    elif not has_results:
        text = "No truth is known for any predicted scan, so there are no measures."
        command = f"{report} -pred {predictions}{further} -gt FOLDER_OF_DENSE_LABELS"
        found.append({"part": "truth", "text": text, "command": command})
    if has_predictions and not any(task.doubt for task in tasks):
        text = "Nothing says where the prediction is in doubt, or where the three networks disagree."
        command = f"rada-predict-networks -i {scans} -o networks {options} && "
        command += f"{report} -pred {predictions}{further}{truth} --networks networks/*/"
        found.append({"part": "disagreement", "text": text, "command": command})
    return found


def _scans_to_predict(request: ReportRequest, raw: RawDataset) -> tuple[str, str]:
    """Which folder a command should predict, and what names it for a report: nothing for the dataset's test scans."""
    if request.images is None and (raw.folder / "imagesTs").is_dir():
        return shlex.quote(str(raw.folder / "imagesTs")), ""
    scans = "FOLDER_OF_SCANS" if request.images is None else shlex.quote(str(request.images))
    return scans, f" -i {scans}"
