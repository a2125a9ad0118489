"""Tests of the raw dataset: its contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.experiment_planning import verify_dataset_integrity
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.schema import VIEWS, CasesFile, RadaFolder
from sparse_annotation_tools.slices.planes import off_planes, on_plane

SHAPE = (12, 16, 20)
SPACING_MM = (3.0, 2.0, 2.0)
IGNORE = 3
FIRST = "phantom_labelled_00"

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]
ReadArray = Callable[[Path], NDArray[Any]]


def test_the_dataset_keeps_its_contract(
    phantoms: Path, request_for: Any, make_quickly: Make, read_array: ReadArray
) -> None:
    """Every file of the contract is there and no other; cases.json says what was made and reads back equal."""
    request = request_for(phantoms)
    made = make_quickly(request)
    folder = request.folder
    labelled = [f"phantom_labelled_0{k}" for k in range(3)]
    unlabelled = [f"phantom_unlabelled_0{k}" for k in range(2)]
    train, test = [*labelled, *unlabelled], ["phantom_test_00"]
    expected = {"dataset.json", "rada/cases.json", "rada/splits_final.json"}
    expected |= {f"imagesTr/{case}_0000.nii.gz" for case in train} | {f"labelsTr/{case}.nii.gz" for case in train}
    expected |= {f"imagesTs/{case}_0000.nii.gz" for case in test} | {f"labelsTs/{case}.nii.gz" for case in test}
    expected |= {f"rada/{part}/{case}.nii.gz" for part in ("fused", "confidence") for case in labelled}
    expected |= {f"rada/propagated/{case}_{k}.nii.gz" for case in labelled for k in range(3)}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {name for name in found if name.startswith(".propagated/")}  # for --update
    assert found - kept == expected
    assert len(kept) == 3 * 3 * 2  # cases, slices, directions
    assert json.loads((folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "lobed_organ": 1, "bean_organ": 2, "ignore": IGNORE},
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    assert CasesFile.load(RadaFolder(root=folder / "rada")) == made
    assert made.labelled == labelled
    assert made.unlabelled == unlabelled
    assert made.strategy == "SCA"
    assert made.cases[FIRST].networks == {"sagittal": (0,), "coronal": (1,), "axial": (2,)}
    assert [annotated.view for annotated in made.cases[FIRST].slices] == list(VIEWS)


def test_labels_hold_the_annotated_slices_and_ignore_elsewhere(
    phantoms: Path, request_for: Any, make_quickly: Make, read_array: ReadArray
) -> None:
    """Unlabelled cases are ignored everywhere; test labels stay dense; side volumes agree with the annotation."""
    request = request_for(phantoms)
    made = make_quickly(request)
    rada = RadaFolder(root=request.folder / "rada")
    for case in made.labelled:
        dense = read_array(phantoms / "labelled" / "labels" / f"{case}.nii.gz")
        label = read_array(request.folder / "labelsTr" / f"{case}.nii.gz")
        unknown = off_planes(np.ones(dense.shape, dtype=bool), made.cases[case].planes)
        np.testing.assert_array_equal(label, np.where(unknown, IGNORE, dense))
        for k, plane in enumerate(made.cases[case].planes):
            propagated = read_array(rada.propagated(case, k))
            np.testing.assert_array_equal(propagated[on_plane(plane)], dense[on_plane(plane)])
        np.testing.assert_array_equal(read_array(rada.fused(case))[~unknown], dense[~unknown])
        assert (read_array(rada.confidence(case))[~unknown] == 255).all()
    for case in made.unlabelled:
        assert (read_array(request.folder / "labelsTr" / f"{case}.nii.gz") == IGNORE).all()
    test = "phantom_test_00.nii.gz"
    truth = read_array(phantoms / "test" / "labels" / test)
    np.testing.assert_array_equal(read_array(request.folder / "labelsTs" / test), truth)


def test_images_are_untouched(phantoms: Path, request_for: Any, make_quickly: Make) -> None:
    """The very bytes, for labelled, unlabelled and test images."""
    request = request_for(phantoms)
    make_quickly(request)
    for part, target in (("labelled", "imagesTr"), ("unlabelled", "imagesTr"), ("test", "imagesTs")):
        for source in (phantoms / part / "images").iterdir():
            assert (request.folder / target / source.name).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("labelled", "folds"), [(7, 5), (5, 5), (3, 3), (2, 2)])
def test_folds_are_over_labelled_cases_and_every_fold_trains_on_all_unlabelled_ones(
    tmp_path: Path, request_for: Any, make_quickly: Make, labelled: int, folds: int
) -> None:
    """min(5, n) folds; each labelled case is held out once and never trained on where it is."""
    write_phantom_set(tmp_path, labelled=labelled, unlabelled=2, test=0, shape=SHAPE, spacing_mm=SPACING_MM)
    request = request_for(tmp_path, label_names=("organ",), test_images=None, test_labels=None)
    made = make_quickly(request)
    splits = json.loads((request.folder / "rada" / "splits_final.json").read_text())
    assert len(splits) == folds
    assert sorted(case for fold in splits for case in fold["val"]) == made.labelled
    for fold in splits:
        assert set(fold["train"]) == set(made.cases) - set(fold["val"])


def test_a_single_labelled_case_validates_on_itself_with_a_warning(
    tmp_path: Path, request_for: Any, make_quickly: Make
) -> None:
    """There is nothing else to validate on."""
    write_phantom_set(tmp_path, labelled=1, unlabelled=1, test=0, shape=SHAPE, spacing_mm=SPACING_MM)
    request = request_for(tmp_path, label_names=("organ",), test_images=None, test_labels=None)
    warnings: list[str] = []
    make_quickly(request, warnings)
    splits = json.loads((request.folder / "rada" / "splits_final.json").read_text())
    assert splits == [{"train": [FIRST, "phantom_unlabelled_00"], "val": [FIRST]}]
    assert any("validates on itself" in line for line in warnings)


def test_the_same_image_in_training_and_test_is_warned_about(
    phantoms: Path, request_for: Any, make_quickly: Make
) -> None:
    """By content, whatever its name."""
    for part, ending in (("images", "_0000.nii.gz"), ("labels", ".nii.gz")):
        source = phantoms / "labelled" / part / f"{FIRST}{ending}"
        (phantoms / "test" / part / f"phantom_test_00{ending}").write_bytes(source.read_bytes())
    warnings: list[str] = []
    make_quickly(request_for(phantoms), warnings)
    assert warnings == [f"test case phantom_test_00 is the same image as training case {FIRST}"]


def test_a_very_oblique_scan_is_warned_about(phantoms: Path, request_for: Any, make_quickly: Make) -> None:
    """With the case's name, from whichever process read it."""
    turn = np.radians(35)
    direction = (np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1)
    for path in (
        phantoms / "labelled" / "images" / f"{FIRST}_0000.nii.gz",
        phantoms / "labelled" / "labels" / f"{FIRST}.nii.gz",
    ):
        image = sitk.ReadImage(str(path))
        image.SetDirection(direction)
        sitk.WriteImage(image, str(path))
    warnings: list[str] = []
    make_quickly(request_for(phantoms), warnings)
    assert len(warnings) == 1
    assert f"{FIRST}: the grid is oblique by 35 degrees" in warnings[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group", ["labelled", "unlabelled", "test"])
def test_voxels_that_are_no_number_are_warned_about(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    read_array: ReadArray,
    write_volume: Callable[..., Path],
    group: str,
    dtype: type,
) -> None:
    """Readers take them for 0 in NIfTI files, without a word; one line a case."""
    path = phantoms / group / "images" / f"phantom_{group}_00_0000.nii.gz"
    array = read_array(path).astype(dtype)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    write_volume(path, array, like=path)
    assert (read_array(path)[0, 0, :3] == 0).all()
    warnings: list[str] = []
    make_quickly(request_for(phantoms), warnings)
    assert warnings == [
        f"phantom_{group}_00: the scan holds 3 voxels that are NaN or infinite, which nnU-Net reads as 0; "
        "replace them by a finite value"
    ]


def test_several_channels_are_kept_and_one_is_registered(
    phantoms: Path, request_for: Any, make_quickly: Make, propagate_by_copying: Any
) -> None:
    """`registration_channel` chooses the image that propagation sees; all channels reach nnU-Net."""
    for part in ("labelled", "unlabelled", "test"):
        for path in list((phantoms / part / "images").iterdir()):
            image = sitk.ReadImage(str(path))
            sitk.WriteImage(image * 0.0 + 7.0 + image * 1e-6, str(path).replace("_0000", "_0001"))
    seen = []

    def watch(image: NDArray[Any], *arguments: Any) -> NDArray[np.uint8]:
        seen.append(float(image.mean()))
        return propagate_by_copying(image, *arguments)

    request = request_for(phantoms, registration_channel=1)
    make_quickly(request, propagate=watch)
    assert np.allclose(seen, 7, atol=0.1)
    assert json.loads((request.folder / "dataset.json").read_text())["channel_names"] == {"0": "MRI", "1": "MRI"}
    assert (request.folder / "imagesTr" / f"{FIRST}_0001.nii.gz").is_file()
    with pytest.raises(UserError, match=r"registration-channel is 2, but the images have 0 to 1"):
        make_quickly(request_for(phantoms, registration_channel=2))


def test_on_ct_nnunet_finds_the_right_fingerprint_and_keeps_it(
    phantoms: Path, request_for: Any, make_quickly: Make, read_array: ReadArray
) -> None:
    """Its statistics are of annotated foreground; what nnU-Net would extract by itself is far off."""
    request = request_for(phantoms, modality="CT")
    made = make_quickly(request)
    assert json.loads((request.folder / "dataset.json").read_text())["channel_names"] == {"0": "CT"}
    key = "foreground_intensity_properties_per_channel"
    kept = DatasetFingerprintExtractor(101, num_processes=1).run(overwrite_existing=False)
    assert kept == json.loads((request.preprocessed / request.dataset / "dataset_fingerprint.json").read_text())
    drawn = []
    for case in made.labelled:
        image = read_array(request.images / f"{case}_0000.nii.gz")
        label = read_array(request.folder / "labelsTr" / f"{case}.nii.gz")
        drawn.append(image[(label > 0) & (label < IGNORE)].mean())
    assert kept[key]["0"]["mean"] == pytest.approx(np.mean(drawn), rel=1e-4)
    assert len(kept["spacings"]) == len(made.cases)
    image, label = (request.folder / part for part in (f"imagesTr/{FIRST}_0000.nii.gz", f"labelsTr/{FIRST}.nii.gz"))
    _, _, trapped, _, _ = DatasetFingerprintExtractor.analyze_case([str(image)], str(label), SimpleITKIO, 5000)
    assert abs(trapped[0].mean() - drawn[0]) > 0.2 * drawn[0]


def test_nnunet_accepts_the_dataset(
    tmp_path: Path, request_for: Any, make_quickly: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own integrity check passes, on scans stored in permuted order."""
    # Threads instead of its processes: each of those would spend seconds importing torch.
    threads = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(verify_dataset_integrity, "multiprocessing", threads)

    write_phantom_set(
        tmp_path, labelled=2, unlabelled=1, test=0, shape=SHAPE, spacing_mm=SPACING_MM, directions="permuted", classes=2
    )
    request = request_for(tmp_path, test_images=None, test_labels=None)
    make_quickly(request)
    verify_dataset_integrity.verify_dataset_integrity(str(request.folder), num_processes=1)
