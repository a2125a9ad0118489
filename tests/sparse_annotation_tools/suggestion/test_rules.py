"""Tests of the rules that choose slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import annotation_volume, on_plane
from sparse_annotation_tools.suggestion.rules import (
    areas_from_slices,
    areas_of_label,
    centre_of_edges,
    next_by_area,
    next_by_doubt,
    slices_through,
)

AXES = {"sagittal": 2, "coronal": 1, "axial": 0}
SPACING_MM = (3.0, 2.0, 1.0)
SHAPE = (20, 30, 40)


def ellipsoid(centre: tuple[float, ...] = (9, 16, 22), radii: tuple[float, ...] = (6, 9, 12)) -> np.ndarray:
    """An ellipsoid on the grid of `SHAPE`."""
    positions = np.indices(SHAPE)
    return sum(((p - c) / r) ** 2 for p, c, r in zip(positions, centre, radii, strict=True)) <= 1


def drawn(organ: np.ndarray, planes: list[tuple[int, int]]) -> np.ndarray:
    """The annotation of an organ on planes."""
    return annotation_volume(SHAPE, planes, [organ[on_plane(plane)] for plane in planes])


def test_the_first_slices_meet_where_the_edges_are() -> None:
    """Even surroundings, bright or dark, do not pull the centre away from the only object."""
    for background in (0.0, 500.0):
        image = np.where(ellipsoid(), 100.0, background)
        assert centre_of_edges(image, SPACING_MM) == pytest.approx((9, 16, 22), abs=0.6)


def test_brightness_and_its_unit_do_not_move_the_first_slices() -> None:
    """Intensities have no unit in MR; extreme values and missing numbers are taken as they come."""
    rng = np.random.default_rng(0)
    image = ellipsoid() * 100.0 + rng.normal(size=SHAPE)
    centre = centre_of_edges(image, SPACING_MM)
    assert centre_of_edges(3000 * image - 7, SPACING_MM) == pytest.approx(centre, abs=1e-2)
    marked = image.copy()
    marked[0, 0, :3] = 1e6
    assert centre_of_edges(marked, SPACING_MM) == pytest.approx(centre, abs=0.5)
    marked[0, 0, :3] = np.nan
    assert np.isfinite(centre_of_edges(marked, SPACING_MM)).all()


def test_an_image_without_edges_is_cut_in_the_middle() -> None:
    """There is nothing else to go by."""
    assert centre_of_edges(np.ones(SHAPE, np.int16), SPACING_MM) == (9.5, 14.5, 19.5)


def test_slices_through_a_point_are_one_a_view_and_inside() -> None:
    """A point beyond the scan takes the outermost slice."""
    found = slices_through((-3, 12.4, 99), SHAPE, AXES)
    assert [(each.view, each.plane) for each in found] == [
        ("sagittal", (2, 39)),
        ("coronal", (1, 12)),
        ("axial", (0, 0)),
    ]


def test_of_a_dense_label_the_largest_slice_of_each_view_comes_first() -> None:
    """With nothing drawn, three slices are one a view, each the largest."""
    organ = ellipsoid()
    areas = areas_of_label(organ, SPACING_MM, AXES)
    found = next_by_area(areas, SPACING_MM, AXES, (), 3)
    assert sorted(each.view for each in found) == sorted(VIEWS)
    for each in found:
        axis, index = each.plane
        pixel_mm2 = np.prod(SPACING_MM) / SPACING_MM[axis]
        assert each.score == pytest.approx(organ[on_plane(each.plane)].sum() * pixel_mm2)
        assert areas[each.view][index] == areas[each.view].max()


def test_a_view_without_a_slice_comes_before_second_slices() -> None:
    """Each network learns from its own view."""
    areas = areas_of_label(ellipsoid(), SPACING_MM, AXES)
    (found,) = next_by_area(areas, SPACING_MM, AXES, [(0, 9), (2, 22)], 1)
    assert found.view == "coronal"


def test_second_slices_keep_away_from_drawn_ones() -> None:
    """Between the drawn slice and the end of the organ, on the side where there is more of it; never the same twice."""
    areas = areas_of_label(ellipsoid(), SPACING_MM, AXES)
    planes = [(0, 5), (1, 16), (2, 22)]
    found = next_by_area(areas, SPACING_MM, AXES, planes, 4)
    axial = [each.plane[1] for each in found if each.view == "axial"]
    assert axial[0] in range(9, 13)
    assert len({each.plane for each in found} | set(planes)) == 7


def test_no_slice_is_suggested_where_nothing_is_left() -> None:
    """Fewer slices than asked for, rather than useless ones."""
    flat = np.zeros(SHAPE, bool)
    flat[4, 10, 10] = True
    areas = areas_of_label(flat, SPACING_MM, AXES)
    assert len(next_by_area(areas, SPACING_MM, AXES, (), 9)) == 3


def test_areas_are_estimated_from_the_lines_along_which_slices_cross() -> None:
    """An ellipsoid of few voxels, cut through its middle, is met to a fifth of the largest area."""
    organ = ellipsoid()
    planes = [(0, 9), (1, 16), (2, 22)]
    estimated = areas_from_slices(drawn(organ, planes), planes, SPACING_MM, AXES)
    true = areas_of_label(organ, SPACING_MM, AXES)
    for view in VIEWS:
        assert np.abs(estimated[view] - true[view]).max() < 0.2 * true[view].max()


def test_parallel_slices_alone_say_where_between_them_to_look() -> None:
    """Areas are interpolated; views of which nothing is known wait."""
    planes = [(0, 4), (0, 14)]
    areas = areas_from_slices(drawn(ellipsoid(), planes), planes, SPACING_MM, AXES)
    # The axial slices are lines on the other two views, which come first, as they have no slice.
    assert next_by_area(areas, SPACING_MM, AXES, planes, 1)[0].view in ("sagittal", "coronal")
    third = next_by_area({**areas, "sagittal": np.zeros(40), "coronal": np.zeros(30)}, SPACING_MM, AXES, planes, 1)
    assert third[0].plane == (0, 9)


def test_a_drawn_slice_without_the_organ_is_not_suggested_again() -> None:
    """Background is information, too."""
    planes = [(0, 0), (1, 16), (2, 22)]
    areas = areas_from_slices(drawn(ellipsoid(), planes), planes, SPACING_MM, AXES)
    (found,) = next_by_area(areas, SPACING_MM, AXES, planes, 1)
    assert found.plane != (0, 0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_suggestions_do_not_depend_on_how_the_array_is_stored(seed: int, count: int) -> None:
    """Turning the axes turns the planes."""
    rng = np.random.default_rng(seed)
    wrong = rng.random((5, 6, 7)).astype(np.float32) ** 4
    planes = [(0, int(rng.integers(5)))]
    found = next_by_doubt(wrong, (3.0, 2.0, 1.0), AXES, planes, count, size_mm=5.0)
    turned_axes = {"sagittal": 0, "coronal": 2, "axial": 1}
    turned = next_by_doubt(
        wrong.transpose(2, 0, 1), (1.0, 3.0, 2.0), turned_axes, [(1, planes[0][1])], count, size_mm=5.0
    )
    assert [(each.view, each.plane[1]) for each in turned] == [(each.view, each.plane[1]) for each in found]
    assert [each.score for each in turned] == pytest.approx([each.score for each in found], rel=1e-4)


def test_the_slice_with_the_largest_expected_error_comes_first() -> None:
    """The score is the sum of the probabilities times the pixel's area."""
    wrong = np.zeros(SHAPE, np.float32)
    wrong[:, 7, :] = 0.25
    (found,) = next_by_doubt(wrong, SPACING_MM, AXES, (), 1, size_mm=20.0)
    assert (found.view, found.plane) == ("coronal", (1, 7))
    assert found.score == pytest.approx(0.25 * 20 * 40 * 3.0 * 1.0)


