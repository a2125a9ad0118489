"""Tests of views, planes and the list of planes that a user gives."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import (
    annotation_volume,
    axes_of_views,
    complete_planes,
    off_planes,
    on_plane,
    read_planes_file,
)

SIGNED_PERMUTATIONS = [
    np.eye(3)[:, order] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS)
def test_each_view_steps_along_its_patient_axis_in_every_right_angled_orientation(direction: np.ndarray) -> None:
    """Moving one voxel along a view's array axis moves along left-right, front-back or head-feet, and nothing else."""
    axes = axes_of_views(tuple(direction.ravel()))
    for row, view in enumerate(VIEWS):
        index_axis = 2 - axes[view]
        assert abs(direction[row, index_axis]) == 1


@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS[::5])
def test_a_slightly_oblique_grid_has_the_views_of_the_straight_one(direction: np.ndarray) -> None:
    """Turning the grid by 20 degrees about any axis changes no view and needs no warning."""
    expected = axes_of_views(tuple(direction.ravel()))
    for turn in np.eye(3) * np.radians(20):
        oblique = Rotation.from_rotvec(turn).as_matrix() @ direction
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert axes_of_views(tuple(oblique.ravel())) == expected


def test_a_very_oblique_grid_is_warned_about() -> None:
    """Beyond 30 degrees a view is only the nearest one, and the user is told so."""
    direction = Rotation.from_rotvec([0, 0, np.radians(35)]).as_matrix()
    with pytest.warns(UserWarning, match="oblique by 35 degrees"):
        axes = axes_of_views(tuple(direction.ravel()))
    assert axes == {"sagittal": 2, "coronal": 1, "axial": 0}


def test_a_grid_whose_axes_fall_on_one_view_is_refused() -> None:
    """Two image axes that are both nearest to head-feet leave no way to name the planes."""
    turned = Rotation.from_euler("xyz", [40, 30, 40], degrees=True).as_matrix()
    assert len(set(np.abs(turned).argmax(axis=0))) < 3, "the test needs a direction that is not one to one"
    with pytest.raises(UserError, match="one to one"):
        axes_of_views(tuple(turned.ravel()))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_annotations_come_back_from_their_planes(axis: int) -> None:
    """What is put on a plane is read from it, and all else stays unknown."""
    shape = (4, 5, 6)
    side = [length for each, length in enumerate(shape) if each != axis]
    drawn = np.arange(np.prod(side)).reshape(side) % 3
    volume = annotation_volume(shape, [(axis, 2)], [drawn])
    np.testing.assert_array_equal(volume[on_plane((axis, 2))], drawn)
    assert (volume >= 0).sum() == drawn.size


def test_complete_planes_are_those_without_a_gap() -> None:
    """A plane counts only when every voxel of it was annotated."""
    annotated = np.zeros((4, 5, 6), dtype=bool)
    annotated[1] = True
    annotated[:, :, 3] = True
    annotated[:, 2, 0] = True  # a line is no plane
    assert complete_planes(annotated) == [(0, 1), (2, 3)]
    rest = off_planes(annotated, [(0, 1), (2, 3)])
    assert rest.sum() == 3


def test_the_planes_file_is_read_by_case(tmp_path: Path) -> None:
    """Views may be written in any case, with spaces and Excel's byte order mark."""
    path = tmp_path / "planes.csv"
    path.write_text("\ufeffcase,view,index\na, Axial ,3\nb,sagittal,0\na,coronal,12\n", encoding="utf-8")
    assert read_planes_file(path) == {"a": [("axial", 3), ("coronal", 12)], "b": [("sagittal", 0)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,view,index\na,axial,3\n", "columns"),
        ("case,view,index\na,top,3\n", "line 2 says view 'top'"),
        ("case,view,index\na,axial,-3\n", "index '-3'"),
        ("case,view,index\na,axial,3.5\n", "index '3.5'"),
        ("case,view,index\na,axial\n", "index ''"),
        ("case,view,index\na,axial,3\na,axial,3\n", "line 3 lists a axial 3 twice"),
    ],
)
def test_a_wrong_planes_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The error names the line and what was expected."""
    path = tmp_path / "planes.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_planes_file(path)


def test_a_missing_planes_file_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(UserError, match=r"nothing\.csv cannot be read"):
        read_planes_file(tmp_path / "nothing.csv")
