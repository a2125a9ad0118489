"""Faults of a dataset, one a function, as people and broken copies cause them."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from numpy.typing import NDArray

from sparse_annotation_tools.files.volumes import read_volume, write_image
from sparse_annotation_tools.phantom import CLASS_NAMES
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import CasesFile

from .dataset import FIRST, OTHER, TEST, UNLABELLED, Dataset


def corner_of_a_plane_erased(dataset: Dataset) -> None:
    """A corner of an annotated plane says `not annotated`."""
    axial = CasesFile.load(dataset.rada).cases[FIRST].slices[2].index

    def erase(label: NDArray[Any]) -> NDArray[Any]:
        label[axial, :8, :4] = 3  # where no other plane crosses
        return label

    dataset.change(dataset.file("labelsTr"), erase)


def painted_off_the_planes(dataset: Dataset) -> None:
    """Somebody went on painting in the dataset itself."""

    def paint(label: NDArray[Any]) -> NDArray[Any]:
        label[tuple(np.argwhere(label == 3)[0])] = 1
        return label

    dataset.change(dataset.file("labelsTr"), paint)


def painted_on_a_plane(dataset: Dataset) -> None:
    """Somebody corrected a plane in the dataset itself."""

    def paint(label: NDArray[Any]) -> NDArray[Any]:
        label[tuple(np.argwhere(label == 0)[0])] = 1
        return label

    dataset.change(dataset.file("labelsTr"), paint)


def painted_unlabelled(dataset: Dataset) -> None:
    """Somebody painted an unlabelled case."""
    dataset.change(
        dataset.file("labelsTr", UNLABELLED), lambda label: np.where(label.cumsum() == 3, 1, 3).reshape(label.shape)
    )


def label_moved(dataset: Dataset) -> None:
    """The label map is elsewhere."""
    dataset.change(dataset.file("labelsTr"), lambda label: label, origin=(99.0, 0.0, 0.0))


def propagated_cut(dataset: Dataset) -> None:
    """A propagated label lacks a slice."""
    dataset.change(dataset.rada.propagated(FIRST, 1), lambda label: label[1:])


def confidence_stretched(dataset: Dataset) -> None:
    """A confidence has another spacing."""
    dataset.change(dataset.rada.confidence(FIRST), lambda label: label, spacing=(1.0, 1.0, 1.0))


def fused_missing(dataset: Dataset) -> None:
    """A fused label was deleted."""
    dataset.rada.fused(FIRST).unlink()


def fused_of_another_class(dataset: Dataset) -> None:
    """A fused label holds a value that is no class."""
    dataset.change(dataset.rada.fused(FIRST), lambda label: np.where(label == 1, 7, label))


def image_cut_off(dataset: Dataset) -> None:
    """A copy broke off in the middle of an image."""
    path = dataset.file("imagesTr")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-400]))


def image_constant(dataset: Dataset) -> None:
    """An image holds one value."""
    dataset.change(dataset.file("imagesTr", UNLABELLED), np.zeros_like)


def other_class_in_a_test_label(dataset: Dataset) -> None:
    """A test label holds the value of `ignore`."""
    dataset.change(dataset.file("labelsTs", TEST), lambda label: np.where(label == 1, 3, label))


def an_image_of_training_in_test(dataset: Dataset) -> None:
    """A test image is an unlabelled training image, compressed anew in another pixel type."""
    copy, original = dataset.file("imagesTs", TEST), dataset.file("imagesTr", UNLABELLED)
    for path in (copy, original):
        dataset.change(path, lambda image: np.arange(image.size).reshape(image.shape) % 251)
    write_image(copy, sitk.Cast(sitk.ReadImage(str(copy)), sitk.sitkInt16))
    assert read_volume(copy).array.dtype != read_volume(original).array.dtype


def records_of_another_version(dataset: Dataset) -> None:
    """The dataset was made by another version."""
    dataset.change_json(dataset.rada.cases_file, lambda cases: {**cases, "schema_version": 99})


def never_finished(dataset: Dataset) -> None:
    """The making was killed."""
    (dataset.raw / ".incomplete").mkdir()
    shutil.move(dataset.rada.cases_file, dataset.raw / ".incomplete" / "cases.json")


def unknown_case(dataset: Dataset) -> None:
    """An image was added by hand."""
    shutil.copy(dataset.file("imagesTr"), dataset.file("imagesTr", "stranger"))


def lost_case_name(dataset: Dataset) -> None:
    """A case was renamed by hand to a name that nnU-Net drops."""
    for path in [*dataset.raw.rglob(f"{TEST}*")]:
        path.rename(path.with_name(path.name.replace(TEST, "scan_seg")))
    dataset.change_json(dataset.rada.cases_file, lambda cases: {**cases, "test": {"scan_seg": cases["test"][TEST]}})


def other_classes_in_dataset_json(dataset: Dataset) -> None:
    """The class values were swapped by hand."""
    swapped = {"background": 0, CLASS_NAMES[0]: 2, CLASS_NAMES[1]: 1, "ignore": 3}
    dataset.change_json(dataset.raw / "dataset.json", lambda content: {**content, "labels": swapped})


def class_never_annotated(dataset: Dataset) -> None:
    """No plane on record shows the second class."""

    def forget(cases: Any) -> Any:
        for case in cases["cases"].values():
            for annotated in case["slices"]:
                annotated["classes"] = [1]
        return cases

    dataset.change_json(dataset.rada.cases_file, forget)
    dataset.change_json(dataset.rada.splits_file, lambda folds: folds)


def prompts_cut_off(dataset: Dataset) -> None:
    """The embeddings were not copied whole."""
    dataset.rada.prompts_file.write_bytes(dataset.rada.prompts_file.read_bytes()[:-10])


def prompts_of_fewer_cases(dataset: Dataset) -> None:
    """The embeddings are those of a former state of the dataset."""
    store = PromptStore.load(dataset.rada.prompts_file)
    fewer = {case: slices for case, slices in store.images.items() if case != FIRST}
    replace(store, images=fewer).save(dataset.rada.prompts_file)


def folds_missing(dataset: Dataset) -> None:
    """The dataset's own folds were deleted."""
    dataset.rada.splits_file.unlink()


