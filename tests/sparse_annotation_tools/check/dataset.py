"""The dataset that the check is tried on, and the commands that its findings name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sparse_annotation_tools.check.dataset import check_dataset
from sparse_annotation_tools.check.findings import Finding
from sparse_annotation_tools.files.volumes import read_volume, write_label
from sparse_annotation_tools.schema import CasesFile, RadaFolder

NAME = "Dataset101_Phantom"
FIRST, OTHER, UNLABELLED, TEST = (
    "phantom_labelled_00",
    "phantom_labelled_01",
    "phantom_unlabelled_00",
    "phantom_test_00",
)
COMMAND = "rada-make-sparse-dataset -d 101 -n Phantom"
REMAKE = f"{COMMAND} --overwrite"
PLAN = "nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres"
EMBED = "rada-embed -d 101 --encoder alpha-clip-tiny"
PREPROCESS = "nnUNetv2_preprocess -d 101 -c 3d_fullres"


@dataclass(frozen=True)
class Dataset:
    """A dataset to spoil: its raw and its preprocessed folder."""

    raw: Path
    preprocessed: Path

    @property
    def rada(self) -> RadaFolder:
        """Its `rada/` folder."""
        return RadaFolder(root=self.raw / "rada")

    def file(self, part: str, case: str = FIRST) -> Path:
        """Return the first channel of an image, or another volume of a case."""
        return self.raw / part / f"{case}{'_0000' if part.startswith('images') else ''}.nii.gz"

    def change(self, path: Path, how: Callable[[NDArray[Any]], NDArray[Any]], **geometry: Any) -> None:
        """Write a volume anew with other voxels or another grid."""
        volume = read_volume(path)
        array = how(volume.array.copy())
        size = tuple(reversed(array.shape))
        write_label(path, array, replace(volume.geometry, **{"size": size, **geometry}))

    def change_json(self, path: Path, how: Callable[[Any], Any]) -> None:
        """Write a JSON file anew."""
        path.write_text(json.dumps(how(json.loads(path.read_text()))))

    def plan(self, spacing_mm: tuple[float, ...] = (3.0, 2.0, 2.0), cases: tuple[str, ...] | None = None) -> None:
        """Leave what nnU-Net's planning and preprocessing leave, as far as it is looked at."""
        fingerprint = json.loads((self.preprocessed / "dataset_fingerprint.json").read_text())
        key = "foreground_intensity_properties_per_channel"
        plans = {
            "transpose_forward": [0, 1, 2],
            "configurations": {
                "2d": {"spacing": spacing_mm[1:], "data_identifier": "nnUNetPlans_2d"},
                "3d_fullres": {"spacing": spacing_mm, "data_identifier": "nnUNetPlans_3d_fullres"},
            },
            key: fingerprint[key],
        }
        (self.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
        shutil.copy(self.rada.splits_file, self.preprocessed)
        (self.preprocessed / "nnUNetPlans_3d_fullres").mkdir()
        for case in CasesFile.load(self.rada).cases if cases is None else cases:
            (self.preprocessed / "nnUNetPlans_3d_fullres" / f"{case}.pkl").touch()

    def findings(self, *levels: str) -> list[Finding]:
        """Check it; return what is of these levels."""
        found = check_dataset(self.raw, self.preprocessed, processes=1)
        return [finding for finding in found if not levels or finding.level in levels]
