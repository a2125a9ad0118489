"""A small raw dataset of two organs, written to disk as nnU-Net expects it."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile, RadaFolder

SPACING_ZYX = (3.0, 1.0, 1.0)
SHAPE_ZYX = (12, 32, 36)
IGNORE_VALUE = 3


def write_volume(path: Path, volume: np.ndarray) -> None:
    """Write [z, y, x] with the spacing of this module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(SPACING_ZYX[::-1])
    sitk.WriteImage(image, str(path))


def two_organs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return image and dense label: a bright ball (1) and a dark box (2) that no axial plane shares."""
    label = np.zeros(SHAPE_ZYX, np.uint8)
    z, y, x = np.ogrid[: SHAPE_ZYX[0], : SHAPE_ZYX[1], : SHAPE_ZYX[2]]
    label[((z - 3) * 3) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 < 64] = 1
    label[7:10, 10:24, 12:20] = 2
    image = np.random.default_rng(seed).normal(100, 5, SHAPE_ZYX).astype(np.float32)
    image[label == 1] += 80
    image[label == 2] -= 60
    return image, label


def annotated(label: np.ndarray, planes: list[tuple[str, int, int]]) -> tuple[AnnotatedSlice, ...]:
    """Return the records of planes given as (view, axis, index)."""
    slices = []
    for view, axis, index in planes:
        plane = np.take(label, index, axis)
        classes = tuple(int(value) for value in np.unique(plane) if value)
        slices.append(AnnotatedSlice(view=view, axis=axis, index=index, area=int((plane > 0).sum()), classes=classes))
    return tuple(slices)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two labelled cases and one unlabelled; the largest axial slice of `a` shows organ 1 only, that of `b` organ 2."""
    folder = tmp_path / "Dataset101_Organs"
    cases = {}
    for seed, (name, axial) in enumerate({"a": 3, "b": 8, "u": None}.items()):
        image, dense = two_organs(seed)
        planes = [("sagittal", 2, 14), ("coronal", 1, 14), ("axial", 0, axial)] if axial is not None else []
        slices = annotated(dense, planes)
        sparse = np.full(SHAPE_ZYX, IGNORE_VALUE, np.uint8)
        for where in slices:
            index = tuple(where.index if axis == where.axis else slice(None) for axis in range(3))
            sparse[index] = dense[index]
        write_volume(folder / "imagesTr" / f"{name}_0000.nii.gz", image)
        write_volume(folder / "labelsTr" / f"{name}.nii.gz", sparse)
        cases[name] = Case(labelled=axial is not None, shape=SHAPE_ZYX, sagittal_axis=2, slices=slices)
    labels = {"background": 0, "bright_ball": 1, "dark_box": 2, "ignore": IGNORE_VALUE}
    (folder / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "MR"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"})
    )
    CasesFile(
        dataset="Dataset101_Organs",
        modality="MR",
        classes={"bright_ball": 1, "dark_box": 2},
        strategy="SCA",
        seed=0,
        propagation={},
        cases=cases,
        versions={},
        command="test",
    ).save(RadaFolder(root=folder / "rada"))
    return folder
