"""Tests of suggesting slices for a folder of scans: what is known decides the rule, and nobody's work is lost."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.phantom import Directions, write_phantom_set
from sparse_annotation_tools.slices.planes import axes_of_views, read_planes_file
from sparse_annotation_tools.suggestion import scan
from sparse_annotation_tools.suggestion.files import Record
from sparse_annotation_tools.suggestion.suggest import SuggestionRequest, suggest_slices

SHAPE, SPACING_MM = (20, 26, 30), (4.0, 3.0, 3.0)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two phantoms with dense labels."""
    write_phantom_set(tmp_path / "set", labelled=2, unlabelled=0, test=0, shape=SHAPE, spacing_mm=SPACING_MM)
    return tmp_path / "set" / "labelled"


@pytest.fixture
def request_for(tmp_path: Path, scans: Path) -> SuggestionRequest:
    """A request for the first slices of the phantoms."""
    return SuggestionRequest(images=scans / "images", output=tmp_path / "out")


def only_rule(records: list[Record]) -> str:
    """The one rule that all scans were given."""
    (rule,) = {record.rule for record in records}
    return rule


def truth_of(scans: Path, case: str) -> Any:
    """The dense label."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "labels" / f"{case}.nii.gz")))


def cut(array: Any, axis: int, index: int) -> Any:
    """A plane of an array."""
    return np.moveaxis(array, axis, 0)[index]


def test_unlabelled_scans_get_one_slice_a_view(request_for: SuggestionRequest, scans: Path) -> None:
    """With pictures, empty label maps on the grid of the scans, and a list that the maker reads."""
    records, left_out = suggest_slices(request_for)
    assert only_rule(records) == scan.MIDDLE
    assert left_out == []
    listed = read_planes_file(request_for.output / "planes.csv")
    for record in records:
        assert [view for view, _ in listed[record.case]] == ["sagittal", "coronal", "axial"]
        assert (request_for.output / "pictures" / f"{record.case}.png").stat().st_size > 10_000
        label = sitk.ReadImage(str(request_for.output / "labels" / f"{record.case}.nii.gz"))
        image = sitk.ReadImage(str(scans / "images" / f"{record.case}_0000.nii.gz"))
        assert not sitk.GetArrayFromImage(label).any()
        assert label.GetPixelID() == sitk.sitkUInt8
        for what in ("Size", "Spacing", "Origin", "Direction"):
            assert getattr(label, f"Get{what}")() == pytest.approx(getattr(image, f"Get{what}")())


def test_a_dense_label_gives_the_largest_slices(request_for: SuggestionRequest, scans: Path) -> None:
    """For example a prediction of a scan that is to be annotated."""
    records, _ = suggest_slices(replace(request_for, labels=scans / "labels"))
    assert only_rule(records) == scan.LARGEST
    for record in records:
        truth = truth_of(scans, record.case) > 0
        for each in record.suggested:
            areas = np.moveaxis(truth, each.axis, 0).sum(axis=(1, 2))
            assert areas[each.index] == areas.max()


def test_drawn_slices_are_kept_and_one_more_is_suggested(
    request_for: SuggestionRequest, scans: Path, tmp_path: Path, write_volume: Callable[..., Path]
) -> None:
    """The list holds the drawn slices too, and the label map what was drawn; a scan without a label map is left out."""
    case = "phantom_labelled_00"
    truth = truth_of(scans, case)
    sparse = np.zeros_like(truth)
    drawn = [(0, 10), (1, 13), (2, 15)]
    for axis, index in drawn:
        cut(sparse, axis, index)[...] = cut(truth, axis, index)
    write_volume(tmp_path / "drawn" / f"{case}.nii.gz", sparse, like=scans / "labels" / f"{case}.nii.gz")
    records, left_out = suggest_slices(replace(request_for, labels=tmp_path / "drawn"))
    assert left_out == ["phantom_labelled_01"]
    (record,) = records
    assert record.rule == scan.BETWEEN
    assert [(each.axis, each.index) for each in record.slices if each.state == "drawn"] == drawn
    (new,) = record.suggested
    assert (new.axis, new.index) not in drawn
    assert cut(truth, new.axis, new.index).any()
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(request_for.output / "labels" / f"{case}.nii.gz")))
    np.testing.assert_array_equal(written, sparse)


def test_where_nothing_is_painted_nothing_is_suggested(
    request_for: SuggestionRequest, scans: Path, tmp_path: Path
) -> None:
    """One scan without paint, or with an empty prediction, is told of; if there are only such scans, it is an error."""
    shutil.copytree(scans / "labels", tmp_path / "labels")
    empty = sorted((tmp_path / "labels").iterdir())[0]
    image = sitk.ReadImage(str(empty))
    sitk.WriteImage(image * 0, str(empty))
    planes = tmp_path / "planes.csv"
    planes.write_text(f"case,view,index\n{empty.name.removesuffix('.nii.gz')},axial,4\n")
    records, _ = suggest_slices(replace(request_for, labels=tmp_path / "labels", planes_file=planes))
    assert [bool(record.suggested) for record in records] == [False, True]
    assert (request_for.output / "pictures" / empty.name.replace(".nii.gz", ".png")).is_file()
    sorted((tmp_path / "labels").iterdir())[1].unlink()
    with pytest.raises(UserError, match="paint the slices first"):
        suggest_slices(replace(request_for, labels=tmp_path / "labels", planes_file=planes))


def write_segmentation(path: Path, array: Any, segments: dict[str, int], like: Path) -> None:
    """Write what 3D Slicer saves: a .seg.nrrd whose segments have names and values."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sitk.ReadImage(str(like)))
    for number, (name, value) in enumerate(segments.items()):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_segments_of_slicer_become_the_classes_of_their_names(
    request_for: SuggestionRequest, scans: Path, tmp_path: Path
) -> None:
    """In whatever order they were added: by their values, the next dataset would swap two classes silently."""
    case = "phantom_labelled_00"
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[10, 8:18, 8:15], drawn[10, 8:18, 15:22] = 1, 2
    like = scans / "images" / f"{case}_0000.nii.gz"
    write_segmentation(tmp_path / "drawn" / f"{case}.seg.nrrd", drawn, {"wall": 1, "Left Atrium": 2}, like)
    request = replace(request_for, labels=tmp_path / "drawn")
    with pytest.raises(UserError, match="has segments wall, Left Atrium, and no class is named; give --label-names"):
        suggest_slices(request)
    suggest_slices(replace(request, label_names=("left_atrium", "wall")))
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(request_for.output / "labels" / f"{case}.nii.gz")))
    np.testing.assert_array_equal(written, np.array([0, 2, 1])[drawn])


