"""A report as a folder: what is in it, what is made again and what stays, what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.evaluation.evaluate import evaluate_pairs
from sparse_annotation_tools.files.label_maps import find_labels, find_pairs
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.report.page.report import ReportRequest, make_report


@pytest.fixture
def request_of_report(
    phantoms: Path,
    request_for: Callable[..., Any],
    make_quickly: Callable[..., Any],
    tmp_path: Path,
    nnunet_folders: Any,
) -> ReportRequest:
    """A report on phantoms with a prediction of the test phantom: its truth, moved."""
    make_quickly(request_for(phantoms))
    dataset = nnunet_folders.raw / "Dataset101_Phantom"
    truth = next((dataset / "labelsTs").iterdir())
    image = sitk.ReadImage(str(truth))
    moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image), 1, axis=2))
    moved.CopyInformation(image)
    (tmp_path / "predictions").mkdir()
    sitk.WriteImage(moved, str(tmp_path / "predictions" / truth.name))
    return ReportRequest(dataset=dataset, output=tmp_path / "report", predictions=tmp_path / "predictions")


def content_of(report: Path) -> dict[str, Any]:
    """Return what the page reads."""
    text = (report / "data" / "report.js").read_text()
    return json.loads(text.removeprefix("Rada.receiveReport(").rstrip().removesuffix(");"))


def test_a_report_holds_the_labelled_and_the_predicted_cases(request_of_report: ReportRequest) -> None:
    """Scans of which there is nothing to see have no page; every file that the page names is there."""
    summary = make_report(request_of_report)
    content = content_of(summary.page.parent)
    assert summary.cases == 4
    assert [case["role"] for case in content["cases"]] == ["labelled"] * 3 + ["test"]
    assert content["counts"] == {"labelled": 3, "unlabelled": 2, "test": 1, "slices": 9}
    for case in content["cases"]:
        folder = summary.page.parent / "cases" / case["folder"]
        names = {f"{layer['name']}.js" for layer in case["layers"]} | {each["file"] for each in case["thumbnails"]}
        assert names | {"case.json"} == {path.name for path in folder.iterdir()}
    page = summary.page.read_text()
    for name in re.findall(r'(?:src|href)="((?:assets|data)/[^"]+)"', page):
        assert (summary.page.parent / name).is_file(), name
    assert "//" not in "".join(re.findall(r'(?:src|href)="([^"]+)"', page))


def test_scores_are_those_of_the_evaluation(request_of_report: ReportRequest) -> None:
    """Measures, means and definitions are what rada-evaluate gives for the same folders."""
    content = content_of(make_report(request_of_report).page.parent)
    truth, predictions = request_of_report.dataset / "labelsTs", request_of_report.predictions
    assert predictions is not None
    expected = evaluate_pairs(find_pairs(truth, predictions)[0], find_labels(truth, predictions)).to_json()
    case = content["cases"][-1]
    assert case["metrics"] == expected["cases"][case["name"]]
    assert content["evaluation"] == {name: value for name, value in expected.items() if name != "cases"}


def test_the_same_inputs_give_the_same_files(
    request_of_report: ReportRequest, files_of: Callable[[Path], dict[str, bytes]], tmp_path: Path
) -> None:
    """A second run changes nothing and makes no case again; another folder gets the same bytes."""
    make_report(request_of_report)
    before, record = files_of(request_of_report.output), request_of_report.output / "cases"
    times = {path: path.stat().st_mtime_ns for path in record.rglob("*") if path.is_file()}
    make_report(request_of_report)
    assert files_of(request_of_report.output) == before
    assert {path: path.stat().st_mtime_ns for path in record.rglob("*") if path.is_file()} == times
    make_report(replace(request_of_report, output=tmp_path / "again", processes=2))
    again = files_of(tmp_path / "again")
    assert {name for name in before if again[name] != before[name]} <= {"data/report.js"}  # it names -o


def test_a_changed_prediction_makes_its_case_again(request_of_report: ReportRequest) -> None:
    """The case with a new prediction is made anew, an interrupted one too, the others stay; gone ones are removed."""
    make_report(request_of_report)
    cases = request_of_report.output / "cases"
    before = {path.name: (path / "case.json").stat().st_mtime_ns for path in cases.iterdir()}
    assert request_of_report.predictions is not None
    prediction = next(request_of_report.predictions.iterdir())
    image = sitk.ReadImage(str(prediction))
    sitk.WriteImage(image * 0, str(prediction))
    (cases / "phantom_labelled_00" / "fused.js").unlink()
    make_report(request_of_report)
    after = {path.name: (path / "case.json").stat().st_mtime_ns for path in cases.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"phantom_labelled_00", "phantom_test_00"}
    make_report(replace(request_of_report, predictions=None))
    assert {path.name for path in cases.iterdir()} == {name for name in before if "labelled" in name}


def test_what_a_killed_run_left_half_written_goes(request_of_report: ReportRequest) -> None:
    """Also where it was killed before its first file was whole: the folder is still taken for a new one."""
    leftovers = [request_of_report.output / name for name in ("assets/.partial-a.js", "cases/b/.partial-c.png")]
    for path in leftovers:
        path.parent.mkdir(parents=True)
        path.write_text("half")
    page = make_report(request_of_report).page
    assert page.is_file()
    assert not any(path.exists() for path in leftovers)


def test_what_is_missing_is_named_with_a_command(request_of_report: ReportRequest) -> None:
    """Without a training and without doubt the report says what to type; without predictions that comes first."""
    parts = [part["part"] for part in make_report(request_of_report).missing]
    assert parts == ["training", "disagreement"]
    summary = make_report(replace(request_of_report, predictions=None))
    assert [part["part"] for part in summary.missing] == ["training", "predictions"]
    assert all(part["command"].startswith(("nnUNetv2", "rada-")) for part in summary.missing)


def test_predictions_of_new_scans_are_shown_with_their_scans(request_of_report: ReportRequest, tmp_path: Path) -> None:
    """Scans that are not in the dataset come from their own folder; without it, the report says what to type."""
    dataset, predictions = request_of_report.dataset, request_of_report.predictions
    assert predictions is not None
    for part in ("imagesTs", "labelsTs"):
        (dataset / part).rename(tmp_path / part)
    without = make_report(request_of_report)
    assert without.cases == 3
    assert without.missing[-1]["command"].endswith(f"-pred {predictions} -i FOLDER_OF_THEIR_SCANS")
    given = replace(request_of_report, images=tmp_path / "imagesTs", truth=tmp_path / "labelsTs")
    summary = make_report(given)
    new = content_of(summary.page.parent)["cases"][-1]
    assert (new["role"], new["name"]) == ("new", "phantom_test_00")
    assert {layer["name"] for layer in new["layers"]} >= {"image", "prediction", "truth"}
    assert new["metrics"]
    assert f"-i {tmp_path / 'imagesTs'} -gt {tmp_path / 'labelsTs'}" in summary.missing[-1]["command"]


def test_a_folder_with_other_files_is_refused(request_of_report: ReportRequest) -> None:
    """Files of others are never mixed with a report's."""
    request_of_report.output.mkdir()
    (request_of_report.output / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="holds files but no report"):
        make_report(request_of_report)


