"""What the tests of the annotation page share: small scans, and sessions whose propagation copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.annotate.session import AnnotationRequest, Session
from sparse_annotation_tools.annotate.workers import Workers

SHAPE = (6, 7, 8)
PAGE = "page-1"

# Index axes x, y, z point to: the back, down and the left, then turned by 20 degrees.
_COS, _SIN = float(np.cos(np.radians(20))), float(np.sin(np.radians(20)))
DIRECTIONS = {
    "upright": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "flipped": (-1, 0, 0, 0, 1, 0, 0, 0, -1),
    "permuted": (0, 0, 1, 1, 0, 0, 0, -1, 0),
    "oblique": (0, _SIN, _COS, 1, 0, 0, 0, -_COS, _SIN),
}


def copy_slice(
    image: NDArray[Any], spacing_mm: object, axis: int, index: int, label: NDArray[np.uint8], *_: object
) -> NDArray[np.uint8]:
    """Stand in for registration: carry the label unchanged through the volume."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))


class RunHere(Workers):
    """Computes at once, in this process."""

    def __init__(self) -> None:
        """No process is started."""
        super().__init__(0)

    @property
    def count(self) -> int:
        """This process."""
        return 1

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return a future that is done."""
        from concurrent.futures import Future

        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def write_scan(path: Path, direction: str = "upright", array: NDArray[Any] | None = None) -> Path:
    """Write a scan on a grid of its own."""
    if array is None:
        array = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.5))
    image.SetOrigin((-10.0, 20.0, 5.0))
    image.SetDirection([float(value) for value in DIRECTIONS[direction]])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


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


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two scans, a and b, and where to write to."""
    for case in "ab":
        write_scan(tmp_path / "images" / f"{case}_0000.nii.gz")
    return tmp_path / "images", tmp_path / "out"


@pytest.fixture
def start(folders: tuple[Path, Path]) -> Iterator[Callable[..., Session]]:
    """Start a session on the two scans; starting another ends the one before, as a killed process would."""
    running: list[Session] = []

    def run(**changes: Any) -> Session:
        for session in running:
            session.folder.unlock()
        asked: dict[str, Any] = {"images": folders[0], "output": folders[1], "label_names": ("atrium", "aorta")}
        session = Session(
            AnnotationRequest(**{**asked, **changes}), workers=RunHere(), propagate=copy_slice, tell=lambda line: None
        )
        running.append(session)
        session.take_page(PAGE)
        return session

    yield run
    for session in running:
        session.folder.unlock()
