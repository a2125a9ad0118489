"""What a dataset will be: every input looked at, alone and together, before a byte is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparse_annotation_tools.dataset.case_list import read_case_list
from sparse_annotation_tools.dataset.inspection import (
    InspectedCase,
    InspectedTestCase,
    LabelRules,
    inspect_test_case,
    inspect_training_case,
)
from sparse_annotation_tools.dataset.request import DatasetRequest, check_lies_elsewhere, check_request
from sparse_annotation_tools.dataset.sources import CaseFiles, check_distinct, labelled_cases, unlabelled_cases
from sparse_annotation_tools.dataset.versions import package_versions
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.parallel import call_ahead, run_in_processes
from sparse_annotation_tools.propagation.ants_library import load_ants
from sparse_annotation_tools.schema import CasesFile
from sparse_annotation_tools.slices.planes import read_planes_file
from sparse_annotation_tools.slices.selection import views_of_strategy

ANNOTATED = "annotated"  # the `strategy` of a dataset made from real annotations


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """A dataset that can be made as it was asked for.

    Attributes:
        request: what was asked for.
        cases: the training cases, as they were found.
        test: the test cases and the hashes of their files, by name.
        record: what `cases.json` will hold.
    """

    request: DatasetRequest
    cases: Sequence[InspectedCase]
    test: Mapping[CaseFiles, Mapping[str, str]]
    record: CasesFile


def plan_dataset(request: DatasetRequest, *, warn: Callable[[str], None]) -> DatasetPlan:
    """Look at every input; `warn` is called with one line for each thing that the user should know.

    Raises:
        UserError: the request or an input is unfit; of several unfit cases the first is named, the others counted.
    """
    check_request(request)
    inputs = _collect(request)
    with _ants_ahead(request, inputs):
        cases, tested = _inspect(request, inputs)
    inspected: list[InspectedCase | InspectedTestCase] = [*cases, *tested.values()]
    for message in [line for case in inspected for line in case.warnings]:
        warn(message)
    test = {name: case.hashes for name, case in tested.items()}
    _check_together(request, cases, test, warn)
    return DatasetPlan(
        request=request,
        cases=cases,
        test={files: test[files.case] for files in inputs.test},
        record=_record(request, cases, test),
    )


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """The input files by their part in the dataset."""

    labelled: list[CaseFiles]
    unlabelled: list[CaseFiles]
    test: list[CaseFiles]


def _ants_ahead(request: DatasetRequest, inputs: _Inputs) -> contextlib.AbstractContextManager[None]:
    """Let the processes load ANTs while this one looks at a single scan; of several, each process looks at some."""
    alone = len(inputs.labelled) + len(inputs.unlabelled) + len(inputs.test) == 1
    if alone and request.processes > 1:
        return call_ahead(load_ants, processes=request.processes)
    return contextlib.nullcontext()


def _collect(request: DatasetRequest) -> _Inputs:
    inputs = _Inputs(**read_case_list(request.cases)) if request.cases else _in_folders(request)
    cases = (*inputs.labelled, *inputs.unlabelled, *inputs.test)
    for path in (path for files in cases for path in (*files.images, files.label) if path is not None):
        # Single files of a list, or links in a folder; the folders themselves have been checked.
        check_lies_elsewhere(request, "--cases:" if request.cases else "input", path)
    counts = {len(files.images): files for files in cases}
    if len(counts) > 1:
        described = " and ".join(f"{count} ({files.case})" for count, files in sorted(counts.items()))
        raise UserError(f"cases have different numbers of image channels: {described}; give all cases the same")
    (channels,) = counts
    if not 0 <= request.registration_channel < channels:
        raise UserError(
            f"--registration-channel is {request.registration_channel}, but the images have 0 to {channels - 1}"
        )
    return inputs


def _in_folders(request: DatasetRequest) -> _Inputs:
    assert request.images is not None  # `check_request` has seen to it
    assert request.labels is not None
    labelled = labelled_cases(request.images, request.labels, options=("--images", "--labels"))
    unlabelled = unlabelled_cases(request.unlabelled, option="--unlabelled") if request.unlabelled else []
    test: list[CaseFiles] = []
    if request.test_images and request.test_labels:
        test = labelled_cases(request.test_images, request.test_labels, options=("--test-images", "--test-labels"))
    elif request.test_images:
        test = unlabelled_cases(request.test_images, option="--test-images")
    check_distinct({"--images": labelled, "--unlabelled": unlabelled, "--test-images": test})
    return _Inputs(labelled=labelled, unlabelled=unlabelled, test=test)


def _inspect(request: DatasetRequest, inputs: _Inputs) -> tuple[list[InspectedCase], dict[str, InspectedTestCase]]:
    planes = read_planes_file(request.planes_file) if request.planes_file else None
    strange = sorted((planes or {}).keys() - {files.case for files in inputs.labelled})
    if strange:
        raise UserError(f"--planes {request.planes_file} lists case {strange[0]}, which is not a labelled case")
    rules = LabelRules(
        reading=request.label_reading,
        views=views_of_strategy(request.simulate) if request.simulate is not None else None,
        not_annotated=request.not_annotated,
        planes=planes,
    )
    tasks: list[tuple[object, ...]] = [
        *((inspect_training_case, files, rules) for files in (*inputs.labelled, *inputs.unlabelled)),
        *((inspect_test_case, files, request.label_reading) for files in inputs.test),
    ]
    names = [files.case for files in (*inputs.labelled, *inputs.unlabelled, *inputs.test)]
    results = run_in_processes(_attempt, tasks, names=names, processes=request.processes, description="checking cases")
    errors = [result for result in results if isinstance(result, UserError)]
    if errors:
        more = f" (and {len(errors) - 1} more cases have errors)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}")
    trained = len(results) - len(inputs.test)
    return results[:trained], {files.case: found for files, found in zip(inputs.test, results[trained:], strict=True)}


def _attempt(function: Callable[..., Any], *arguments: object) -> Any:
    """Return a user's mistake instead of raising it, so that all cases are checked before the first is reported."""
    try:
        return function(*arguments)
    except UserError as error:
        return error


def _check_together(
    request: DatasetRequest,
    cases: Sequence[InspectedCase],
    test: Mapping[str, Mapping[str, str]],
    warn: Callable[[str], None],
) -> None:
    shown = {value for case in cases for annotated in case.record.slices for value in annotated.classes}
    for name, value in request.classes.items():
        if value not in shown:
            raise UserError(
                f"class {name} (value {value}) is on no annotated slice of any case; annotate one, "
                "or correct --label-names"
            )
    owner = {case.record.sha256["image_0000"]: case.files.case for case in cases}
    for name, hashes in test.items():
        if hashes["image_0000"] in owner:
            warn(f"test case {name} is the same image as training case {owner[hashes['image_0000']]}")
    if sum(case.record.labelled for case in cases) == 1:
        warn("there is one labelled case: it validates on itself, so validation says nothing about other scans")


def _record(request: DatasetRequest, cases: Iterable[InspectedCase], test: dict[str, dict[str, str]]) -> CasesFile:
    return CasesFile(
        dataset=request.dataset,
        modality=request.modality,
        classes=request.classes,
        merge={name: list(values) for name, values in request.merge.items()},
        strategy=request.simulate.upper() if request.simulate is not None else ANNOTATED,
        seed=request.seed,
        propagation={**request.propagation.to_json(), "channel": request.registration_channel},
        cases={case.files.case: case.record for case in sorted(cases, key=lambda case: case.files.case)},
        versions=package_versions(),
        command=request.command,
        test=test,
    )
