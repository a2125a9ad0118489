"""From images and annotated slices to a raw dataset that stock nnU-Net accepts, with a `rada/` folder for training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.atomic import write_json
from sparse_annotation_tools.case_list import read_case_list
from sparse_annotation_tools.dataset_files import (
    expected_files,
    write_dataset_json,
    write_rada_records,
    write_test_case,
    write_training_case,
)
from sparse_annotation_tools.dataset_state import DatasetState
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.fingerprint import FILE_NAME as FINGERPRINT
from sparse_annotation_tools.fingerprint import make_fingerprint
from sparse_annotation_tools.inspection import InspectedCase, LabelRules, inspect_test_case, inspect_training_case
from sparse_annotation_tools.lock import only_writer
from sparse_annotation_tools.parallel import import_ahead, run_in_processes
from sparse_annotation_tools.planes import Plane, read_planes_file
from sparse_annotation_tools.propagation import PropagationSettings, propagate
from sparse_annotation_tools.request import MODALITIES, DatasetRequest, check_lies_elsewhere, check_request
from sparse_annotation_tools.schema import CasesFile
from sparse_annotation_tools.selection import views_of_strategy
from sparse_annotation_tools.sources import CaseFiles, check_distinct, labelled_cases, unlabelled_cases
from sparse_annotation_tools.versions import package_versions
from sparse_annotation_tools.volumes import read_volume, write_label

ANNOTATED = "annotated"  # the `strategy` of a dataset made from real annotations

Propagate = Callable[..., NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The input files by their part in the dataset."""

    labelled: list[CaseFiles]
    unlabelled: list[CaseFiles]
    test: list[CaseFiles]


def make_dataset(
    request: DatasetRequest,
    *,
    embed: Callable[[Path], None],
    warn: Callable[[str], None],
    propagate: Propagate = propagate,
) -> CasesFile:
    """Make the raw dataset; go on where a killed run of the same request stopped.

    Args:
        request: what to make.
        embed: writes the embeddings into the dataset's folder, called when everything else is in place.
        warn: called with one line for each thing that the user should know.
        propagate: carries one slice's label through its volume, as `propagation.propagate`.

    Returns:
        The content of `cases.json`.

    Raises:
        UserError: the request or an input is unfit, or another run makes this dataset; nothing has been written then.
    """
    check_request(request)
    inputs = _collect(request)
    with _ants_ahead(request, inputs):
        return _make(request, inputs, embed, warn, propagate)


def _ants_ahead(request: DatasetRequest, inputs: Inputs) -> contextlib.AbstractContextManager[None]:
    """Let the processes load ANTs while this one looks at a single scan; of several, each process looks at some."""
    alone = len(inputs.labelled) + len(inputs.unlabelled) + len(inputs.test) == 1
    if alone and request.processes > 1:
        return import_ahead("ants", processes=request.processes)
    return contextlib.nullcontext()


def _make(
    request: DatasetRequest,
    inputs: Inputs,
    embed: Callable[[Path], None],
    warn: Callable[[str], None],
    propagate: Propagate,
) -> CasesFile:
    cases, test = _inspect(request, inputs)
    for message in [line for case in cases for line in case.warnings]:
        warn(message)
    _check_together(request, cases, test, warn)
    plan = _plan(request, cases, test)
    with only_writer(request.folder):
        return _write(request, plan, cases, {files: test[files.case] for files in inputs.test}, embed, warn, propagate)


def _write(
    request: DatasetRequest,
    plan: CasesFile,
    cases: Sequence[InspectedCase],
    test: Mapping[CaseFiles, Any],
    embed: Callable[[Path], None],
    warn: Callable[[str], None],
    propagate: Propagate,
) -> CasesFile:
    state = DatasetState(folder=request.folder)
    if not state.open(plan, overwrite=request.overwrite, update=request.update):
        if all(path.is_file() for path in expected_files(request.folder, plan)):
            warn(f"{request.dataset} is complete already; only the embeddings are made again")
            if request.modality == "CT":
                _write_fingerprint(request, cases)
            embed(request.folder)
            return CasesFile.load(state.rada)
        state.begin(plan)
    propagated = {case.files.case: _propagated_files(request, state, case, plan) for case in cases}
    _propagate_slices(request, state, cases, propagated, propagate)
    _write_cases(request, state, cases, propagated, test)
    write_dataset_json(request.folder, plan, MODALITIES[request.modality])
    _write_fingerprint(request, cases)
    write_rada_records(request.folder, plan)
    embed(request.folder)
    state.close(path for halves in propagated.values() for paths in halves for path in paths)
    return plan


def _collect(request: DatasetRequest) -> Inputs:
    inputs = Inputs(**read_case_list(request.cases)) if request.cases else _in_folders(request)
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