def test_doubt_on_drawn_slices_does_not_count() -> None:
    """Neither on the slice itself, nor where it crosses another one."""
    wrong = np.zeros(SHAPE, np.float32)
    wrong[:, 7, :] = 0.5
    wrong[3, 20, 10:20] = 0.5
    (found,) = next_by_doubt(wrong, SPACING_MM, AXES, [(1, 7)], 1, size_mm=20.0)
    assert found.plane == (1, 20)
    wrong[3, 20] = 0
    assert next_by_doubt(wrong, SPACING_MM, AXES, [(1, 7)], 1, size_mm=20.0) == []


def test_one_slice_settles_its_neighbourhood() -> None:
    """The second slice is another place in doubt, not the neighbour of the first one; drawn slices count the same."""
    wrong = np.zeros(SHAPE, np.float32)
    wrong[4:7, 10:20, 10:20] = 0.5
    wrong[5] *= 1.1
    wrong[15, 10:20, 10:15] = 0.5
    first, second = next_by_doubt(wrong, (1.0, 1.0, 1.0), AXES, (), 2, size_mm=30.0)
    assert (first.plane, second.plane) == ((0, 5), (0, 15))
    (after_drawn,) = next_by_doubt(wrong, (1.0, 1.0, 1.0), AXES, [(0, 5)], 1, size_mm=30.0)
    assert after_drawn == second
    assert second.score == pytest.approx(25 * (1 - np.exp(-10 / 9)))
