"""Tests of writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparse_annotation_tools.files.atomic import atomic_path, clear_leftovers, clear_leftovers_of, is_leftover


def test_a_file_is_whole_or_what_it_was(tmp_path: Path) -> None:
    """What fails in the middle leaves the former content, and nothing beside it."""
    final = tmp_path / "new" / "scan.nii.gz"
    with atomic_path(final) as temporary:
        temporary.write_text("whole")
    with pytest.raises(TypeError), atomic_path(final) as temporary:
        temporary.write_text(b"no text")  # type: ignore[arg-type]
    assert [path.name for path in final.parent.iterdir()] == ["scan.nii.gz"]
    assert final.read_text() == "whole"


def test_a_file_has_the_mode_of_any_other_and_writing_it_leaves_the_umask_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A umask that is asked for is gone for all threads in that moment."""
    (tmp_path / "other").touch()
    monkeypatch.setattr(os, "umask", None)
    with atomic_path(tmp_path / "mine") as temporary:
        temporary.write_text("content")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("name", ["scan.nii.gz", "no_suffix", ".hidden", "a[1]*.png", "x" * 230 + ".png"])
def test_leftovers_of_one_file_go_and_no_others(tmp_path: Path, name: str) -> None:
    """A temporary file has the suffixes of its file; those of other files are left to whoever writes them."""
    others = [tmp_path / "scan-2.nii.gz", tmp_path / "scan.png", tmp_path / "other.nii.gz"]
    with atomic_path(tmp_path / name) as mine, atomic_path(others[0]) as a, atomic_path(others[1]) as b:
        assert is_leftover(mine)
        assert mine.name.endswith(name[name.index(".") :] if "." in name else "")
        clear_leftovers_of(tmp_path / name)
        assert not mine.exists()
        assert a.exists()
        assert b.exists()
        mine.touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / mine.name).touch()
    clear_leftovers(tmp_path)
    assert not list((tmp_path / "below").iterdir())