def _in_folders(request: DatasetRequest) -> Inputs:
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
    return Inputs(labelled=labelled, unlabelled=unlabelled, test=test)


def _inspect(request: DatasetRequest, inputs: Inputs) -> tuple[list[InspectedCase], dict[str, dict[str, str]]]:
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
    return results[:trained], {files.case: hashes for files, hashes in zip(inputs.test, results[trained:], strict=True)}


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


def _plan(request: DatasetRequest, cases: Iterable[InspectedCase], test: dict[str, dict[str, str]]) -> CasesFile:
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


def _propagate_slices(
    request: DatasetRequest,
    state: DatasetState,
    cases: Sequence[InspectedCase],
    propagated: Mapping[str, Sequence[tuple[Path, Path]]],
    propagate: Propagate,
) -> None:
    """Propagate what is not there yet: a task for each direction of each slice, so that one scan occupies six cores."""
    tasks: list[tuple[object, ...]] = []
    names: list[str] = []
    for case in cases:
        if case.annotation is None or state.is_done(case.files.case, asdict(case.record)):
            continue
        image = case.files.images[request.registration_channel]
        for k, paths in enumerate(propagated[case.files.case]):
            plane, drawn = case.annotation.planes[k], case.annotation.drawn[k]
            for upwards, path in enumerate(paths):
                if not path.is_file():
                    arguments = (path, image, plane, drawn, bool(upwards))
                    tasks.append((*arguments, request.propagation, request.seed, propagate))
                    annotated = case.record.slices[k]
                    names.append(f"{case.files.case} ({annotated.view} {annotated.index})")
    run_in_processes(_propagate_half, tasks, names=names, processes=request.processes, description="propagating slices")


def _propagated_files(
    request: DatasetRequest, state: DatasetState, case: InspectedCase, plan: CasesFile
) -> list[tuple[Path, Path]]:
    """Return where the label propagated from each annotated slice is kept, below and above it."""
    if case.annotation is None:
        return []
    image_sha256 = case.record.sha256[f"image_{request.registration_channel:04d}"]
    slices = zip(case.annotation.planes, case.annotation.drawn, strict=True)
    return [state.propagated(image_sha256, plane, drawn, plan) for plane, drawn in slices]


def _propagate_half(
    path: Path,
    image_file: Path,
    plane: Plane,
    drawn: NDArray[np.uint8],
    upwards: bool,
    settings: PropagationSettings,
    seed: int,
    propagate: Propagate,
) -> None:
    if path.is_file():  # by a worker whose answer was lost
        return
    image = read_volume(image_file)
    axis, index = plane
    half = (slice(None),) * axis + (slice(index, None) if upwards else slice(index + 1),)
    label = np.zeros(image.array.shape, np.uint8)
    label[half] = propagate(
        image.array[half], image.geometry.spacing_mm, axis, 0 if upwards else index, drawn, settings, seed
    )
    write_label(path, label, image.geometry)


def _write_cases(
    request: DatasetRequest,
    state: DatasetState,
    cases: Sequence[InspectedCase],
    propagated: Mapping[str, Sequence[tuple[Path, Path]]],
    test: Mapping[CaseFiles, Any],
) -> None:
    tasks: list[tuple[object, ...]] = []
    for case in cases:
        record = asdict(case.record)
        if not state.is_done(case.files.case, record):
            arguments = (request.folder, case, propagated[case.files.case])
            values = (tuple(request.classes.values()), request.ignore, request.propagation)
            tasks.append((state, case.files.case, record, write_training_case, *arguments, *values))
    for files, hashes in test.items():
        if not state.is_done(files.case, hashes):
            tasks.append((state, files.case, hashes, write_test_case, request.folder, files, request.label_reading))
    names = [str(case) for _, case, *_ in tasks]
    run_in_processes(_write_case, tasks, names=names, processes=request.processes, description="writing cases")


def _write_case(
    state: DatasetState, case: str, record: dict[str, Any], write: Callable[..., None], *arguments: object
) -> None:
    if state.is_done(case, record):  # by a worker whose answer was lost
        return
    write(*arguments)
    state.mark_done(case, record)


def _write_fingerprint(request: DatasetRequest, cases: Sequence[InspectedCase]) -> None:
    """Put the right intensity statistics where nnU-Net looks for them before it plans.

    On CT they set the normalisation. On MR only an outdated file is replaced, of a dataset that this one overwrites.
    """
    if request.preprocessed is None:
        return
    path = request.preprocessed / request.dataset / FINGERPRINT
    if request.modality == "CT" or path.is_file():
        ordered = sorted(cases, key=lambda case: case.files.case)
        write_json(path, make_fingerprint([case.measure for case in ordered]))
