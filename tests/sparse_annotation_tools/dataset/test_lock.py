"""A dataset has one writer at a time; tests/reliability/test_two_runs.py sees that with two commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.dataset.make import make_dataset
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import write_phantom_set


def test_a_dataset_that_is_being_made_is_refused(
    tmp_path: Path, request_for: Any, propagate_by_copying: Callable[..., Any]
) -> None:
    """From the plan to the embeddings; what lies in the folder stays as it is, and no lock is left."""
    write_phantom_set(
        tmp_path, labelled=1, unlabelled=0, test=0, shape=(8, 10, 12), spacing_mm=(3.0, 3.0, 3.0), classes=1
    )
    request = request_for(
        tmp_path, unlabelled=None, test_images=None, test_labels=None, label_names=("organ",), processes=1
    )

    def make(embed: Callable[[Path], None]) -> None:
        make_dataset(request, embed=embed, warn=lambda line: None, propagate=propagate_by_copying)

    def again(folder: Path) -> None:
        before = sorted(folder.rglob("*"))
        with pytest.raises(UserError, match=f"{folder.name} is being written by process"):
            make(pytest.fail)
        assert sorted(folder.rglob("*")) == before
        tried.append(folder)

    tried: list[Path] = []
    make(again)
    assert tried == [request.folder]
    assert [path.name for path in request.raw.iterdir()] == [request.dataset]
