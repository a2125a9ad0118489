"""The files of a raw dataset: where each lies, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from sparse_annotation_tools.dataset.inspection import InspectedCase, read_label_on
from sparse_annotation_tools.dataset.sources import CaseFiles
from sparse_annotation_tools.dataset.splits import make_splits
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.label_reading import LabelReading
from sparse_annotation_tools.files.volumes import FILE_ENDING, read_volume, store_image, write_label
from sparse_annotation_tools.propagation.chain import PropagationSettings
from sparse_annotation_tools.propagation.crossing import find_all_outlines, hold_to_planes
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.schema import IGNORE, CasesFile, RadaFolder


def expected_files(folder: Path, plan: CasesFile) -> Iterable[Path]:
    """Yield every file of a complete dataset, embeddings aside."""
    rada = RadaFolder(root=folder / "rada")
    yield from (folder / "dataset.json", rada.cases_file, rada.splits_file)
    for case in (*plan.cases, *plan.test):
        yield from files_of_case(folder, plan, case)


def files_of_case(folder: Path, plan: CasesFile, case: str) -> Iterable[Path]:
    """Yield every file of one training or test case."""
    if case in plan.test:
        hashes = plan.test[case]
        yield from (_image(folder, "imagesTs", case, channel) for channel in range(_channels(hashes)))
        if "label" in hashes:
            yield _label(folder, "labelsTs", case)
        return
    record, rada = plan.cases[case], RadaFolder(root=folder / "rada")
    yield from (_image(folder, "imagesTr", case, channel) for channel in range(_channels(record.sha256)))
    yield _label(folder, "labelsTr", case)
    if record.labelled:
        yield from (rada.fused(case), rada.confidence(case))
        yield from (rada.propagated(case, k) for k in range(len(record.slices)))


def write_training_case(
    folder: Path,
    case: InspectedCase,
    propagated: Sequence[tuple[Path, Path]],
    classes: Sequence[int],
    ignore: int,
    settings: PropagationSettings,
    threads: int,
) -> None:
    """Write every file of one training case.

    Args:
        folder: of the raw dataset.
        case: what was read and checked.
        propagated: the label propagated from each annotated slice, below and above it.
        classes: foreground values.
        ignore: value of voxels that nobody annotated.
        settings: of the propagation.
        threads: how many may work on this case.
    """
    name, geometry = case.files.case, case.geometry
    for channel, image in enumerate(case.files.images):
        store_image(image, _image(folder, "imagesTr", name, channel))
    label = np.full(geometry.shape, ignore, dtype=np.int16)
    if case.annotation is not None:
        annotation = case.annotation.volume()
        label = np.where(annotation >= 0, annotation, label)
        rada = RadaFolder(root=folder / "rada")
        halves = [[read_volume(path).array for path in paths] for paths in propagated]
        volumes = np.stack([np.maximum(below, above) for below, above in halves])
        planes, spacing_mm = case.annotation.planes, geometry.spacing_mm
        outlines = find_all_outlines(volumes, planes, annotation, spacing_mm, threads=threads)

        def write_propagated(k: int) -> None:
            volume = volumes[k]
            if settings.hold_to_planes:
                volume = hold_to_planes(volume, planes[k][0], planes, annotation, spacing_mm, outlines[k])
            write_label(rada.propagated(name, k), volume, geometry)

        with ThreadPoolExecutor(threads) as pool:
            writing = pool.map(write_propagated, range(len(planes)))
            fused, confidence = fuse(volumes, planes, annotation, classes, spacing_mm, outlines)
            list(writing)
        write_label(rada.fused(name), fused, geometry)
        write_label(rada.confidence(name), confidence, geometry)
    write_label(_label(folder, "labelsTr", name), label, geometry)


def write_test_case(folder: Path, files: CaseFiles, reading: LabelReading) -> None:
    """Write the images of one test case, and its label map on the image's grid."""
    for channel, image in enumerate(files.images):
        store_image(image, _image(folder, "imagesTs", files.case, channel))
    if files.label is not None:
        geometry = read_volume(files.images[0]).geometry
        label = read_label_on(files.label, geometry, files.images[0], reading)
        write_label(_label(folder, "labelsTs", files.case), label, geometry)


def write_dataset_json(folder: Path, plan: CasesFile, channel_name: str) -> None:
    """Write nnU-Net's `dataset.json`."""
    channels = _channels(next(iter(plan.cases.values())).sha256)
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {str(channel): channel_name for channel in range(channels)},
            "labels": {"background": 0, **plan.classes, IGNORE: len(plan.classes) + 1},
            "numTraining": len(plan.cases),
            "file_ending": FILE_ENDING,
            # Its arrays are (z, y, x), as the planes in cases.json; nnU-Net would otherwise choose by the first image.
            "overwrite_image_reader_writer": "SimpleITKIO",
        },
    )


def write_rada_records(folder: Path, plan: CasesFile) -> None:
    """Write the folds and, last, `cases.json`."""
    rada = RadaFolder(root=folder / "rada")
    write_json(rada.splits_file, make_splits(plan.labelled, plan.unlabelled, plan.seed))
    plan.save(rada)


def _image(folder: Path, part: str, case: str, channel: int) -> Path:
    return folder / part / f"{case}_{channel:04d}{FILE_ENDING}"


def _label(folder: Path, part: str, case: str) -> Path:
    return folder / part / f"{case}{FILE_ENDING}"


def _channels(hashes: Mapping[str, str]) -> int:
    return sum(role.startswith("image_") for role in hashes)
