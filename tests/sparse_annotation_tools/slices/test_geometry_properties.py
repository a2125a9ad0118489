"""Properties of grids, planes and views that hold for any scan."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_annotation_tools.files.volumes import Geometry
from sparse_annotation_tools.schema import AnnotatedSlice, Case
from sparse_annotation_tools.slices.planes import (
    annotation_volume,
    axes_of_views,
    complete_planes,
    off_planes,
    on_plane,
)
from sparse_annotation_tools.slices.views import UNKNOWN, nearest_plane, view_label

SHAPE = (4, 5, 6)
cheap = settings(derandomize=True, deadline=None, max_examples=60)

planes = st.lists(
    st.integers(0, 2).flatmap(lambda axis: st.tuples(st.just(axis), st.integers(0, SHAPE[axis] - 1))),
    min_size=1,
    max_size=5,
    unique=True,
)
seeds = st.integers(0, 2**32 - 1)
sides = st.tuples(*[st.floats(0.1, 10)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)


def grid(spacing: tuple[float, ...], origin: tuple[float, ...], seed: int) -> Geometry:
    """Return a grid that is turned in any way."""
    turned, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return Geometry(size=(6, 5, 4), spacing=spacing, origin=origin, direction=tuple(turned.ravel()))


@cheap
@given(spacing=sides, origin=origins, seed=seeds, shift=st.floats(-0.04, 0.04))
def test_a_grid_is_itself_and_stays_so_within_rounding(
    spacing: tuple[float, ...], origin: tuple[float, ...], seed: int, shift: float
) -> None:
    """Both ways round."""
    one = grid(spacing, origin, seed)
    moved = tuple(each + shift * min(spacing) for each in origin)
    other = Geometry(size=one.size, spacing=one.spacing, origin=moved, direction=one.direction)
    assert one.difference(one) is None
    assert one.difference(other) is None
    assert other.difference(one) is None


@cheap
@given(spacing=sides, origin=origins, seed=seeds, axis=st.integers(0, 2))
def test_another_grid_is_told_apart_both_ways_round(
    spacing: tuple[float, ...], origin: tuple[float, ...], seed: int, axis: int
) -> None:
    """By half a voxel of position, a hundredth of spacing, a row of voxels, or an axis that points the other way."""
    one = grid(spacing, origin, seed)
    unit = np.eye(3)[axis]
    others = [
        {"origin": tuple(np.add(origin, 0.5 * unit * max(spacing)))},
        {"spacing": tuple(np.multiply(spacing, 1 + 0.01 * unit))},
        {"size": tuple(np.add(one.size, unit.astype(int)).tolist())},
        {"direction": tuple((np.reshape(one.direction, (3, 3)) * (1 - 2 * unit)).ravel())},
    ]
    for change in others:
        other = Geometry(**{**vars(one), **change})
        assert one.difference(other) is not None, change
        assert other.difference(one) is not None, change


@cheap
@given(order=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_views_follow_the_axes_and_not_their_signs(order: list[int], signs: tuple[int, ...]) -> None:
    """Each view steps along the array axis of its patient axis, in all 48 right-angled orientations."""
    direction = np.zeros((3, 3))
    direction[order, range(3)] = signs
    axes = axes_of_views(direction.ravel().tolist())
    assert sorted(axes.values()) == [0, 1, 2]
    for row, view in enumerate(("sagittal", "coronal", "axial")):
        assert axes[view] == 2 - order.index(row)


@cheap
@given(chosen=planes, seed=seeds)
def test_what_is_put_on_planes_lies_there_alone(chosen: list[tuple[int, int]], seed: int) -> None:
    """Off the planes nothing is known; what is taken off them leaves nothing on them; whole planes are found again."""
    dense = np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.int16)
    volume = annotation_volume(SHAPE, chosen, [dense[on_plane(plane)] for plane in chosen])
    known = volume >= 0
    assert np.array_equal(volume[known], dense[known])
    assert not off_planes(known, chosen).any()
    assert {*chosen} <= {*complete_planes(known)}


@cheap
@given(chosen=planes)
def test_the_nearest_plane_is_nearest(chosen: list[tuple[int, int]]) -> None:
    """The distance is the least of all planes', it is that of the plane named, and 0 just on planes."""
    position, distance = nearest_plane(SHAPE, chosen)
    steps = np.stack([np.abs(np.indices(SHAPE)[axis] - index) for axis, index in chosen])
    assert np.array_equal(distance, steps.min(axis=0))
    assert np.array_equal(np.take_along_axis(steps, position[None].astype(int), axis=0)[0], distance)
    on_any = np.zeros(SHAPE, bool)
    for plane in chosen:
        on_any[on_plane(plane)] = True
    assert np.array_equal(distance == 0, on_any)


@cheap
@given(chosen=planes, seed=seeds)
def test_a_plane_more_never_takes_any_voxel_further_away(chosen: list[tuple[int, int]], seed: int) -> None:
    """And the order of planes changes no distance."""
    _, distance = nearest_plane(SHAPE, chosen)
    shuffled = [chosen[number] for number in np.random.default_rng(seed).permutation(len(chosen))]
    assert np.array_equal(nearest_plane(SHAPE, shuffled)[1], distance)
    for number in range(1, len(chosen)):
        assert (nearest_plane(SHAPE, chosen[:number])[1] >= distance).all()


@cheap
@given(chosen=planes, seed=seeds, owned=st.integers(1, 5))
def test_the_annotators_voxels_stand_in_every_view(chosen: list[tuple[int, int]], seed: int, owned: int) -> None:
    """Off the planes a view says what the slices of its own say, or nothing."""
    random = np.random.default_rng(seed)
    dense = random.integers(0, 3, SHAPE).astype(np.int16)
    annotation = annotation_volume(SHAPE, chosen, [dense[on_plane(plane)] for plane in chosen])
    propagated = [random.integers(0, 3, SHAPE).astype(np.uint8) for _ in chosen]
    slices = tuple(
        AnnotatedSlice(
            view="axial", axis=axis, index=index, area=1,
            classes=tuple(int(value) for value in np.unique(dense[on_plane((axis, index))]) if value),
        )
        for axis, index in chosen
    )  # fmt: skip
    networks = {"axial": tuple(range(min(owned, len(chosen))))}
    case = Case(labelled=True, shape=SHAPE, sagittal_axis=2, slices=slices, networks=networks)
    label = view_label(case, propagated, annotation, "axial")
    drawn = annotation >= 0
    assert np.array_equal(label[drawn], annotation[drawn])
    said = np.stack([propagated[k] for k in networks["axial"]])
    assert ((label[None] == said).any(axis=0) | (label == UNKNOWN) | drawn).all()
