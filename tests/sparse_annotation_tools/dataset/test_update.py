"""Tests of bringing a dataset up to date: what is kept, what is made, what goes, and that the bytes are right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.dataset import plan as dataset_plan
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files import atomic
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.schema import CasesFile

FIRST, SECOND = "phantom_labelled_00", "phantom_labelled_01"
UNLABELLED, TEST = "phantom_unlabelled_00", "phantom_test_00"
NOT_ANNOTATED = 255

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]
Annotate = Callable[[str, str], None]


class Killed(BaseException):
    """What ends a run in the middle; nothing catches it."""


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    """A small set, whose labels `annotate` makes sparse."""
    folder = tmp_path / "phantoms"
    write_phantom_set(folder, labelled=2, unlabelled=2, test=1, shape=(10, 12, 14))
    shutil.copytree(folder / "labelled" / "labels", folder / "dense")
    return folder


@pytest.fixture
def annotate(phantoms: Path, write_volume: Any, read_array: Any) -> Annotate:
    """Paint the middle slice of each view whose axis is named (`zyx`), as an annotator does, and nothing else."""

    def paint(case: str, axes: str) -> None:
        dense = read_array(phantoms / "dense" / f"{case}.nii.gz")
        sparse = np.full_like(dense, NOT_ANNOTATED)
        for axis in axes:
            plane = [slice(None)] * 3
            plane["zyx".index(axis)] = dense.shape["zyx".index(axis)] // 2
            sparse[tuple(plane)] = dense[tuple(plane)]
        image = phantoms / "labelled" / "images" / f"{case}_0000.nii.gz"
        write_volume(phantoms / "labelled" / "labels" / f"{case}.nii.gz", sparse, like=image)

    return paint


@pytest.fixture
def request_(phantoms: Path, request_for: Any, annotate: Annotate) -> DatasetRequest:
    """What makes the dataset before the update: two annotated slices in each of two cases."""
    for case in (FIRST, SECOND):
        annotate(case, "zy")
    made: DatasetRequest = request_for(phantoms, simulate=None, modality="CT", label_names=("organ",))
    return made


@pytest.fixture
def propagations(propagate_by_copying: Any) -> tuple[list[tuple[int, int]], Any]:
    """A stand-in for propagation, and the list of planes that it was called for.

    Each plane is propagated downwards, which the list has, and upwards in the part of the scan that begins with it.
    """
    calls: list[tuple[int, int]] = []

    def propagate(*arguments: Any) -> Any:
        axis, index = arguments[2:4]
        if index > 0:
            calls.append((axis, index))
        return propagate_by_copying(*arguments)

    return calls, propagate


@pytest.fixture
def from_scratch(request_: DatasetRequest, make_quickly: Make, files_of: Files, tmp_path: Path) -> Any:
    """Return the files of the dataset that the present inputs give where there was none before."""

    def make() -> dict[str, bytes]:
        fresh = replace(request_, raw=tmp_path / "fresh", preprocessed=tmp_path / "fresh_preprocessed")
        make_quickly(fresh)
        return {**files_of(fresh.folder), **files_of(fresh.preprocessed or fresh.folder)}

    return make


def all_files(request: DatasetRequest, files_of: Files) -> dict[str, bytes]:
    """Return the dataset's files, its fingerprint included."""
    return {**files_of(request.folder), **files_of(request.preprocessed or request.folder)}


def written_at(folder: Path) -> dict[str, int]:
    """Return when each file got its content."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_new_slice_costs_one_propagation(
    request_: DatasetRequest,
    make_quickly: Make,
    annotate: Annotate,
    propagations: Any,
    files_of: Files,
    from_scratch: Any,
) -> None:
    """The case's other slices and the other cases are kept, untouched; the result is that of a new dataset."""
    calls, propagate = propagations
    make_quickly(request_, propagate=propagate)
    assert len(calls) == 4
    before = written_at(request_.folder)
    calls.clear()
    annotate(FIRST, "zyx")
    made = make_quickly(replace(request_, update=True), propagate=propagate)
    assert calls == [(2, 7)]
    assert len(made.cases[FIRST].slices) == 3
    after = written_at(request_.folder)
    assert {name for name in before if SECOND in name or UNLABELLED in name or TEST in name} <= {
        name for name in before if after.get(name) == before[name]
    }
    assert all_files(request_, files_of) == from_scratch()


def repainted(phantoms: Path, annotate: Annotate) -> None:
    """Another plane in the place of one."""
    annotate(FIRST, "zx")


def erased(phantoms: Path, annotate: Annotate) -> None:
    """One plane less."""
    annotate(FIRST, "z")


def gone(phantoms: Path, annotate: Annotate) -> None:
    """A labelled case is not there any more."""
    (phantoms / "labelled" / "images" / f"{FIRST}_0000.nii.gz").unlink()
    (phantoms / "labelled" / "labels" / f"{FIRST}.nii.gz").unlink()


def newly_labelled(phantoms: Path, annotate: Annotate) -> None:
    """An unlabelled scan has got its slices."""
    name = f"{UNLABELLED}_0000.nii.gz"
    (phantoms / "unlabelled" / "images" / name).rename(phantoms / "labelled" / "images" / name)
    shutil.copy(phantoms / "dense" / f"{FIRST}.nii.gz", phantoms / "dense" / f"{UNLABELLED}.nii.gz")
    annotate(UNLABELLED, "zy")


def moved_to_test(phantoms: Path, annotate: Annotate) -> None:
    """A training scan is now for testing, and takes its label with it."""
    name = f"{FIRST}_0000.nii.gz"
    (phantoms / "labelled" / "images" / name).rename(phantoms / "test" / "images" / name)
    (phantoms / "labelled" / "labels" / f"{FIRST}.nii.gz").unlink()
    shutil.copy(phantoms / "dense" / f"{FIRST}.nii.gz", phantoms / "test" / "labels" / f"{FIRST}.nii.gz")


