"""Tests of what the dataset check warns about and notes: no error, but something to know before training."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunetv2_rada.config import Config
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.check.dataset import TRAINERS_WITHOUT_PROMPTS
from sparse_annotation_tools.check.lost_planes import plane_survives
from sparse_annotation_tools.files.volumes import read_volume
from sparse_annotation_tools.prompts import embed_dataset
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.schema import CasesFile

from .dataset import EMBED, FIRST, OTHER, UNLABELLED, Dataset


@pytest.mark.parametrize(("spacing_mm", "transpose"), [((3.0, 2.0, 6.0), [0, 1, 2]), ((6.0, 2.0, 3.0), [2, 1, 0])])
def test_planes_that_stock_trainers_would_lose_are_counted(
    dataset: Dataset, spacing_mm: tuple[float, ...], transpose: list[int]
) -> None:
    """Three times the spacing along the sagittal axis, in whatever order the plans hold the axes."""
    dataset.plan(spacing_mm=spacing_mm)
    plans = dataset.preprocessed / "nnUNetPlans.json"
    dataset.change_json(plans, lambda content: {**content, "transpose_forward": transpose})
    records = CasesFile.load(dataset.rada).cases
    sagittal = {case: record.slices[0].index for case, record in records.items() if record.labelled}
    lost = [case for case, index in sagittal.items() if not plane_survives(index, 20, 7)]
    assert lost
    (warning,) = dataset.findings("warning")
    assert warning.check == "resampling"
    assert f"loses {len(lost)} of 9 annotated planes for stock trainers" in warning.text
    assert all(f"{case} (1)" in warning.text for case in lost)


def test_an_image_that_is_labelled_and_unlabelled_is_a_warning(dataset: Dataset) -> None:
    """Found by its voxels: the file differs in every byte."""
    image = read_volume(dataset.file("imagesTr", OTHER)).array
    dataset.change(dataset.file("imagesTr", OTHER), lambda array: (image > image.mean()) * 200)
    dataset.change(dataset.file("imagesTr", UNLABELLED), lambda array: (image > image.mean()) * 200)
    warnings = [finding for finding in dataset.findings("warning") if finding.check == "same image"]
    assert [finding.text.split(" are")[0] for finding in warnings] == [f"{OTHER} (labelled), {UNLABELLED} (unlabelled)"]


def test_random_embeddings_are_a_warning(dataset: Dataset) -> None:
    """In the words of their stamp."""
    embed_dataset(dataset.raw, EmbeddingOptions(encoder="random", seed=0))
    (warning,) = dataset.findings("warning")
    assert (warning.check, warning.mend) == ("prompts", EMBED)
    assert "carries no semantics" in warning.text


def test_missing_embeddings_are_a_warning_that_names_the_trainers_without(dataset: Dataset) -> None:
    """A dataset of --encoder none is sound; RADA's trainers refuse it, and there is a command for that."""
    embed_dataset(dataset.raw, EmbeddingOptions(encoder="none"))
    assert dataset.findings("error") == []
    (warning,) = dataset.findings("warning")
    assert (warning.check, warning.mend) == ("prompts", EMBED)
    assert "prompts.safetensors, the embeddings of the annotated slices, is missing" in warning.text
    assert f"{', '.join(TRAINERS_WITHOUT_PROMPTS)} train without it; nnUNetTrainerRADA, " in warning.text


def test_the_trainers_said_to_need_no_embeddings_need_none() -> None:
    """And no other trainer does without."""
    without = [name for name, trainer in TRAINERS.items() if name == "nnUNetTrainerStock" or not used_prompts(trainer)]
    assert set(without) == set(TRAINERS_WITHOUT_PROMPTS)


def used_prompts(trainer: Any) -> set[str]:
    """The prompts that a trainer's settings leave on."""
    config = Config(**trainer.settings)
    return {name for name in ("text_prompt", "image_prompt") if getattr(config, name)}


def test_nan_is_found_although_readers_hide_it(dataset: Dataset) -> None:
    """ITK reads NaN in NIfTI files as 0, and so does nnU-Net."""
    path = dataset.file("imagesTr", UNLABELLED)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    (warning,) = dataset.findings("warning")
    assert (warning.check, warning.case) == ("intensities", UNLABELLED)
    assert "holds 1 voxels that are NaN or infinite" in warning.text


def test_stale_folds_beside_the_plans_are_a_warning(dataset: Dataset) -> None:
    """RADA replaces them; the line copies the right ones for stock trainers."""
    dataset.plan()
    (dataset.preprocessed / "splits_final.json").write_text("[]")
    (warning,) = dataset.findings("warning")
    assert warning.check == "folds"
    assert warning.mend.startswith("cp ")
    assert warning.mend.split()[1] == str(dataset.rada.splits_file)


def test_a_fold_that_lacks_a_class_is_a_warning(dataset: Dataset) -> None:
    """RADA refuses it; training on all cases works."""

    def forget(cases: Any) -> Any:
        for case in (FIRST, "phantom_labelled_02"):
            for annotated in cases["cases"][case]["slices"]:
                annotated["classes"] = [1]
        return cases

    dataset.change_json(dataset.rada.cases_file, forget)
    warnings = [finding for finding in dataset.findings("warning") if finding.check == "folds"]
    assert len(warnings) == 1
    assert "trains on no annotated slice of bean_organ" in warnings[0].text
    assert warnings[0].mend == "nnUNetv2_train 101 3d_fullres all -tr nnUNetTrainerRADA"


@pytest.fixture
def blank_planes(tmp_path: Path, request_for: Any, make_quickly: Any, write_volume: Any) -> Dataset:
    """One scan with two listed planes: one shows nothing, one lies in the scan's black rim; no unlabelled scan."""
    image = np.zeros((10, 12, 14), dtype=np.float32)
    image[2:, :, :] = np.random.default_rng(0).uniform(1, 2, (8, 12, 14))
    label = np.zeros(image.shape, dtype=np.uint8)
    label[5, 0:6, 4:9] = 1
    write_volume(tmp_path / "images" / "a_0000.nii.gz", image)
    write_volume(tmp_path / "labels" / "a.nii.gz", label)
    (tmp_path / "planes.csv").write_text("case,view,index\na,axial,0\na,axial,5\na,axial,8\n")
    folders = {"images": tmp_path / "images", "labels": tmp_path / "labels", "unlabelled": None}
    rest = {"test_images": None, "test_labels": None, "simulate": None, "planes_file": tmp_path / "planes.csv"}
    request = request_for(tmp_path, **folders, **rest, label_names=("organ",))
    make_quickly(request)
    return Dataset(request.folder, request.preprocessed / request.dataset)


def test_planes_that_say_little_are_pointed_out(blank_planes: Dataset) -> None:
    """Empty ones, one that nnU-Net crops away, one that touches the edge; one labelled scan, no unlabelled one."""
    found = [(finding.level, finding.check, finding.text) for finding in blank_planes.findings("warning", "note")]
    texts = [f"{level} {check} {text}" for level, check, text in found]
    for start in (
        "note empty axial slice 0 shows no class",
        "note empty axial slice 8 shows no class",
        "note edge the annotation of axial slice 5 touches the edge of the scan",
        "warning crop axial slice 0 lies outside the box of non-zero voxels",
        "warning records one labelled case validates on itself",
        "warning records no unlabelled cases",
    ):
        assert len([text for text in texts if text.startswith(start)]) == 1, (start, texts)