def test_disagreement_of_networks_is_a_layer_and_a_thumbnail(request_of_report: ReportRequest, tmp_path: Path) -> None:
    """With predictions of several networks, their cases show where these disagree."""
    assert request_of_report.predictions is not None
    truth = request_of_report.dataset / "labelsTs"
    networks = (request_of_report.predictions, request_of_report.predictions, truth)
    content = content_of(make_report(replace(request_of_report, networks=networks)).page.parent)
    layers = {layer["name"]: layer["title"] for layer in content["cases"][-1]["layers"]}
    assert layers["disagreement"] == "Disagreement of the networks"
    assert any(each["has_doubt"] for each in content["cases"][-1]["thumbnails"])


def test_slices_are_counted_as_the_file_counts_them(
    request_for: Callable[..., Any], make_quickly: Callable[..., Any], tmp_path: Path, nnunet_folders: Any
) -> None:
    """However the array lies in the patient, the page knows the number of each drawn slice and where it shows it."""
    write_phantom_set(
        tmp_path / "turned", labelled=1, unlabelled=1, test=1, shape=(12, 16, 20), directions="permuted", classes=2
    )
    make_quickly(request_for(tmp_path / "turned"))
    dataset = nnunet_folders.raw / "Dataset101_Phantom"
    content = content_of(make_report(ReportRequest(dataset=dataset, output=tmp_path / "report")).page.parent)
    case = content["cases"][0]
    assert len(case["slices"]) == 3
    for drawn in case["slices"]:
        axis = case["axes"][drawn["axis"]]
        assert axis["view"] == drawn["view"]
        assert drawn["index"] == (axis["slices"] - 1 - drawn["upright"] if axis["flipped"] else drawn["upright"])


def test_thumbnails_are_to_scale(request_of_report: ReportRequest) -> None:
    """A thumbnail has the proportions of its slice in millimetres, as its record says, and shows colours."""
    report = make_report(request_of_report).page.parent
    case = content_of(report)["cases"][0]
    for each in case["thumbnails"]:
        with Image.open(report / "cases" / case["folder"] / each["file"]) as picture:
            assert picture.size == (each["width"], each["height"])
            assert max(picture.size) == 320
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.ptp(pixels, axis=2) > 40).any(), each["file"]
