"""Tests of the dataset check: a sound dataset passes, and each fault is found, once, with what to type."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from numpy.typing import NDArray

from nnunetv2_rada.config import Config
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.dataset import make_dataset
from sparse_annotation_tools.dataset_check import TRAINERS_WITHOUT_PROMPTS, check_dataset
from sparse_annotation_tools.findings import Finding
from sparse_annotation_tools.lost_planes import plane_survives
from sparse_annotation_tools.phantom import CLASS_NAMES, write_phantom_set
from sparse_annotation_tools.prompts import embed_dataset
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.request import DatasetRequest
from sparse_annotation_tools.schema import CasesFile, RadaFolder
from sparse_annotation_tools.volumes import read_volume, write_label

NAME = "Dataset101_Phantom"
FIRST, OTHER, UNLABELLED, TEST = (
    "phantom_labelled_00",
    "phantom_labelled_01",
    "phantom_unlabelled_00",
    "phantom_test_00",
)
COMMAND = "rada-make-sparse-dataset -d 101 -n Phantom"
REMAKE = f"{COMMAND} --overwrite"


def copy_slice(image: NDArray[Any], spacing: object, axis: int, index: int, label: NDArray[Any], *rest: object) -> Any:
    """Stand in for registration."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound CT dataset of two classes, made by the real maker, registration aside."""
    root = tmp_path_factory.mktemp("made")
    scans = root / "scans"
    write_phantom_set(
        scans, labelled=3, unlabelled=2, test=1, shape=(12, 16, 20), spacing_mm=(3.0, 2.0, 2.0), classes=2
    )
    request = DatasetRequest(
        raw=root / "raw", preprocessed=root / "preprocessed", dataset=NAME, label_names=CLASS_NAMES, modality="CT",
        images=scans / "labelled" / "images", labels=scans / "labelled" / "labels", simulate="SCA",
        unlabelled=scans / "unlabelled" / "images", test_images=scans / "test" / "images",
        test_labels=scans / "test" / "labels", command=COMMAND,
    )  # fmt: skip
    options = EmbeddingOptions(encoder="alpha-clip-tiny")
    heard: list[str] = []
    make_dataset(request, embed=lambda folder: embed_dataset(folder, options), warn=heard.append, propagate=copy_slice)
    return root


@pytest.fixture
def dataset(made: Path, nnunet_folders: Any) -> Dataset:
    """A copy of the sound dataset."""
    for part in ("raw", "preprocessed"):
        shutil.copytree(made / part / NAME, getattr(nnunet_folders, part) / NAME)
    return Dataset(nnunet_folders.raw / NAME, nnunet_folders.preprocessed / NAME)


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


# ---- one fault each ------------------------------------------------------------------------------------------------


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
    dataset.change(dataset.file("imagesTs", TEST), lambda image: np.arange(image.size).reshape(image.shape) % 251)
    dataset.change(dataset.file("imagesTr", UNLABELLED), lambda image: np.arange(image.size).reshape(image.shape) % 251)


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


PLAN = "nnUNetv2_plan_and_preprocess -d 101 -c 3d_fullres"
EMBED = "rada-embed -d 101 --encoder alpha-clip-tiny"
PREPROCESS = "nnUNetv2_preprocess -d 101 -c 3d_fullres"


@pytest.mark.parametrize(
    ("spoil", "check", "text", "mend"),
    [
        (corner_of_a_plane_erased, "planes", "is cut off in labelsTr: 32 of 320 pixels are not annotated", REMAKE),
        (painted_off_the_planes, "planes", "1 annotated voxels off its annotated planes", REMAKE),
        (painted_on_a_plane, "planes", "labelsTr was changed after the dataset was made", REMAKE),
        (painted_unlabelled, "planes", "annotated voxels though cases.json calls the case unlabelled", REMAKE),
        (label_moved, "geometry", f"labelsTr/{FIRST}.nii.gz is not on the grid of the image: origin", REMAKE),
        (propagated_cut, "geometry", f"propagated/{FIRST}_1.nii.gz is not on the grid of the image: size", REMAKE),
        (confidence_stretched, "geometry", f"confidence/{FIRST}.nii.gz is not on the grid of the image: spac", REMAKE),
        (fused_missing, "files", f"fused/{FIRST}.nii.gz does not exist", REMAKE),
        (fused_of_another_class, "labels", f"fused/{FIRST}.nii.gz holds label 7, expected 0 to 2", REMAKE),
        (image_cut_off, "files", f"{FIRST}_0000.nii.gz is cut off", REMAKE),
        (image_constant, "intensities", "has the same value in every voxel", REMAKE),
        (other_class_in_a_test_label, "labels", f"labelsTs/{TEST}.nii.gz holds label 3, expected 0 to 2", REMAKE),
        (
            an_image_of_training_in_test,
            "same image",
            f"{UNLABELLED} (unlabelled), {TEST} (test) are the same image",
            REMAKE,
        ),
        (records_of_another_version, "records", "has schema_version 99, expected 1", ""),
        (never_finished, "records", "not finished", COMMAND),
        (unknown_case, "records", "is in imagesTr, but cases.json does not know it", REMAKE),
        (lost_case_name, "names", "ends in _seg, and nnU-Net drops such cases", REMAKE),
        (other_classes_in_dataset_json, "records", "dataset.json has the classes 2 (lobed_organ), 1 (bean", REMAKE),
        (class_never_annotated, "classes", "bean_organ is on annotated slices of 0 of 3 labelled cases", REMAKE),
        (prompts_cut_off, "prompts", "is no whole .safetensors file", EMBED),
        (prompts_of_fewer_cases, "prompts", f"holds no embedding of {FIRST}", EMBED),
        (folds_missing, "folds", "rada/splits_final.json cannot be read", REMAKE),
        (folds_stale, "folds", "fold 0 of rada/splits_final.json is stale: it names gone", REMAKE),
        (fingerprint_missing, "fingerprint", "is missing: nnU-Net would count voxels", f"{COMMAND}; then {PLAN}"),
        pytest.param(
            fingerprint_of_nnunet,
            "fingerprint",
            "nnU-Net counted those nobody annotated",
            f"{COMMAND}; then {PLAN}",
            marks=pytest.mark.slow,
        ),
        (plans_of_another_fingerprint, "fingerprint", "was made from another dataset_fingerprint.json", PLAN),
        (preprocessed_case_missing, "preprocessed", f"lacks {UNLABELLED}", PREPROCESS),
        (preprocessed_case_too_many, "preprocessed", "holds, from another state of the dataset, gone", PREPROCESS),
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
    fingerprint_of_nnunet(dataset)
    assert "fingerprint" in {finding.check for finding in dataset.findings("error")}
    make_quickly(request, propagate=never)
    assert "fingerprint" not in {finding.check for finding in dataset.findings("error")}


# ---- what is no error ----------------------------------------------------------------------------------------------


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
