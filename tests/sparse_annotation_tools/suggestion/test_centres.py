"""Tests of points that the user gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.suggestion.centres import index_of_point, read_centres_file


def test_a_point_is_found_in_any_grid() -> None:
    """R, A, S in mm lead to the voxel whose ITK position (L, P, S) is their mirror image."""
    for directions in ("identity", "permuted", "flipped", "oblique"):
        image, _ = make_phantom(0, shape=(8, 9, 10), spacing_mm=(3.0, 2.0, 1.0), directions=directions).to_sitk()
        geometry = Geometry(
            size=image.GetSize(), spacing=image.GetSpacing(), origin=image.GetOrigin(), direction=image.GetDirection()
        )
        left, back, head = image.TransformIndexToPhysicalPoint((4, 3, 2))
        assert index_of_point((-left, -back, head), geometry, "a") == pytest.approx((2, 3, 4), abs=1e-6)


def test_a_point_outside_the_scan_is_refused() -> None:
    """Left and right mixed up, mostly."""
    grid = Geometry(size=(8, 8, 8), spacing=(1, 1, 1), origin=(0, 0, 0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(UserError, match="outside its scan"):
        index_of_point((4, -4, 4), grid, "a")


def test_a_centres_file_is_read(tmp_path: Path) -> None:
    """Spaces and further columns do no harm."""
    (tmp_path / "c.csv").write_text("case, r, a, s, who\nla_1, -1.5, 2, 3e1, me\n")
    assert read_centres_file(tmp_path / "c.csv") == {"la_1": (-1.5, 2.0, 30.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,x,y,z\na,1,2,3\n", "line 2 is not understood, expected a CSV with a first line case,r,a,s"),
        ("case,r,a,s\na,1,2\n", "line 2 is not understood"),
        ("case,r,a,s\na,1,2,3\na,1,2,3\n", "line 3 lists case a twice"),
    ],
)
def test_an_unreadable_centres_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the line."""
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_centres_file(tmp_path / "c.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_centres_file(tmp_path / "none.csv")
