"""From images and annotated slices to a raw dataset that stock nnU-Net accepts, with a `rada/` folder for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.dataset.files import (
    expected_files,
    write_dataset_json,
    write_rada_records,
    write_test_case,
    write_training_case,
)
from sparse_annotation_tools.dataset.fingerprint import FILE_NAME as FINGERPRINT
from sparse_annotation_tools.dataset.fingerprint import make_fingerprint
from sparse_annotation_tools.dataset.inspection import InspectedCase
from sparse_annotation_tools.dataset.plan import DatasetPlan, plan_dataset
from sparse_annotation_tools.dataset.request import MODALITIES, DatasetRequest
from sparse_annotation_tools.dataset.state import DatasetState
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.volumes import read_volume, write_label
from sparse_annotation_tools.processes.lock import only_writer
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate
from sparse_annotation_tools.schema import CasesFile
from sparse_annotation_tools.slices.planes import Plane

Propagate = Callable[..., NDArray[np.uint8]]
Propagated = Mapping[str, Sequence[tuple[Path, Path]]]
"""By case, where the label propagated from each annotated slice is kept, below and above it."""


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
    plan = plan_dataset(request, warn=warn)
    with only_writer(request.folder):
        state = DatasetState(folder=request.folder)
        unchanged = not state.open(plan.record, overwrite=request.overwrite, update=request.update)
        if unchanged and all(path.is_file() for path in expected_files(request.folder, plan.record)):
            warn(f"{request.dataset} is complete already; only the embeddings are made again")
            if request.modality == "CT":
                _write_fingerprint(plan)
            embed(request.folder)
            return CasesFile.load(state.rada)
        if unchanged:
            state.begin(plan.record)
        propagated = {case.files.case: _propagated_files(plan, state, case) for case in plan.cases}
        _propagate_slices(plan, state, propagated, propagate)
        _write_cases(plan, state, propagated)
        write_dataset_json(request.folder, plan.record, MODALITIES[request.modality])
        _write_fingerprint(plan)
        write_rada_records(request.folder, plan.record)
        embed(request.folder)
        state.close(path for halves in propagated.values() for paths in halves for path in paths)
    return plan.record


def _propagate_slices(plan: DatasetPlan, state: DatasetState, propagated: Propagated, propagate: Propagate) -> None:
    """Propagate what is not there yet: a task for each direction of each slice, so that one scan occupies six cores."""
    request = plan.request
    tasks: list[tuple[object, ...]] = []
    names: list[str] = []
    for case in plan.cases:
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
    run_in_processes(
        _propagate_half,
        tasks,
        names=names,
        processes=request.processes,
        description="propagating slices, each both ways",
    )


def _propagated_files(plan: DatasetPlan, state: DatasetState, case: InspectedCase) -> list[tuple[Path, Path]]:
    """Return where the label propagated from each annotated slice is kept, below and above it."""
    if case.annotation is None:
        return []
    image_sha256 = case.record.sha256[f"image_{plan.request.registration_channel:04d}"]
    slices = zip(case.annotation.planes, case.annotation.drawn, strict=True)
    return [state.propagated(image_sha256, plane, drawn, plan.record) for plane, drawn in slices]


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


def _write_cases(plan: DatasetPlan, state: DatasetState, propagated: Propagated) -> None:
    """Write the files of every case that is not done yet."""
    request = plan.request
    tasks: list[tuple[object, ...]] = []
    cases = [case for case in plan.cases if not state.is_done(case.files.case, asdict(case.record))]
    threads = max(1, request.processes // max(1, len(cases)))  # one scan alone occupies some cores as well
    for case in cases:
        arguments = (request.folder, case, propagated[case.files.case])
        values = (tuple(request.classes.values()), request.ignore, request.propagation, threads)
        tasks.append((state, case.files.case, asdict(case.record), write_training_case, *arguments, *values))
    for files, hashes in plan.test.items():
        if not state.is_done(files.case, hashes):
            tasks.append((state, files.case, hashes, write_test_case, request.folder, files, request.label_reading))
    names = [str(case) for _, case, *_ in tasks]
    run_in_processes(_write_case, tasks, names=names, processes=request.processes, description="writing cases")


def _write_case(
    state: DatasetState, case: str, record: Mapping[str, Any], write: Callable[..., None], *arguments: object
) -> None:
    if state.is_done(case, record):  # by a worker whose answer was lost
        return
    write(*arguments)
    state.mark_done(case, record)


def _write_fingerprint(plan: DatasetPlan) -> None:
    """Put the right intensity statistics where nnU-Net looks for them before it plans.

    On CT they set the normalisation. On MR only an outdated file is replaced, of a dataset that this one overwrites.
    """
    request = plan.request
    if request.preprocessed is None:
        return
    path = request.preprocessed / request.dataset / FINGERPRINT
    if request.modality == "CT" or path.is_file():
        ordered = sorted(plan.cases, key=lambda case: case.files.case)
        write_json(path, make_fingerprint([case.measure for case in ordered]))
