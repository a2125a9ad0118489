"""Tests of reading label files: values merged into classes, headers that are not to be believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_annotation_tools.cli.make_sparse_dataset import main
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_reading import LabelReading, class_names, parse_merge
from sparse_annotation_tools.schema import CasesFile
from sparse_annotation_tools.slices.planes import off_planes

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]
FIRST = "phantom_labelled_00"
EMPTY = 0  # an axial slice beyond the organs
ORGANS = {"label_names": ("organs",), "merge": {"organs": [1, 2]}}


@given(st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(1, 20), min_size=1, max_size=4), min_size=1))
def test_each_voxel_gets_the_class_that_lists_its_value(merge: dict[str, set[int]]) -> None:
    """Whatever the merge, as long as no value has two classes."""
    disjoint = {
        name: sorted(values - set().union(*list(merge.values())[:k])) for k, (name, values) in enumerate(merge.items())
    }
    classes = {name: k for k, name in enumerate(disjoint, start=1)}
    values = LabelReading(classes=classes, merge=disjoint)
    owner = {value: classes[name] for name, listed in disjoint.items() for value in listed} | {0: 0}
    label = np.random.default_rng(0).choice(list(owner), size=(3, 4, 5))
    expected = np.vectorize(owner.get)(label)
    np.testing.assert_array_equal(values.to_classes(label, Path("label.nii.gz")), expected)


def test_without_a_merge_the_values_stand() -> None:
    """The very array comes back."""
    label = np.array([[[0, 1, 2]]])
    assert LabelReading(classes={"a": 1, "b": 2}).to_classes(label, Path("label.nii.gz")) is label


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1,2"], r"--merge '1,2' is not understood, expected VALUES:CLASS"),
        (["kidney:1,2"], r"--merge 'kidney:1,2' is not understood"),
        (["1,:kidney"], r"--merge '1,:kidney' is not understood"),
        (["1:kidney", "2:kidney"], r"names kidney twice; list all its values in one"),
        (["1,2:kidney", "2:tumour"], r"lists value 2 twice"),
        (["1,1:kidney"], r"lists value 1 twice"),
        (["0,1:kidney"], r"value 0, which is the background"),
    ],
)
def test_a_merge_that_cannot_be_meant_is_refused(texts: list[str], message: str) -> None:
    """In one line that shows the form."""
    with pytest.raises(UserError, match=message):
        parse_merge(texts)


@pytest.mark.parametrize(
    ("names", "texts", "message"),
    [
        (["kidney", "tumour"], ["1,2:kidney"], r"kidney tumour are not the classes of --merge \(kidney\)"),
        (["liver"], ["1,2:kidney"], r"leave --label-names out, or give every class its --merge"),
        (None, [], r"give --label-names CLASS .* or --merge VALUES:CLASS"),
        (None, ["3:background"], r"no class is named"),
    ],
)
def test_names_that_contradict_the_merge_are_refused(names: list[str] | None, texts: list[str], message: str) -> None:
    """The line says which of the two options to change."""
    with pytest.raises(UserError, match=message):
        class_names(names, parse_merge(texts))


def test_names_give_the_order_of_merged_classes() -> None:
    """Without them the order of --merge counts; background is no class."""
    merge = parse_merge(["3:spleen", "1, 2:kidney", "4:background"])
    assert class_names(None, merge) == ("spleen", "kidney")
    assert class_names(["kidney", "spleen"], merge) == ("kidney", "spleen")


def written_with_classes_in_one(folder: Path) -> None:
    """Do by hand what the merge is for: make every foreground value 1."""
    for path in folder.glob("*/labels/*.nii.gz"):
        old = sitk.ReadImage(str(path))
        new = sitk.GetImageFromArray((sitk.GetArrayFromImage(old) > 0).astype(np.uint8))
        new.CopyInformation(old)
        sitk.WriteImage(new, str(path))


def test_merging_gives_what_files_merged_by_hand_give(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, tmp_path: Path
) -> None:
    """Annotated slices, propagated and fused labels, the CT fingerprint and test labels: byte for byte."""
    kept = {}
    for name, settings in (("merged", ORGANS), ("by_hand", {"label_names": ("organs",)})):
        if name == "by_hand":
            written_with_classes_in_one(phantoms)
        request = request_for(
            phantoms, raw=tmp_path / name, preprocessed=tmp_path / name / "pre", modality="CT", **settings
        )
        make_quickly(request)
        kept[name] = files_of(tmp_path / name)
        cases = json.loads(kept[name].pop("Dataset101_Phantom/rada/cases.json"))
        assert cases["merge"] == ({"organs": [1, 2]} if name == "merged" else {})
    assert kept["merged"] == kept["by_hand"]


def test_values_merged_into_background_are_forgotten(
    phantoms: Path, request_for: Any, make_quickly: Make, read_array: Callable[[Path], NDArray[Any]]
) -> None:
    """As if nobody had drawn them: planes are chosen by the kept class alone."""
    request = request_for(phantoms, label_names=("lobe",), merge={"lobe": [1], "background": [2]})
    make_quickly(request)
    name = "phantom_test_00.nii.gz"
    truth = read_array(phantoms / "test" / "labels" / name)
    np.testing.assert_array_equal(read_array(request.folder / "labelsTs" / name), truth == 1)


@pytest.mark.parametrize("mark", [77, None])
def test_real_annotations_are_merged_beside_the_value_of_unseen_voxels(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    read_array: Callable[[Path], NDArray[Any]],
    write_volume: Callable[..., Path],
    mark: int | None,
) -> None:
    """Planes with values 1 and 20, the rest marked or left 0: they are found and merged, an empty one by its mark."""
    made = make_quickly(request_for(phantoms))
    for case in made.labelled:
        path = phantoms / "labelled" / "labels" / f"{case}.nii.gz"
        planes = made.cases[case].planes
        dense = np.where(read_array(path) == 2, 20, read_array(path))
        dense[EMPTY] = 0
        off = off_planes(np.ones(dense.shape, dtype=bool), [(0, EMPTY), *planes])
        write_volume(path, np.where(off, mark or 0, dense).astype(np.uint8), like=path)
    settings = {
        "label_names": ("organs",),
        "merge": {"organs": [1, 20]},
        "simulate": None,
        "not_annotated": mark or 255,
    }
    request = request_for(phantoms, dataset="Dataset102_Merged", test_images=None, test_labels=None, **settings)
    merged = make_quickly(request)
    for case in made.labelled:
        found = set(merged.cases[case].planes)
        drawn = set(made.cases[case].planes)
        assert found == (drawn | {(0, EMPTY)} if mark else drawn)
        label = read_array(request.folder / "labelsTr" / f"{case}.nii.gz")
        truth = read_array(request_for(phantoms).folder / "labelsTr" / f"{case}.nii.gz")
        if mark:
            truth[EMPTY] = 0
        np.testing.assert_array_equal(label, np.array([0, 1, 1, 2])[truth])


def test_the_value_of_unseen_voxels_cannot_be_merged(phantoms: Path, request_for: Any, make_quickly: Make) -> None:
    """255 may be a class of dense labels, but of real annotations only if another value marks what nobody saw."""
    with pytest.raises(UserError, match="gives organs the value 255, which is that of voxels nobody annotated"):
        make_quickly(request_for(phantoms, simulate=None, label_names=("organs",), merge={"organs": [255]}))


def test_a_value_outside_the_merge_is_refused(phantoms: Path, request_for: Any, make_quickly: Make) -> None:
    """With the way to keep or to forget it."""
    with pytest.raises(UserError, match=r"holds label 2, expected 0 \(background\), 1 \(lobe\).* add it to a --merge"):
        make_quickly(request_for(phantoms, label_names=("lobe",), merge={"lobe": [1]}))


@pytest.mark.parametrize("again", [{}, {"organs": [1, 2, 3]}])
def test_another_merge_does_not_mix_with_an_existing_dataset(
    phantoms: Path, request_for: Any, make_quickly: Make, again: dict[str, Sequence[int]]
) -> None:
    """It is a setting as any other; the same one goes on."""
    written_with_classes_in_one(phantoms)
    make_quickly(request_for(phantoms, **ORGANS))
    make_quickly(request_for(phantoms, **ORGANS))
    with pytest.raises(UserError, match=r"is not what this command makes: merge .*--overwrite"):
        make_quickly(request_for(phantoms, label_names=("organs",), merge=again))


def test_the_values_of_a_slicer_segmentation_are_merged_whatever_its_segments_are_called(
    phantoms: Path, request_for: Any, make_quickly: Make, read_array: Callable[[Path], NDArray[Any]]
) -> None:
    """A segment that has a class's name has no other meaning than its value."""
    made = make_quickly(request_for(phantoms, **ORGANS))
    path = phantoms / "test" / "labels" / "phantom_test_00.nii.gz"
    image = sitk.ReadImage(str(path))
    for number, name in enumerate(("organs", "tumour")):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
    sitk.WriteImage(image, str(path.with_name("phantom_test_00.seg.nrrd")))
    path.unlink()
    request = request_for(phantoms, dataset="Dataset102_Slicer", **ORGANS)
    assert make_quickly(request).classes == made.classes
    name = "labelsTs/phantom_test_00.nii.gz"
    np.testing.assert_array_equal(read_array(request.folder / name), read_array(request_for(phantoms).folder / name))


