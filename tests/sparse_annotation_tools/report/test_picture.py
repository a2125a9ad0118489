"""The picture is drawn from the files of a raw dataset and of a prediction folder, upright and to scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.phantom import Directions, Phantom, make_phantom
from sparse_annotation_tools.report.case_volumes import RawDataset
from sparse_annotation_tools.report.picture import case_picture, dataset_picture
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile, RadaFolder

IGNORE_VALUE = 2
SHAPE, SPACING_MM = (16, 28, 24), (4.0, 2.0, 2.5)
# Array axis of each view in the arrays of `identity` and `permuted` phantoms.
AXES = {
    "identity": {"axial": 0, "coronal": 1, "sagittal": 2},
    "permuted": {"sagittal": 0, "axial": 1, "coronal": 2},
    "flipped": {"axial": 0, "coronal": 1, "sagittal": 2},
}


def _save(array: Any, phantom: Phantom, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.CopyInformation(phantom.to_sitk()[0])
    SimpleITK.WriteImage(image, str(path))


def _make_dataset(folder: Path, *, directions: Directions = "identity") -> Path:
    """A raw dataset of one labelled and two test phantoms, made by hand, with predictions beside it."""
    labelled = make_phantom(0, shape=SHAPE, spacing_mm=SPACING_MM, directions=directions)
    axes = AXES[directions]
    slices = []
    annotated = np.full(labelled.label.shape, IGNORE_VALUE, np.uint8)
    for view, axis in axes.items():
        # Brightness, unlike area, has one maximum: flips cannot move it.
        brightness = (labelled.label * labelled.image).sum(axis=tuple(other for other in range(3) if other != axis))
        index = int(brightness.argmax())
        np.moveaxis(annotated, axis, 0)[index] = np.moveaxis(labelled.label, axis, 0)[index]
        slices.append(AnnotatedSlice(view=view, axis=axis, index=index, area=1, classes=(1,)))
    raw = folder / "Dataset001_Phantom"
    write_json(
        raw / "dataset.json",
        {"labels": {"background": 0, "organ": 1, "ignore": IGNORE_VALUE}, "file_ending": ".nii.gz", "numTraining": 1},
    )
    rada = RadaFolder(root=raw / "rada")
    case = Case(
        labelled=True,
        shape=labelled.label.shape,
        sagittal_axis=axes["sagittal"],
        slices=tuple(slices),
        networks={slice_.view: (k,) for k, slice_ in enumerate(slices)},
    )
    CasesFile(
        dataset="Dataset001_Phantom",
        modality="MR",
        classes={"organ": 1},
        strategy="SCA",
        seed=0,
        propagation={},
        cases={"train": case},
        versions={},
        command="",
    ).save(rada)
    _save(labelled.image, labelled, raw / "imagesTr" / "train_0000.nii.gz")
    _save(annotated, labelled, raw / "labelsTr" / "train.nii.gz")
    for k in range(3):
        _save(labelled.label, labelled, rada.propagated("train", k))
    _save(labelled.label, labelled, rada.fused("train"))
    for seed, case_name in ((1, "good"), (2, "bad")):
        test = make_phantom(seed, shape=SHAPE, spacing_mm=SPACING_MM, directions=directions)
        _save(test.image, test, raw / "imagesTs" / f"{case_name}_0000.nii.gz")
        _save(test.label, test, raw / "labelsTs" / f"{case_name}.nii.gz")
        guess = test.label if case_name == "good" else np.zeros_like(test.label)
        _save(guess, test, folder / "predictions" / f"{case_name}.nii.gz")
    return raw


def _pixels(path: Path) -> Any:
    return matplotlib.image.imread(path)[..., :3]


def _share_near(pixels: Any, colour: tuple[float, float, float]) -> float:
    return float((np.abs(pixels - np.asarray(colour)).max(axis=-1) < 0.05).mean())


@pytest.mark.slow
def test_the_dataset_picture_shows_planes_propagation_and_prediction(tmp_path: Path) -> None:
    """The picture holds image content, the class colour, and more rows with predictions than without."""
    raw = _make_dataset(tmp_path)
    dataset_picture(raw, tmp_path / "without.png")
    dataset_picture(raw, tmp_path / "with.png", predictions=tmp_path / "predictions")
    without, with_predictions = _pixels(tmp_path / "without.png"), _pixels(tmp_path / "with.png")
    assert with_predictions.shape[0] > 2 * without.shape[0] * 0.8
    assert len(np.unique((with_predictions * 255).astype(int).reshape(-1, 3), axis=0)) > 500
    orange = (0xE6 / 255, 0x9F / 255, 0.0)
    assert _share_near(with_predictions, orange) > 0.0005


def test_what_made_the_embeddings_stands_above_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of results of random embeddings says so; one of the dataset alone has no predictions to speak of."""
    raw = _make_dataset(tmp_path)
    headings: list[str] = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda self, text, **_: headings.append(text))
    section = {"configurations": {"3d_fullres": {"rada": {"encoder": "encoder=random: carries no semantics"}}}}
    write_json(tmp_path / "predictions" / "plans.json", section)
    dataset_picture(raw, tmp_path / "without.png")
    assert headings == []
    dataset_picture(raw, tmp_path / "with.png", predictions=tmp_path / "predictions")
    assert headings == ["embeddings: encoder=random: carries no semantics"]


