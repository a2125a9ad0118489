"""What every test shares: one thread per process, nnU-Net folders of its own, and real scans where there are some."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Before numpy, torch and ITK are imported: results that repeat, and no fight over the cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import pytest

import nnunetv2_rada._autoload  # noqa: F401  a checkout on PYTHONPATH has no .pth file to do this

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class NnunetFolders:
    """nnU-Net's three folders, empty, as the environment names them."""

    raw: Path
    preprocessed: Path
    results: Path


@pytest.fixture(autouse=True)
def nnunet_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    """Point nnU-Net at empty temporary folders, so that no test can touch a user's own."""
    root = tmp_path_factory.mktemp("nnunet")
    folders = NnunetFolders(raw=root / "raw", preprocessed=root / "preprocessed", results=root / "results")
    for name in ("raw", "preprocessed", "results"):
        getattr(folders, name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(getattr(folders, name)))
    monkeypatch.delenv("RADA_CONFIG", raising=False)
    return folders


@pytest.fixture(autouse=True)
def ended_by_sigterm() -> Iterator[None]:
    """Undo what a command did to SIGTERM: processes that later tests fork must be ended by it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """`tests/data`: small reference files."""
    return REPOSITORY / "tests" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans named by `RADA_TEST_DATA`; tests that want it are extra, and skip without it."""
    folder = Path(os.environ.get("RADA_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} does not exist; set RADA_TEST_DATA")
    return folder