def test_a_single_segment_of_slicer_needs_no_name(request_for: SuggestionRequest, scans: Path, tmp_path: Path) -> None:
    """There is nothing to confuse it with."""
    case = "phantom_labelled_00"
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[10, 8:18, 8:15] = 1
    like = scans / "images" / f"{case}_0000.nii.gz"
    write_segmentation(tmp_path / "drawn" / f"{case}.seg.nrrd", drawn, {"Segment_1": 1}, like)
    suggest_slices(replace(request_for, labels=tmp_path / "drawn"))
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(request_for.output / "labels" / f"{case}.nii.gz")))
    np.testing.assert_array_equal(written, drawn)


def test_the_prediction_decides_where_there_is_one(
    request_for: SuggestionRequest, scans: Path, tmp_path: Path, write_volume: Callable[..., Path]
) -> None:
    """Three networks disagree on one coronal slice of one scan."""
    case = "phantom_labelled_01"
    truth = truth_of(scans, case)
    for network in range(3):
        predicted = truth.copy()
        predicted[5:15, 12, 5:25] = network == 0
        like = scans / "labels" / f"{case}.nii.gz"
        write_volume(tmp_path / f"net{network}" / f"{case}.nii.gz", predicted, like=like)
    folders = tuple(tmp_path / f"net{network}" for network in range(3))
    records, left_out = suggest_slices(replace(request_for, predictions=folders))
    assert left_out == ["phantom_labelled_00"]
    assert only_rule(records) == scan.DOUBT
    (new,) = records[0].suggested
    assert (new.view, new.index) == ("coronal", 12)
    assert new.score == pytest.approx(10 * 20 / 3 * 12, rel=1e-2)