def test_a_case_looks_the_same_from_every_direction_matrix(tmp_path: Path) -> None:
    """Permuted and flipped files give the volumes, planes and scale of the identity file, upright."""
    reference = RawDataset(_make_dataset(tmp_path / "identity")).read("train")
    for directions in ("permuted", "flipped"):
        case = RawDataset(_make_dataset(tmp_path / directions, directions=directions)).read("train")
        np.testing.assert_allclose(case.image, reference.image, rtol=1e-6)
        np.testing.assert_array_equal(case.fused, reference.fused)
        assert case.spacing_mm == pytest.approx(reference.spacing_mm)
        assert {plane.view: (plane.axis, plane.index) for plane in case.planes} == {
            plane.view: (plane.axis, plane.index) for plane in reference.planes
        }


def test_only_what_an_annotator_drew_counts_as_annotation(tmp_path: Path) -> None:
    """The ignore value never shows as a class, and every drawn plane is complete."""
    case = RawDataset(_make_dataset(tmp_path)).read("train")
    assert case.annotation is not None
    assert case.fused is not None
    assert set(np.unique(case.annotation)) == {0, 1}
    for plane in case.planes:
        drawn = np.moveaxis(case.annotation, plane.axis, 0)[plane.index]
        np.testing.assert_array_equal(drawn, np.moveaxis(case.fused, plane.axis, 0)[plane.index])


def test_panels_are_to_scale_and_head_up(tmp_path: Path) -> None:
    """Panels have the aspect of their voxels in millimetres, and sagittal and coronal ones have the head on top."""
    from sparse_annotation_tools.report.picture import _panel

    case = RawDataset(_make_dataset(tmp_path)).read("train")
    aspects = [_panel(case, axis, 8, "").aspect for axis in range(3)]
    assert aspects == pytest.approx([2.0 / 2.5, 4.0 / 2.5, 4.0 / 2.0])
    gradient = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None, None], SHAPE)
    upright = type(case)(name="gradient", image=gradient, spacing_mm=SPACING_MM, affine=np.eye(4))
    for axis in (1, 2):
        panel = _panel(upright, axis, 8, "")
        assert panel.image[0].mean() > panel.image[-1].mean()


def test_propagation_is_judged_on_a_plane_through_the_organ(tmp_path: Path) -> None:
    """A label that runs past the organ does not drag the plane out of it, and an annotated plane is not shown again."""
    from sparse_annotation_tools.report.cuts import plane_between

    case = RawDataset(_make_dataset(tmp_path)).read("train")
    assert case.fused is not None
    runaway = np.ones_like(case.fused)
    axis, index = plane_between(replace(case, propagated=(runaway,) * 3))
    assert (np.moveaxis(case.fused, axis, 0)[index] > 0).any()
    assert (axis, index) not in {(plane.axis, plane.index) for plane in case.planes}


def test_the_worst_the_middle_and_the_best_prediction_are_shown(tmp_path: Path) -> None:
    """Predicted cases are not hand-picked: with one row allowed it is the worst, with two the worst and the best."""
    from sparse_annotation_tools.report.picture import _mean_dice, _spread

    raw = RawDataset(_make_dataset(tmp_path))
    cases = [raw.read(name, predictions=tmp_path / "predictions") for name in ("good", "bad")]
    assert [_mean_dice(case, raw.classes) for case in cases] == [1.0, 0.0]
    assert _spread(["bad", "so-so", "good"], 1) == ["bad"]
    assert _spread(["bad", "so-so", "good"], 2) == ["bad", "good"]
    assert _spread(["bad", "so-so", "good"], 5) == ["bad", "so-so", "good"]


def test_a_single_case_picture_without_truth(tmp_path: Path) -> None:
    """A prediction on a scan without truth is drawn without Dice."""
    raw = RawDataset(_make_dataset(tmp_path))
    (raw.folder / "labelsTs" / "good.nii.gz").unlink()
    case = raw.read("good", predictions=tmp_path / "predictions")
    assert case.truth is None
    case_picture(case, raw.classes, tmp_path / "case.png")
    assert _pixels(tmp_path / "case.png").std() > 0.1


def test_missing_and_wrongly_sized_files_are_named(tmp_path: Path) -> None:
    """Each thing that can be wrong with the input is one line that names the file or case."""
    folder = _make_dataset(tmp_path)
    raw = RawDataset(folder)
    with pytest.raises(UserError, match="case nobody has no image"):
        raw.read("nobody")
    with pytest.raises(UserError, match="nothing to show"):
        case_picture(raw.read("good"), raw.classes, tmp_path / "case.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no predicted"):
        dataset_picture(folder, tmp_path / "x.png", predictions=tmp_path / "empty")
    phantom = make_phantom(1, shape=(8, 8, 8))
    _save(phantom.label, phantom, tmp_path / "predictions" / "good.nii.gz")
    with pytest.raises(UserError, match=r"good\.nii\.gz is not on the grid of its scan: size"):
        raw.read("good", predictions=tmp_path / "predictions")
    with pytest.raises(UserError, match="is no raw dataset"):
        RawDataset(tmp_path)
    assert not list(tmp_path.glob("*.png"))
