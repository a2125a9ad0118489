"""Tests of the dataset check: a sound dataset passes, and each fault is one error with what to type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.check.dataset import check_dataset
from sparse_annotation_tools.schema import CasesFile

from . import faults
from .dataset import COMMAND, EMBED, FIRST, OTHER, PLAN, PREPROCESS, REMAKE, TEST, UNLABELLED, Dataset


def test_a_sound_dataset_has_no_error_before_and_after_planning(dataset: Dataset) -> None:
    """What was looked at is listed, and what comes next."""
    before = {
        finding.check: finding for finding in dataset.findings("error", "warning", "note") if finding.check != "edge"
    }
    assert {check: finding.level for check, finding in before.items()} == {"plans": "note", "folds": "note"}
    assert before["plans"].mend == "nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres"
    dataset.plan()
    assert [finding for finding in dataset.findings("error", "warning", "note") if finding.check != "edge"] == []
    good = dataset.findings("ok")
    assert "3 labelled cases with 9 annotated slices, 2 unlabelled cases, 1 test cases" in good[0].text
    planes = {finding.case: finding.text for finding in good if finding.check == "planes"}
    sagittal, coronal, axial = CasesFile.load(dataset.rada).cases[FIRST].slices
    expected = f"3 annotated planes: sagittal {sagittal.index}, coronal {coronal.index}, axial {axial.index}"
    assert planes[FIRST] == expected
    assert set(planes) == {FIRST, OTHER, "phantom_labelled_02"}
    assert {finding.check for finding in good} >= {
        "records", "planes", "same image", "classes", "folds", "prompts", "fingerprint", "resampling", "preprocessed"
    }  # fmt: skip


def test_without_a_preprocessed_folder_it_says_what_was_not_checked(dataset: Dataset) -> None:
    """Everything else is checked."""
    found = check_dataset(dataset.raw, None, processes=1)
    (plans,) = [finding for finding in found if finding.check == "plans"]
    assert "nnUNet_preprocessed is not set" in plans.text
    assert not any(finding.level == "error" for finding in found)
    assert {"prompts", "planes", "classes"} <= {finding.check for finding in found}


@pytest.mark.parametrize(
    ("spoil", "check", "text", "mend"),
    [
        (
            faults.corner_of_a_plane_erased,
            "planes",
            "is cut off in labelsTr: 32 of 320 pixels are not annotated",
            REMAKE,
        ),
        (faults.painted_off_the_planes, "planes", "1 annotated voxels off its annotated planes", REMAKE),
        (faults.painted_on_a_plane, "planes", "labelsTr was changed after the dataset was made", REMAKE),
        (faults.painted_unlabelled, "planes", "annotated voxels though cases.json calls the case unlabelled", REMAKE),
        (faults.label_moved, "geometry", f"labelsTr/{FIRST}.nii.gz is not on the grid of the image: origin", REMAKE),
        (
            faults.propagated_cut,
            "geometry",
            f"propagated/{FIRST}_1.nii.gz is not on the grid of the image: size",
            REMAKE,
        ),
        (
            faults.confidence_stretched,
            "geometry",
            f"confidence/{FIRST}.nii.gz is not on the grid of the image: spac",
            REMAKE,
        ),
        (faults.fused_missing, "files", f"fused/{FIRST}.nii.gz does not exist", REMAKE),
        (faults.fused_of_another_class, "labels", f"fused/{FIRST}.nii.gz holds label 7, expected 0 to 2", REMAKE),
        (faults.image_cut_off, "files", f"{FIRST}_0000.nii.gz is cut off", REMAKE),
        (faults.image_constant, "intensities", "has the same value in every voxel", REMAKE),
        (
            faults.other_class_in_a_test_label,
            "labels",
            f"labelsTs/{TEST}.nii.gz holds label 3, expected 0 to 2",
            REMAKE,
        ),
        (
            faults.an_image_of_training_in_test,
            "same image",
            f"{UNLABELLED} (unlabelled), {TEST} (test) are the same image",
            REMAKE,
        ),
        (faults.records_of_another_version, "records", "has schema_version 99, expected 1", ""),
        (faults.never_finished, "records", "not finished", COMMAND),
        (faults.unknown_case, "records", "is in imagesTr, but cases.json does not know it", REMAKE),
        (faults.lost_case_name, "names", "ends in _seg, and nnU-Net drops such cases", REMAKE),
        (
            faults.other_classes_in_dataset_json,
            "records",
            "dataset.json has the classes 2 (lobed_organ), 1 (bean",
            REMAKE,
        ),
        (faults.class_never_annotated, "classes", "bean_organ is on annotated slices of 0 of 3 labelled cases", REMAKE),
        (faults.prompts_cut_off, "prompts", "is no whole .safetensors file", EMBED),
        (faults.prompts_of_fewer_cases, "prompts", f"holds no embedding of {FIRST}", EMBED),
        (faults.folds_missing, "folds", "rada/splits_final.json cannot be read", REMAKE),
        (faults.folds_stale, "folds", "fold 0 of rada/splits_final.json is stale: it names gone", REMAKE),
        (
            faults.fingerprint_missing,
            "fingerprint",
            "is missing: nnU-Net would count voxels",
            f"{COMMAND}; then {PLAN}",
        ),
        pytest.param(
            faults.fingerprint_of_nnunet,
            "fingerprint",
            "nnU-Net counted those nobody annotated",
            f"{COMMAND}; then {PLAN}",
            marks=pytest.mark.slow,
        ),
        (faults.plans_of_another_fingerprint, "fingerprint", "was made from another dataset_fingerprint.json", PLAN),
        (faults.preprocessed_case_missing, "preprocessed", f"lacks {UNLABELLED}", PREPROCESS),
        (
            faults.preprocessed_case_too_many,
            "preprocessed",
            "holds, from another state of the dataset, gone",
            PREPROCESS,
        ),
    ],
)
def test_each_fault_is_one_error(
    dataset: Dataset, spoil: Callable[[Dataset], None], check: str, text: str, mend: str
) -> None:
    """With the file or case, what was expected, and what to type."""
    spoil(dataset)
    (error,) = dataset.findings("error")
    assert (error.check, error.mend) == (check, mend)
    assert text in error.text


@pytest.mark.slow
def test_typing_the_command_again_mends_the_fingerprint(phantoms: Path, request_for: Any, make_quickly: Any) -> None:
    """As the line says; nothing is propagated again."""

    def never(*arguments: object) -> Any:
        raise AssertionError("the dataset is complete")

    request = request_for(phantoms, modality="CT")
    make_quickly(request)
    dataset = Dataset(request.folder, request.preprocessed / request.dataset)
    faults.fingerprint_of_nnunet(dataset)
    assert "fingerprint" in {finding.check for finding in dataset.findings("error")}
    make_quickly(request, propagate=never)
    assert "fingerprint" not in {finding.check for finding in dataset.findings("error")}
