"""A place for each row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reliability.bases import make_base, make_place
from reliability.place import Place


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where prepared folders are kept."""
    return tmp_path_factory.mktemp("bases")


@pytest.fixture
def place(tmp_path: Path, bases: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Place]:
    """Return a fresh copy of a prepared folder."""
    return lambda base: make_place(tmp_path / "place", make_base(bases, base), monkeypatch)
