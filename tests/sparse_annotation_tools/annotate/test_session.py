"""What a person does is on disk at once, in files that rada-make-sparse-dataset reads, and comes back after a kill."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.annotate.open_scan import RefusedError
from sparse_annotation_tools.annotate.session import Session
from sparse_annotation_tools.annotate.viewer_frame import ViewerFrame
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.planes import read_planes_file
from sparse_annotation_tools.suggestion import SuggestionRequest, suggest_slices
from sparse_annotation_tools.volumes import read_volume, write_label

from .conftest import DIRECTIONS, PAGE, SHAPE, write_scan

Start = Callable[..., Session]
AXES = {"sagittal": 2, "coronal": 1, "axial": 0}  # of an upright scan


def first(session: Session, case: str = "a", view: str = "axial") -> dict[str, Any]:
    """Open a scan and return its suggested slice of a view."""
    return next(each for each in session.open(PAGE, case)["slices"] if each["view"] == view)


def spot(session: Session, case: str, view: str, value: int = 1) -> np.ndarray:
    """A slice in the viewer's order with one painted pixel, not in its middle."""
    drawn = np.zeros(session.pixels_of(case, view), np.uint8)
    drawn[1, 2] = value
    return drawn


def finish(session: Session, case: str = "a", view: str = "axial", value: int = 1) -> int:
    """Paint a spot on the suggested slice of a view and finish it; return its index."""
    index = first(session, case, view)["index"]
    session.save(PAGE, case, view, index, 1, spot(session, case, view, value))
    session.act(PAGE, case, "finish", view, index, 2)
    return index