def moved(path: Path) -> None:
    """Give a label map another place and other directions, without touching its voxels."""
    label = sitk.ReadImage(str(path))
    label.SetOrigin((100.0, 0.0, 0.0))
    label.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(label, str(path))


def test_headers_of_label_maps_are_put_right_by_voxel(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, tmp_path: Path
) -> None:
    """The dataset is the one of labels with the right headers, byte for byte; without the option they are refused."""
    make_quickly(request_for(phantoms, raw=tmp_path / "right"))
    for path in phantoms.glob("*/labels/*.nii.gz"):
        moved(path)
    with pytest.raises(UserError, match=r"not on the grid of .*: direction .* or give --labels-by-voxel"):
        make_quickly(request_for(phantoms))
    make_quickly(request_for(phantoms, raw=tmp_path / "by_voxel", labels_by_voxel=True))
    right: dict[str, Any] = dict(files_of(tmp_path / "right"))
    by_voxel: dict[str, Any] = dict(files_of(tmp_path / "by_voxel"))
    records = "Dataset101_Phantom/rada/cases.json"
    for made in (right, by_voxel):
        cases = json.loads(made.pop(records))
        made[records] = {**cases, "test": sorted(cases["test"])}  # it holds the hashes of the test labels' files
    assert by_voxel == right


def test_label_maps_of_another_size_are_refused_even_by_voxel(
    phantoms: Path, request_for: Any, make_quickly: Make, write_volume: Callable[..., Path], read_array: Any
) -> None:
    """Then no voxel has a partner."""
    path = phantoms / "labelled" / "labels" / f"{FIRST}.nii.gz"
    write_volume(path, read_array(path)[1:])
    with pytest.raises(UserError, match=r"size .* as its reference$"):
        make_quickly(request_for(phantoms, labels_by_voxel=True))


def test_the_command_takes_merges_in_place_of_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A contradiction ends in one line and status 2."""
    nowhere = ["-d", "7", "-n", "X", "--images", str(tmp_path), "--labels", str(tmp_path)]
    assert main([*nowhere, "--merge", "1,2:kidney", "--label-names", "kidney", "tumour"]) == 2
    assert "kidney tumour are not the classes of --merge (kidney)" in capsys.readouterr().err
    assert main([*nowhere, "--merge", "1,2:kidney", "--merge", "3:spleen"]) == 2
    assert "holds no image" in capsys.readouterr().err
