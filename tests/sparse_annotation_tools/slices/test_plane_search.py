"""Tests of finding the painted planes in a label map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.slices.plane_search import find_planes
from sparse_annotation_tools.slices.planes import off_planes, on_plane

ORGAN = make_phantom(3, shape=(24, 32, 36), classes=1).label > 0
AREAS = [ORGAN.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]


def painted_on(planes: list[tuple[int, int]], organ: NDArray[np.bool_] = ORGAN) -> NDArray[np.bool_]:
    """Return the organ as painted on some planes."""
    painted = np.zeros_like(organ)
    for plane in planes:
        painted[on_plane(plane)] = organ[on_plane(plane)]
    return painted


def large_planes(axis: int) -> list[tuple[int, int]]:
    """Return the planes on which the organ shows well."""
    return [(axis, int(index)) for index in np.flatnonzero(AREAS[axis] > 0.4 * AREAS[axis].max())]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_painted_planes_are_found_in_any_combination(data: st.DataObject) -> None:
    """One to five slices through the organ, of one orientation or several, with gaps between parallel ones."""
    candidates = [plane for axis in range(3) for plane in large_planes(axis)[::3]]
    planes = data.draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=5, unique=True))
    assert find_planes(painted_on(planes), "labels") == sorted(planes)


def test_many_parallel_slices_are_found() -> None:
    """Every third slice of a whole organ."""
    planes = large_planes(0)[::3]
    assert find_planes(painted_on(planes), "labels") == planes


def test_the_result_is_the_smallest_cover_by_brute_force() -> None:
    """Small random paintings: no smaller set of planes holds every voxel, and an ambiguous one is an error."""
    rng = np.random.default_rng(0)
    told, refused = 0, 0
    for _ in range(60):
        painted = np.zeros((3, 4, 3), dtype=bool)
        for _ in range(rng.integers(1, 3)):
            axis = int(rng.integers(3))
            plane = (axis, int(rng.integers(painted.shape[axis])))
            painted[on_plane(plane)] |= rng.random(painted[on_plane(plane)].shape) < 0.7
        covers = smallest_covers(painted)
        try:
            assert find_planes(painted, "labels") == covers[0]
            assert len(covers) == 1
            told += 1
        except UserError:
            refused += 1
    assert told > 10
    assert refused > 10


def smallest_covers(painted: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Return all smallest covers, by trying every set of planes."""
    every = [(axis, index) for axis in range(3) for index in range(painted.shape[axis])]
    for size in range(len(every) + 1):
        covers = [list(some) for some in itertools.combinations(every, size) if not off_planes(painted, some).any()]
        if covers:
            return covers
    raise AssertionError


def test_nothing_painted_is_an_error() -> None:
    """The error says that an unlabelled image belongs elsewhere."""
    with pytest.raises(UserError, match=r"no painted voxel.*--unlabelled"):
        find_planes(np.zeros((4, 4, 4), dtype=bool), "labels")


def test_dense_labels_are_an_error_that_names_the_option() -> None:
    """A dense label given by mistake must not be taken for a pile of annotated slices."""
    with pytest.raises(UserError, match=r"densely labelled.*--simulate"):
        find_planes(ORGAN, "labels")


def test_a_line_belongs_to_no_plane_and_is_an_error() -> None:
    """A stroke of one voxel's width lies on two planes alike; the error names both and the way out."""
    painted = np.zeros((8, 8, 8), dtype=bool)
    painted[3, 4, 2:6] = True
    with pytest.raises(UserError, match=r"[zy]=\d hold every painted voxel, and so do [zy]=\d;.*--planes"):
        find_planes(painted, "labels")


def test_many_slices_across_a_thin_object_are_not_taken_for_few_slices_along_it() -> None:
    """Else all that lies between the painted slices would turn into background."""
    lesion = np.zeros((12, 20, 20), dtype=bool)
    lesion[5:7, 4:15, 4:15] = True
    painted = painted_on([(2, index) for index in range(4, 15, 3)], lesion)
    with pytest.raises(UserError, match=r"thin lines.*--planes"):
        find_planes(painted, "labels")