def another_scan(phantoms: Path, annotate: Annotate) -> None:
    """Another image of the same name."""
    path = str(phantoms / "labelled" / "images" / f"{FIRST}_0000.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) * 2, path)


@pytest.mark.parametrize(
    ("change", "propagated"),
    [(repainted, 1), (erased, 0), (gone, 0), (newly_labelled, 2), (moved_to_test, 0), (another_scan, 2)],
)
def test_an_updated_dataset_is_the_one_made_from_scratch(
    request_: DatasetRequest,
    make_quickly: Make,
    phantoms: Path,
    annotate: Annotate,
    propagations: Any,
    files_of: Files,
    from_scratch: Any,
    change: Any,
    propagated: int,
) -> None:
    """Byte for byte, whatever changed; only new and changed slices are propagated, and what vanished is gone."""
    calls, propagate = propagations
    make_quickly(request_)
    change(phantoms, annotate)
    make_quickly(replace(request_, update=True), propagate=propagate)
    assert len(calls) == propagated
    assert all_files(request_, files_of) == from_scratch()


@pytest.mark.slow
def test_an_update_killed_at_any_file_goes_on(
    request_: DatasetRequest,
    make_quickly: Make,
    phantoms: Path,
    annotate: Annotate,
    files_of: Files,
    from_scratch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same command again ends as if nothing had been; in between, nobody takes the dataset for complete."""
    make_quickly(request_)
    base = phantoms.parent / "base"
    shutil.copytree(request_.folder, base)
    annotate(FIRST, "zyx")
    gone_test = phantoms / "test" / "labels" / f"{TEST}.nii.gz"
    gone_test.unlink()
    newly_labelled(phantoms, annotate)
    update = replace(request_, update=True, test_labels=None)
    request_ = replace(request_, test_labels=None)
    fresh = replace(request_, raw=phantoms.parent / "fresh2")
    make_quickly(fresh)
    expected = files_of(fresh.folder)
    replace_file, survived = os.replace, 0
    while True:
        shutil.rmtree(request_.folder)
        shutil.copytree(base, request_.folder)
        left = [survived]

        def let_through(source: Any, target: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            replace_file(source, target)

        monkeypatch.setattr(atomic.os, "replace", let_through)
        try:
            make_quickly(update)
            break
        except Killed:
            monkeypatch.setattr(atomic.os, "replace", replace_file)
            begun = (request_.folder / ".incomplete" / "cases.json").is_file()
            complete = (request_.folder / "rada" / "cases.json").is_file()
            assert not (begun and complete)
            make_quickly(update)
            assert files_of(request_.folder) == expected, f"killed after {survived} files"
        survived += 2
    assert survived > 10


def test_an_update_killed_while_it_drops_files_goes_on(
    request_: DatasetRequest,
    make_quickly: Make,
    phantoms: Path,
    annotate: Annotate,
    files_of: Files,
    from_scratch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files that vanish are dropped before anything is made, and what was left of them the second time."""
    make_quickly(request_)
    gone(phantoms, annotate)
    unlink, left = Path.unlink, [6]

    def let_through(path: Path, missing_ok: bool = False) -> None:
        left[0] -= FIRST in path.name
        if left[0] < 0:
            raise Killed
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", let_through)
    with pytest.raises(Killed):
        make_quickly(replace(request_, update=True))
    monkeypatch.undo()
    make_quickly(replace(request_, update=True))
    assert all_files(request_, files_of) == from_scratch()


def test_other_settings_are_not_an_update(request_: DatasetRequest, make_quickly: Make, files_of: Files) -> None:
    """They would change everything: the reason is given, and nothing is touched."""
    make_quickly(request_)
    before = files_of(request_.folder)
    with pytest.raises(UserError, match=r"seed is 0 there and 1 here; give --overwrite"):
        make_quickly(replace(request_, update=True, seed=1))
    with pytest.raises(UserError, match=r"--update keeps what did not change and --overwrite keeps nothing"):
        make_quickly(replace(request_, update=True, overwrite=True))
    assert files_of(request_.folder) == before


def test_without_update_a_change_is_refused_and_the_option_named(
    request_: DatasetRequest, make_quickly: Make, annotate: Annotate
) -> None:
    """So that a mistyped folder does not change a dataset."""
    make_quickly(request_)
    annotate(FIRST, "zyx")
    with pytest.raises(UserError, match=f"annotation of case {FIRST} is another; give --update to make only"):
        make_quickly(request_)


def test_an_update_of_nothing_changes_nothing(
    request_: DatasetRequest, make_quickly: Make, propagations: Any, files_of: Files
) -> None:
    """And on an empty folder it makes the dataset."""
    calls, propagate = propagations
    update = replace(request_, update=True)
    make_quickly(update, propagate=propagate)
    before, warnings = written_at(request_.folder), []
    calls.clear()
    make_quickly(update, warnings, propagate=propagate)
    assert "complete already" in warnings[0]
    assert written_at(request_.folder) == before
    assert not calls


def test_another_version_of_a_package_makes_all_cases_anew(
    request_: DatasetRequest, make_quickly: Make, annotate: Annotate, propagations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of two versions of a registration would otherwise lie side by side in one dataset."""
    calls, propagate = propagations
    make_quickly(request_)
    annotate(FIRST, "zyx")
    monkeypatch.setattr(dataset_plan, "package_versions", lambda: {"antspyx": "99"})
    make_quickly(replace(request_, update=True), propagate=propagate)
    assert len(calls) == 5
