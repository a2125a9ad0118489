"""What a person may do with the slices of a scan, and what is carried from the finished ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.annotate.open_scan import RefusedError
from sparse_annotation_tools.annotate.session import Session
from sparse_annotation_tools.annotate.viewer_frame import ViewerFrame
from sparse_annotation_tools.files.volumes import read_volume
from sparse_annotation_tools.suggestion.suggest import SuggestionRequest, suggest_slices

from .conftest import DIRECTIONS, PAGE, SHAPE, finish, first, label_map, spot, write_scan

Start = Callable[..., Session]
AXES = {"sagittal": 2, "coronal": 1, "axial": 0}  # of an upright scan


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