def label_map(session: Session, case: str = "a") -> np.ndarray:
    """The saved label map."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(session.folder.label(case))))


def test_the_suggested_slices_are_those_of_the_command(
    start: Start, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """A scan is opened with the slices that rada-suggest-slices prints."""
    records, _ = suggest_slices(SuggestionRequest(images=folders[0], output=tmp_path / "suggested"))
    printed = {(each.view, each.index) for each in records[0].suggested}
    opened = start().open(PAGE, "a")["slices"]
    assert {(each["view"], each["index"]) for each in opened} == printed
    assert len(printed) == 3


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_paint_lands_on_the_voxel_under_it(start: Start, tmp_path: Path, direction: str, ending: str) -> None:
    """A pixel painted where the viewer shows a bright voxel is saved at that voxel, on the grid of the scan."""
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    for view in AXES:
        folder = tmp_path / view
        path = write_scan(folder / "images" / f"a_0000{ending}", direction, array)
        session = start(images=folder / "images", output=folder / "out")
        index = first(session, "a", view)["index"]
        frame = ViewerFrame.of(read_volume(path).geometry)
        axis = session._current("a").axes[view]
        voxel = [1, 3, 5]
        voxel[axis] = index
        bright = np.zeros(SHAPE, np.uint8)
        bright[tuple(voxel)] = 1
        viewer_axis, position = frame.plane((axis, index))
        shown = np.take(frame.array(bright), position, viewer_axis)
        session.save(PAGE, "a", view, index, 1, shown)
        session.act(PAGE, "a", "finish", view, index, 2)
        saved = label_map(session)
        assert np.argwhere(saved == 1).tolist() == [voxel]
        assert (np.take(saved, index, axis) != 255).all()
        assert (np.delete(saved, index, axis) == 255).all()
        image, label = sitk.ReadImage(str(path)), sitk.ReadImage(str(session.folder.label("a")))
        np.testing.assert_allclose(label.GetDirection(), image.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(label.GetOrigin(), image.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(label.GetSpacing(), image.GetSpacing(), atol=1e-6)


def test_lists_name_finished_slices_only(start: Start) -> None:
    """planes.csv lists what is finished, an empty slice too; cases.csv has the other scans as unlabelled."""
    session = start()
    index = finish(session)
    coronal = first(session, "a", "coronal")["index"]
    session.save(PAGE, "a", "sagittal", first(session, "a", "sagittal")["index"], 3, spot(session, "a", "sagittal"))
    axial_row = np.zeros(session.pixels_of("a", "coronal"), np.uint8)
    session.save(PAGE, "a", "coronal", coronal, 4, axial_row)
    session.act(PAGE, "a", "empty", "coronal", coronal, 5)
    assert read_planes_file(session.folder.planes_file) == {"a": [("axial", index), ("coronal", coronal)]}
    rows = list(csv.DictReader(session.folder.cases_file.open()))
    assert [(row["case"], row["role"], bool(row["label"])) for row in rows] == [
        ("a", "labelled", True),
        ("b", "unlabelled", False),
    ]
    assert all((session.folder.root / row["image"]).is_file() for row in rows)


def test_the_next_command_reads_folders_once_every_scan_is_labelled(start: Start) -> None:
    """Until then it reads the list of cases, which takes scans without labels."""
    session = start(channel=0)
    finish(session, "a")
    assert "--cases" in session.next_command()
    finish(session, "b")
    assert "--images" in session.next_command()
    assert session.next_command().endswith("--label-names atrium aorta")


def test_everything_is_there_after_a_kill(start: Start) -> None:
    """A new session on the same folder knows finished slices, begun ones, and chosen ones."""
    before = start()
    index = finish(before)
    begun = first(before, "a", "coronal")["index"]
    before.save(PAGE, "a", "coronal", begun, 3, spot(before, "a", "coronal", 2))
    before.act(PAGE, "a", "add", "sagittal", 0, 4)
    described = before.open(PAGE, "a")["slices"]
    saved, painted = label_map(before), before.painted("a")
    again = start(label_names=None)
    assert again.open(PAGE, "a")["slices"] == described
    assert again.painted("a") == painted
    np.testing.assert_array_equal(label_map(again), saved)
    assert {(each["view"], each["index"]) for each in described} >= {("axial", index), ("sagittal", 0)}


def test_a_kill_between_record_and_label_map_is_mended(start: Start) -> None:
    """The record is written first; a label map that lacks what it holds is written when the session starts."""
    before = start()
    index = finish(before)
    old = before.folder.label("a").read_bytes()
    paint = before._current("a").paint
    before.act(PAGE, "a", "reopen", "axial", index, 3)
    assert not before.folder.label("a").exists()
    before.save(PAGE, "a", "axial", index, 4, spot(before, "a", "axial", 2))
    paint.slices[0, index] = paint.slices[0, index].__class__(**{**vars(paint.slices[0, index]), "done": True})
    before.folder.keep("a", paint)  # finished, and killed here
    assert not before.folder.label("a").exists()
    again = start()
    assert (label_map(again) == 2).sum() == 1
    again.folder.label("a").write_bytes(old)  # as if the record was not finished: taken over, not lost
    assert (label_map(start()) == 1).sum() == 1


def test_late_changes_never_replace_later_ones(start: Start) -> None:
    """Changes are numbered; a lower number than the last of its slice is dropped, of another page refused."""
    session = start()
    index = first(session)["index"]
    assert session.save(PAGE, "a", "axial", index, 5, spot(session, "a", "axial", 2))
    assert not session.save(PAGE, "a", "axial", index, 4, spot(session, "a", "axial", 1))
    assert max(session.painted("a")) == 2
    session.take_page("page-2")
    with pytest.raises(RefusedError, match="not the one that paints"):
        session.save(PAGE, "a", "axial", index, 6, spot(session, "a", "axial", 1))
    assert session.save("page-2", "a", "axial", index, 1, spot(session, "a", "axial", 1))


def test_only_open_chosen_slices_take_paint(start: Start) -> None:
    """Other slices, finished slices, unknown classes and unknown scans are refused, and nothing changes."""
    session = start()
    index = finish(session)
    before = session.painted("a")
    other = (index + 1) % SHAPE[0]
    coronal = first(session, "a", "coronal")["index"]
    for view, at, value in (("axial", other, 1), ("axial", index, 2), ("coronal", coronal, 3)):
        with pytest.raises(RefusedError):
            session.save(PAGE, "a", view, at, 9, spot(session, "a", view, value))
    for case, view, at in (("../a", "axial", 0), ("b", "axial", 0), ("a", "axial", SHAPE[0]), ("a", "up", 0)):
        with pytest.raises(RefusedError):
            session.save(PAGE, case, view, at, 9, np.zeros((SHAPE[1], SHAPE[2]), np.uint8))
    assert session.painted("a") == before


def test_slices_are_finished_only_where_they_say_something(start: Start) -> None:
    """A slice without paint is finished as empty or not at all, and not as empty where another shows the organ."""
    session = start()
    axial, coronal = first(session)["index"], first(session, "a", "coronal")["index"]
    with pytest.raises(RefusedError, match="Nothing is painted"):
        session.act(PAGE, "a", "finish", "axial", axial, 1)
    session.save(PAGE, "a", "coronal", coronal, 1, np.zeros(session.pixels_of("a", "coronal"), np.uint8))
    with pytest.raises(RefusedError, match="Nothing is painted"):
        session.act(PAGE, "a", "finish", "coronal", coronal, 2)
    everywhere = np.ones(session.pixels_of("a", "axial"), np.uint8)
    session.save(PAGE, "a", "axial", axial, 2, everywhere)
    session.act(PAGE, "a", "finish", "axial", axial, 3)
    with pytest.raises(RefusedError, match=f"axial slice {axial} is painted where it crosses"):
        session.act(PAGE, "a", "empty", "coronal", coronal, 4)


def test_a_slice_that_is_not_used_takes_its_paint_along(start: Start) -> None:
    """Removing a begun slice leaves no paint of its own behind; a finished one must be reopened first."""
    session = start()
    index = finish(session)
    coronal = first(session, "a", "coronal")["index"]
    session.save(PAGE, "a", "coronal", coronal, 3, spot(session, "a", "coronal", 2))
    slices = session.act(PAGE, "a", "remove", "coronal", coronal, 4)["slices"]
    assert ("coronal", coronal) not in {(each["view"], each["index"]) for each in slices}
    assert set(session.painted("a")) == {0, 1}
    with pytest.raises(RefusedError, match="is finished"):
        session.act(PAGE, "a", "remove", "axial", index, 5)


def test_one_more_slice_is_suggested_from_the_finished_ones(start: Start) -> None:
    """With all three finished a fourth comes; before, the person is told to finish them."""
    session = start()
    for number, view in enumerate(AXES):
        index = first(session, "a", view)["index"]
        block = np.zeros(session.pixels_of("a", view), np.uint8)
        block[1:-1, 1:-1] = 1
        with pytest.raises(RefusedError, match="Finish the slices"):
            session.act(PAGE, "a", "suggest", "axial", 0, 0)
        session.save(PAGE, "a", view, index, 10 * number, block)
        session.act(PAGE, "a", "finish", view, index, 10 * number + 1)
    assert len(session.act(PAGE, "a", "suggest", "axial", 0, 99)["slices"]) == 4


def test_the_preview_carries_and_fuses_finished_slices(start: Start) -> None:
    """A finished slice is carried through the scan; with the stand-in for registration, unchanged."""
    session = start()
    index = finish(session)
    deadline = time.monotonic() + 20
    while session.preview_state()["preview"]["state"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert session.preview_state()["preview"]["carried"] == [{"view": "axial", "index": index}]
    scan = session._current("a")
    carried = scan.previewer.preview.carried
    assert carried is not None
    assert (carried[0, index] == label_map(session)[index]).all()
    assert session.preview_layer("a", None, 0)
    with pytest.raises(RefusedError, match="not computed"):
        session.preview_layer("a", "coronal", 0)


def test_two_sessions_never_share_a_folder(start: Start, folders: tuple[Path, Path]) -> None:
    """The second is refused in one line that names the process of the first."""
    session = start()
    import os

    with pytest.raises(UserError, match=f"annotated already, by process {os.getpid()}"):
        type(session.folder)(root=folders[1]).lock()


def test_label_maps_of_other_programs_are_gone_on_from(start: Start, folders: tuple[Path, Path]) -> None:
    """A painted label map becomes finished slices; a copy of it is put aside, and its paint stays when more is done."""
    geometry = read_volume(folders[0] / "a_0000.nii.gz").geometry
    theirs = np.zeros(SHAPE, np.uint8)
    theirs[2, 1:4, 2:6] = 1
    write_label(folders[1] / "labels" / "a.nii.gz", theirs, geometry)
    session = start()
    slices = session.open(PAGE, "a")["slices"]
    assert [(each["view"], each["index"], each["done"]) for each in slices] == [("axial", 2, True)]
    session.act(PAGE, "a", "add", "coronal", 6, 1)
    session.save(PAGE, "a", "coronal", 6, 2, spot(session, "a", "coronal"))
    session.act(PAGE, "a", "finish", "coronal", 6, 3)
    np.testing.assert_array_equal(label_map(session)[2], theirs[2])
    assert len(list((folders[1] / "annotate" / "taken_over").iterdir())) == 1


def test_a_label_map_that_changes_while_the_page_is_open_is_not_replaced(start: Start) -> None:
    """Finishing a slice is refused then; the next start goes on from the changed file."""
    session = start()
    finish(session)
    image = sitk.ReadImage(str(session.folder.label("a")))
    changed = sitk.GetArrayFromImage(image)
    changed[changed == 1] = 2
    write_label(session.folder.label("a"), changed, read_volume(session.folder.label("a")).geometry)
    coronal = first(session, "a", "coronal")["index"]
    session.save(PAGE, "a", "coronal", coronal, 7, spot(session, "a", "coronal"))
    with pytest.raises(UserError, match="changed by another program"):
        session.act(PAGE, "a", "finish", "coronal", coronal, 8)
    np.testing.assert_array_equal(label_map(session), changed)
    again = start()
    again.open(PAGE, "a")
    assert set(again.painted("a")) == {0, 1, 2}


def test_a_folder_of_suggestions_is_gone_on_from(start: Start, folders: tuple[Path, Path]) -> None:
    """Its slices are to be painted, none is finished, and nothing is taken for painted background."""
    suggest_slices(SuggestionRequest(images=folders[0], output=folders[1]))
    session = start()
    slices = session.open(PAGE, "a")["slices"]
    assert len(slices) == 3
    assert not any(each["done"] or each["painted"] for each in slices)
    assert read_planes_file(session.folder.planes_file) == {}


def test_a_dense_label_map_is_refused(start: Start, tmp_path: Path) -> None:
    """This page is for slices; a segmented volume in its folder is not cut down to some."""
    dense = np.zeros((20, 20, 20), np.uint8)
    dense[3:17, 3:17, 3:17] = 1
    geometry = read_volume(write_scan(tmp_path / "dense" / "a_0000.nii.gz", array=dense + 1)).geometry
    path = tmp_path / "out" / "labels" / "a.nii.gz"
    write_label(path, dense, geometry)
    with pytest.raises(UserError, match="too many slices"):
        start(images=tmp_path / "dense")
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))).sum() == dense.sum()


def test_strange_files_and_classes_are_refused(start: Start, folders: tuple[Path, Path]) -> None:
    """Scans that are not there, other class names than before, and a channel that no scan has."""
    start()
    with pytest.raises(UserError, match="was painted with --label-names atrium aorta"):
        start(label_names=("aorta", "atrium"))
    assert start(label_names=("atrium", "aorta", "valve")).classes[2] == "valve"
    with pytest.raises(UserError, match="--channel is 1"):
        start(label_names=None, channel=1)
    shutil.copy(folders[0] / "a_0000.nii.gz", folders[1] / "labels_are_elsewhere.nii.gz")
    (folders[1] / "labels").mkdir(exist_ok=True)
    shutil.copy(folders[0] / "a_0000.nii.gz", folders[1] / "labels" / "stranger.nii.gz")
    with pytest.raises(UserError, match="names scans that are not in -i: stranger"):
        start(label_names=None)


def test_the_second_channel_can_be_shown(start: Start, tmp_path: Path) -> None:
    """--channel picks what is shown and registered, and is remembered."""
    for channel in (0, 1):
        array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16) + 1000 * channel
        write_scan(tmp_path / "two" / f"a_000{channel}.nii.gz", array=array)
    asked = {"images": tmp_path / "two", "output": tmp_path / "two_out"}
    session = start(**asked, channel=1)
    first(session)
    assert session._current("a").volume.array.min() == 1000
    assert session.next_command().endswith("--registration-channel 1")
    assert start(**asked).channel == 1
