"""Tests of a dataset's way from nothing to complete: killed, started again, refused, overwritten."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files import atomic
from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.propagation.chain import PropagationSettings
from sparse_annotation_tools.schema import CasesFile

SHAPE = (10, 12, 14)
FIRST = "phantom_labelled_00"

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    """A smaller set than elsewhere: it is made many times."""
    folder = tmp_path / "phantoms"
    write_phantom_set(folder, labelled=2, unlabelled=1, test=1, shape=SHAPE, classes=2)
    return folder


class Killed(BaseException):
    """What ends a run in the middle; nothing catches it."""


class Kill:
    """Ends a run when the n-th file is about to get its final name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._replace = os.replace

    def after(self, files: int) -> None:
        """Let so many files through."""
        left = [files]

        def replace(source: Any, target: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            self._replace(source, target)

        self._monkeypatch.setattr(atomic.os, "replace", replace)

    def never(self) -> None:
        """Let all files through."""
        self._monkeypatch.setattr(atomic.os, "replace", self._replace)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Kill:
    """A way to end a run in the middle."""
    return Kill(monkeypatch)


@pytest.fixture
def count_propagations(propagate_by_copying: Any) -> tuple[list[int], Any]:
    """A stand-in for propagation, and the list of slices that it was called for, once for each direction."""
    calls: list[int] = []

    def propagate(*arguments: Any) -> Any:
        calls.append(arguments[3])
        return propagate_by_copying(*arguments)

    return calls, propagate


@pytest.mark.slow
def test_a_run_killed_at_any_file_goes_on_to_the_same_bytes(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, kill: Kill, tmp_path: Path
) -> None:
    """Whichever file was the last: the second run ends with what an uninterrupted one makes, and no more."""
    reference = request_for(phantoms, raw=tmp_path / "reference")
    make_quickly(reference)
    expected = files_of(reference.folder)
    survived = 0
    while True:
        request = request_for(phantoms, raw=tmp_path / f"killed_{survived}")
        kill.after(survived)
        try:
            make_quickly(request)
            break
        except Killed:
            kill.never()
            make_quickly(request)
            assert files_of(request.folder) == expected, f"killed after {survived} files"
        survived += 3  # every third file is enough, and quick
    assert survived > len(expected)


def test_what_was_propagated_before_the_kill_is_not_propagated_again(
    phantoms: Path, request_for: Any, make_quickly: Make, kill: Kill, count_propagations: Any
) -> None:
    """Registration is what costs; only the direction that was under way is lost."""
    calls, propagate = count_propagations
    request = request_for(phantoms)
    kill.after(1 + 4)  # the plan and four of twelve directions
    with pytest.raises(Killed):
        make_quickly(request, propagate=propagate)
    kill.never()
    assert len(calls) == 5
    make_quickly(request, propagate=propagate)
    assert len(calls) == 5 + 8


def test_half_written_files_of_a_killed_run_are_cleared_away(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, kill: Kill
) -> None:
    """A process that is killed outright cannot clear up after itself."""
    request = request_for(phantoms)
    kill.after(12)
    with pytest.raises(Killed):
        make_quickly(request)
    kill.never()
    leftover = request.folder / "imagesTr" / ".partial-abc.nii.gz"
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_bytes(b"half")
    make_quickly(request)
    assert not [name for name in files_of(request.folder) if ".partial" in name]


def test_embeddings_come_last_and_a_kill_there_repeats_nothing_else(
    phantoms: Path, request_for: Any, make_quickly: Make, count_propagations: Any
) -> None:
    """The encoder finds a whole dataset; when it fails, a second run needs only the encoder."""
    calls, propagate = count_propagations
    request = request_for(phantoms)

    def fail(folder: Path) -> None:
        assert (folder / "rada" / "cases.json").is_file()
        raise UserError("no weights")

    with pytest.raises(UserError, match="no weights"):
        make_quickly(request, propagate=propagate, embed=fail)
    assert (request.folder / ".incomplete").is_dir()
    calls.clear()
    make_quickly(request, propagate=propagate)
    assert not calls
    assert not (request.folder / ".incomplete").exists()


def test_a_complete_dataset_is_left_alone(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, count_propagations: Any
) -> None:
    """The same command again: nothing is propagated, no byte changes, and the user is told."""
    calls, propagate = count_propagations
    request = request_for(phantoms)
    made = make_quickly(request)
    before, warnings = files_of(request.folder), []
    assert make_quickly(request, warnings, propagate=propagate) == made
    assert files_of(request.folder) == before
    assert not calls
    assert "complete already" in warnings[0]


def test_a_file_missing_from_a_complete_dataset_is_made_again(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files
) -> None:
    """Someone deleted it by mistake."""
    request = request_for(phantoms)
    make_quickly(request)
    before = files_of(request.folder)
    (request.folder / "rada" / "fused" / f"{FIRST}.nii.gz").unlink()
    make_quickly(request)
    assert files_of(request.folder) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"simulate": "SCC"}, "strategy is SCA there and SCC here"),
        ({"modality": "CT"}, "modality is MR there and CT here"),
        ({"label_names": ("a", "b")}, "classes is"),
        (
            {"propagation": PropagationSettings(transform="SyNRA")},
            "propagation transform is SyNOnly there and SyNRA here",
        ),
        ({"unlabelled": None}, "case phantom_unlabelled_00 is there and not here"),
    ],
)
def test_another_command_on_the_same_folder_is_refused_with_the_reason(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, kill: Kill, change: Any, reason: str
) -> None:
    """Both where the dataset is complete and where it was begun; nothing is touched."""
    request = request_for(phantoms)
    kill.after(9)
    with pytest.raises(Killed):
        make_quickly(request)
    kill.never()
    for complete in (False, True):
        if complete:
            make_quickly(request)
        before = files_of(request.folder)
        with pytest.raises(UserError, match=f"{reason}.*--overwrite"):
            make_quickly(request_for(phantoms, **change))
        assert files_of(request.folder) == before


