"""What the user wants made, and whether that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_reading import LabelReading, check_label_names
from sparse_annotation_tools.propagation.chain import PropagationSettings

MODALITIES = {"MR": "MRI", "CT": "CT"}
"""Names of image channels: nnU-Net normalises those called CT by the dataset's intensities, others by the image's."""


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """What the user wants made.

    Attributes:
        raw: nnU-Net's folder of raw datasets.
        preprocessed: nnU-Net's folder of preprocessed datasets; needed for CT.
        dataset: folder name, `Dataset101_LA`.
        images: folder of labelled images.
        labels: folder of their label maps.
        cases: CSV of all cases, in place of the folders.
        label_names: classes in the order of their values 1, 2, ...
        merge: values in the label files of each class, where they are not those.
        labels_by_voxel: label maps lie on their images' voxels, whatever their headers say.
        modality: a key of `MODALITIES`.
        simulate: slice strategy to cut out of dense labels, such as SCA; None for real annotations.
        planes_file: CSV of the annotated planes.
        unlabelled: folder of further images.
        test_images: folder of test images.
        test_labels: folder of their dense label maps.
        propagation: how labels are carried from slice to slice.
        registration_channel: image channel that registration looks at.
        not_annotated: in real annotations, the value of voxels that nobody annotated.
        processes: how many run at once.
        seed: of registration and folds.
        overwrite: replace a dataset of this name that this tool made.
        update: change such a dataset where the inputs changed, and keep the rest.
        command: the command line, for the record.
    """

    raw: Path
    dataset: str
    label_names: tuple[str, ...]
    images: Path | None = None
    labels: Path | None = None
    cases: Path | None = None
    merge: Mapping[str, Sequence[int]] = field(default_factory=dict)
    labels_by_voxel: bool = False
    preprocessed: Path | None = None
    modality: str = "MR"
    simulate: str | None = None
    planes_file: Path | None = None
    unlabelled: Path | None = None
    test_images: Path | None = None
    test_labels: Path | None = None
    propagation: PropagationSettings = field(default_factory=PropagationSettings)
    registration_channel: int = 0
    not_annotated: int = 255
    processes: int = 1
    seed: int = 0
    overwrite: bool = False
    update: bool = False
    command: str = ""

    def with_absolute_paths(self) -> DatasetRequest:
        """Return the same request for processes that work in other folders, on other machines."""
        paths: dict[str, Any] = {
            name: value.absolute() for name, value in vars(self).items() if isinstance(value, Path)
        }
        return replace(self, **paths)

    @property
    def folder(self) -> Path:
        """The raw dataset's folder."""
        return self.raw / self.dataset

    @property
    def classes(self) -> dict[str, int]:
        """Value of each class."""
        return {name: value for value, name in enumerate(self.label_names, start=1)}

    @property
    def label_reading(self) -> LabelReading:
        """How label files are read."""
        return LabelReading(classes=self.classes, merge=self.merge, by_voxel=self.labels_by_voxel)

    @property
    def ignore(self) -> int:
        """Value of voxels that nobody annotated, in what is written."""
        return len(self.label_names) + 1


def check_request(request: DatasetRequest) -> None:
    """Check what can be checked without reading a scan.

    Raises:
        UserError: the class names are unfit, options contradict each other, the inputs lie in the dataset's own
            folder, or its number is taken.
    """
    names = request.label_names
    check_label_names(names)
    if request.simulate is not None and request.planes_file is not None:
        raise UserError("--simulate cuts its own planes out of dense labels; leave out --planes, or --simulate")
    if request.simulate is None and request.not_annotated <= len(names):
        raise UserError(
            f"--not-annotated {request.not_annotated} is the value of a class, expected more than {len(names)}"
        )
    taken = next((name for name, values in request.merge.items() if request.not_annotated in values), None)
    if request.simulate is None and taken is not None:
        raise UserError(
            f"--merge gives {taken} the value {request.not_annotated}, which is that of voxels nobody annotated; "
            "give --not-annotated another value, or --simulate SCA for dense labels"
        )
    folders = {
        "--images": request.images,
        "--labels": request.labels,
        "--unlabelled": request.unlabelled,
        "--test-images": request.test_images,
        "--test-labels": request.test_labels,
    }
    given = [option for option, folder in folders.items() if folder is not None]
    if request.cases is not None and given:
        raise UserError(f"--cases lists all files by itself; leave out {' '.join(given)}, or --cases")
    if request.cases is None and (request.images is None or request.labels is None):
        raise UserError("no scans are named; give --images DIR and --labels DIR, or --cases FILE (CSV)")
    for option, path in {**folders, "--cases": request.cases, "--planes": request.planes_file}.items():
        if path is not None:
            check_lies_elsewhere(request, option, path)
    if request.update and request.overwrite:
        raise UserError("--update keeps what did not change and --overwrite keeps nothing; give one of them")
    if request.test_labels is not None and request.test_images is None:
        raise UserError("--test-labels needs the images; give --test-images DIR as well")
    if request.modality == "CT" and request.preprocessed is None:
        raise UserError(
            "nnUNet_preprocessed is not set, and CT needs its dataset_fingerprint.json there before planning; "
            "type: export nnUNet_preprocessed=FOLDER"
        )
    _check_dataset_number(request)


def check_lies_elsewhere(request: DatasetRequest, option: str, path: Path) -> None:
    """Refuse an input in the dataset's own folder: a dataset that is made anew or changed would take it away.

    Raises:
        UserError: see above; links are followed.
    """
    if path.resolve().is_relative_to(request.folder.resolve()):
        raise UserError(
            f"{option} {path} lies in the dataset that is to be made, {request.folder}, whose files are replaced; "
            "copy it to another folder first, or give another -d"
        )


def _check_dataset_number(request: DatasetRequest) -> None:
    """nnU-Net finds datasets by number: two of one number stop all its commands."""
    number = request.dataset.split("_")[0]
    for root in (request.raw, request.preprocessed):
        for path in sorted(root.glob(f"{number}*")) if root else ():
            if path.is_dir() and path.name != request.dataset:
                raise UserError(
                    f"number {int(number[7:])} is taken by {path}; give another -d, or -n {path.name.partition('_')[2]}"
                )
