"""What a person does is on disk at once, in files that rada-make-sparse-dataset reads, and comes back after a kill."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.annotate.session import Session
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import read_volume, write_label
from sparse_annotation_tools.slices.planes import read_planes_file
from sparse_annotation_tools.suggestion.suggest import SuggestionRequest, suggest_slices

from .conftest import PAGE, SHAPE, finish, first, label_map, spot, write_scan

Start = Callable[..., Session]


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