def test_a_new_annotation_needs_overwrite_once_the_dataset_is_complete(
    phantoms: Path, request_for: Any, make_quickly: Make, write_volume: Any, read_array: Any, files_of: Files
) -> None:
    """The reason names the case; with --overwrite the dataset is that of the new annotation."""
    request = request_for(phantoms)
    make_quickly(request)
    path = request.labels / f"{FIRST}.nii.gz"
    write_volume(path, read_array(path)[:, ::-1].copy(), like=path)
    with pytest.raises(UserError, match=f"the annotation of case {FIRST} is another"):
        make_quickly(request)
    make_quickly(request_for(phantoms, overwrite=True))
    fresh = request_for(phantoms, raw=phantoms / "fresh", overwrite=True)
    make_quickly(fresh)
    assert files_of(request.folder) == files_of(fresh.folder)


def test_a_changed_input_of_a_begun_dataset_is_made_anew(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    write_volume: Any,
    read_array: Any,
    files_of: Files,
    kill: Kill,
) -> None:
    """Finished cases count only while their inputs are the same."""
    request = request_for(phantoms)
    kill.after(24)  # most cases are finished
    with pytest.raises(Killed):
        make_quickly(request)
    kill.never()
    assert (request.folder / ".incomplete" / "done" / f"{FIRST}.json").is_file()
    path = request.labels / f"{FIRST}.nii.gz"
    write_volume(path, read_array(path)[:, ::-1].copy(), like=path)
    make_quickly(request)
    fresh = request_for(phantoms, raw=phantoms / "fresh")
    make_quickly(fresh)
    assert files_of(request.folder) == files_of(fresh.folder)


def test_a_killed_overwrite_goes_on(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, kill: Kill, count_propagations: Any
) -> None:
    """The same command, --overwrite included, does not start from nothing again."""
    calls, propagate = count_propagations
    make_quickly(request_for(phantoms))
    request = request_for(phantoms, overwrite=True, seed=1)
    kill.after(4)
    with pytest.raises(Killed):
        make_quickly(request, propagate=propagate)
    kill.never()
    begun = len(calls)
    make_quickly(request, propagate=propagate)
    assert len(calls) == 12 + 1
    assert begun == 4
    assert [path.name for path in request.raw.iterdir()] == [request.dataset]


def test_a_folder_that_the_tool_did_not_make_is_never_removed(
    phantoms: Path, request_for: Any, make_quickly: Make
) -> None:
    """Not even with --overwrite."""
    request = request_for(phantoms, overwrite=True)
    precious = request.folder / "labelsTr" / "mine.nii.gz"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"years of work")
    with pytest.raises(UserError, match="was not made by rada-make-sparse-dataset"):
        make_quickly(request)
    assert precious.read_bytes() == b"years of work"


def test_a_fingerprint_of_a_replaced_dataset_is_replaced(phantoms: Path, request_for: Any, make_quickly: Make) -> None:
    """nnU-Net would keep it and plan for the scans of before; where there is none, none is made for MR."""
    request = request_for(phantoms)
    path = request.preprocessed / request.dataset / "dataset_fingerprint.json"
    make_quickly(request)
    assert not path.exists()
    path.parent.mkdir()
    path.write_text("{}")
    make_quickly(request_for(phantoms, overwrite=True))
    assert "spacings" in path.read_text()