def folds_stale(dataset: Dataset) -> None:
    """The folds name a case that is gone."""
    dataset.change_json(dataset.rada.splits_file, lambda folds: [{"train": [FIRST], "val": ["gone"]}])


def fingerprint_missing(dataset: Dataset) -> None:
    """The preprocessed folder was emptied before planning."""
    (dataset.preprocessed / "dataset_fingerprint.json").unlink()


def fingerprint_of_nnunet(dataset: Dataset) -> None:
    """nnU-Net made the fingerprint itself, as after --clean."""
    DatasetFingerprintExtractor(101, 1).run(overwrite_existing=True)


def plans_of_another_fingerprint(dataset: Dataset) -> None:
    """The fingerprint was mended after planning."""
    dataset.plan()
    numbers = {"mean": 1.0, "std": 1.0, "percentile_00_5": 0.0, "percentile_99_5": 2.0}
    key = "foreground_intensity_properties_per_channel"
    dataset.change_json(dataset.preprocessed / "nnUNetPlans.json", lambda plans: {**plans, key: {"0": numbers}})


def preprocessed_case_missing(dataset: Dataset) -> None:
    """A case was added after preprocessing."""
    dataset.plan(cases=(FIRST, OTHER, "phantom_labelled_02", "phantom_unlabelled_01"))


def preprocessed_case_too_many(dataset: Dataset) -> None:
    """A case was removed after preprocessing."""
    dataset.plan()
    (dataset.preprocessed / "nnUNetPlans_3d_fullres" / "gone.pkl").touch()