def test_a_dataset_knows_its_drawn_slices(
    request_for: SuggestionRequest, scans: Path, nnunet_folders: Any, make_quickly: Callable[..., Any], tmp_path: Path
) -> None:
    """The confidence of the fused label decides, and the slices in cases.json are not suggested again."""
    from sparse_annotation_tools.dataset.request import DatasetRequest

    made = DatasetRequest(
        raw=nnunet_folders.raw,
        dataset="Dataset101_Phantom",
        images=scans / "images",
        labels=scans / "labels",
        label_names=("organ",),
        simulate="SCA",
    )
    cases = make_quickly(made).cases
    records, _ = suggest_slices(replace(request_for, predictions=(made.folder,), slices=2))
    assert only_rule(records) == scan.DOUBT
    for record in records:
        drawn = {each.plane for each in cases[record.case].slices}
        assert {(each.axis, each.index) for each in record.slices if each.state == "drawn"} == drawn
        assert len(record.suggested) == 2
        assert not drawn & {(each.axis, each.index) for each in record.suggested}


@pytest.mark.slow
def test_a_point_or_a_reference_says_where_the_organ_is(
    request_for: SuggestionRequest, scans: Path, tmp_path: Path
) -> None:
    """The point's slices meet in it; the registered reference comes close to the largest slices."""
    case = "phantom_labelled_01"
    image = sitk.ReadImage(str(scans / "images" / f"{case}_0000.nii.gz"))
    left, back, head = image.TransformIndexToPhysicalPoint((7, 8, 9))
    (tmp_path / "centres.csv").write_text(f"case,r,a,s\n{case},{-left},{-back},{head}\n")
    records, _ = suggest_slices(replace(request_for, centres_file=tmp_path / "centres.csv"))
    assert [record.rule for record in records] == [scan.MIDDLE, scan.POINT]
    assert {each.view: each.index for each in records[1].suggested} == {"sagittal": 7, "coronal": 8, "axial": 9}

    other = "phantom_labelled_00"
    reference = (scans / "images" / f"{other}_0000.nii.gz", scans / "labels" / f"{other}.nii.gz")
    records, _ = suggest_slices(replace(request_for, reference=reference, output=tmp_path / "by_reference"))
    assert only_rule(records) == scan.REFERENCE
    for record in records:
        truth = truth_of(scans, record.case) > 0
        for each in record.suggested:
            areas = np.moveaxis(truth, each.axis, 0).sum(axis=(1, 2))
            assert areas[each.index] > 0.6 * areas.max()


@pytest.mark.parametrize("directions", ["permuted", "flipped"])
def test_the_same_anatomy_is_cut_however_it_is_stored(tmp_path: Path, directions: Directions) -> None:
    """The suggested slices show the same pixels, and viewers find them at the same mm."""
    found = {}
    for name in ("identity", directions):
        folder = tmp_path / name
        options: dict[str, Any] = {"shape": SHAPE, "spacing_mm": SPACING_MM, "directions": name}
        write_phantom_set(folder, labelled=1, unlabelled=0, test=0, **options)
        images = folder / "labelled" / "images"
        records, _ = suggest_slices(SuggestionRequest(images=images, output=folder / "out"))
        image = sitk.ReadImage(str(next(images.iterdir())))
        axes = axes_of_views(image.GetDirection())
        array = sitk.GetArrayFromImage(image)
        for each in records[0].suggested:
            assert each.axis == axes[each.view]
            assert each.itk_snap == f"{'zyx'[each.axis]} {each.index + 1}"
        found[name] = {
            each.view: (each.ras_mm, float(cut(array, each.axis, each.index).sum())) for each in records[0].suggested
        }
    for view, (ras_mm, brightness) in found["identity"].items():
        assert found[directions][view][0] == ras_mm
        assert found[directions][view][1] == pytest.approx(brightness, rel=1e-5)


def test_a_run_goes_on_and_does_finished_scans_once(
    request_for: SuggestionRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the first scan; then only the second one is read. Nothing partial is left."""
    from sparse_annotation_tools.suggestion import suggest as suggestion

    def in_this_process(function: Callable[..., Any], tasks: Any, **_: object) -> list[Any]:
        return [function(*each) for each in tasks]

    read: list[str] = []
    original = suggestion.suggest

    def counted(scan: Any, slices: int) -> Any:
        read.append("scan")
        if len(read) == 2:
            raise KeyboardInterrupt
        return original(scan, slices)

    monkeypatch.setattr(suggestion, "suggest", counted)
    monkeypatch.setattr(suggestion, "run_in_processes", in_this_process)
    with pytest.raises(KeyboardInterrupt):
        suggest_slices(request_for)
    assert not (request_for.output / "planes.csv").exists()
    records, _ = suggest_slices(request_for)
    assert len(read) == 3
    assert len(records) == 2
    with (request_for.output / "planes.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    assert not list(request_for.output.rglob(".*"))


@pytest.mark.slow
def test_a_painted_label_map_is_never_written_over(
    request_for: SuggestionRequest, scans: Path, write_volume: Callable[..., Path]
) -> None:
    """The same command leaves it alone, another one refuses; an untouched one is replaced."""
    suggest_slices(request_for)
    painted = request_for.output / "labels" / "phantom_labelled_00.nii.gz"
    array = np.zeros(SHAPE, np.uint8)
    array[10, 5:9, 5:9] = 1
    write_volume(painted, array, like=scans / "images" / "phantom_labelled_00_0000.nii.gz")
    before = painted.read_bytes()
    suggest_slices(request_for)
    assert painted.read_bytes() == before
    with pytest.raises(UserError, match=r"phantom_labelled_00\.nii\.gz has been painted on"):
        suggest_slices(replace(request_for, labels=scans / "labels"))
    assert painted.read_bytes() == before
    painted.unlink()
    suggest_slices(replace(request_for, labels=scans / "labels"))


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii", ".nrrd", ".mha"])
def test_a_label_map_saved_under_another_ending_is_left_alone(
    request_for: SuggestionRequest, scans: Path, ending: str
) -> None:
    """The same command writes no empty label map beside it, which would be the case's second one; another refuses."""
    suggest_slices(request_for)
    case, labels = "phantom_labelled_00", request_for.output / "labels"
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[10, 8:18, 8:15] = 1
    like = scans / "images" / f"{case}_0000.nii.gz"
    write_segmentation(labels / f"{case}{ending}", drawn, {"organ": 1}, like)
    (labels / f"{case}.nii.gz").unlink()
    before = (labels / f"{case}{ending}").read_bytes()
    suggest_slices(request_for)
    assert find_label_maps(labels)[case] == labels / f"{case}{ending}"
    with pytest.raises(UserError, match=f"{case}{ending} has been painted on"):
        suggest_slices(replace(request_for, slices=2))
    assert find_label_maps(labels)[case].read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": Path("nowhere")}, "-i nowhere is not a folder"),
        ({"labels": Path("nowhere")}, "nowhere is not a folder"),
        ({"predictions": (Path("nowhere"),)}, "nowhere is not a folder"),
        ({"slices": 0}, "--slices is 0, expected 1 or more"),
        ({"label_names": ("organ", "organ")}, "--label-names organ organ is unfit"),
        ({"centres_file": Path("a"), "reference": (Path("a"), Path("b"))}, "give one of them"),
        ({"centres_file": Path("a"), "predictions": (Path("b"),)}, "leave out --centres, or --predictions"),
        ({"reference": (Path("none.nii.gz"), Path("none.nii.gz"))}, "none.nii.gz does not exist"),
    ],
)
def test_contradictions_and_missing_input_are_refused(
    request_for: SuggestionRequest, changes: dict[str, Any], message: str
) -> None:
    """Before anything is written."""
    with pytest.raises(UserError, match=message):
        suggest_slices(replace(request_for, **changes))
    assert not request_for.output.exists()


def test_names_that_do_not_fit_are_refused(request_for: SuggestionRequest, scans: Path, tmp_path: Path) -> None:
    """Lists and label maps of other scans."""
    (tmp_path / "planes.csv").write_text("case,view,index\nnobody,axial,1\n")
    with pytest.raises(UserError, match="--planes lists case nobody, which is not in -i"):
        suggest_slices(replace(request_for, labels=scans / "labels", planes_file=tmp_path / "planes.csv"))
    (tmp_path / "others").mkdir()
    source = scans / "labels" / "phantom_labelled_00.nii.gz"
    (tmp_path / "others" / "other.nii.gz").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="holds none of the scans of -i"):
        suggest_slices(replace(request_for, labels=tmp_path / "others"))
