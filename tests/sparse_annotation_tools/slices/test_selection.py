"""Tests of the simulated annotator's choice of slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.selection import networks_of_slices, select_slices, views_of_strategy

AXES = {"sagittal": 2, "coronal": 1, "axial": 0}
ORGAN = make_phantom(1, shape=(24, 32, 36), classes=2).label > 0
TABLE_VIII = ("SSS", "CCC", "AAA", "ACA", "ASA", "CAC", "CSC", "SAS", "SCS", "SCA")


def test_the_largest_slice_of_each_view_is_chosen() -> None:
    """No other slice of the view shows more foreground."""
    for axis, index in select_slices(ORGAN, AXES, views_of_strategy("SCA")):
        area = np.moveaxis(ORGAN, axis, 0).sum(axis=(1, 2))
        assert area[index] == area.max()


def test_ties_go_to_the_lowest_index() -> None:
    """Equal slices: the choice must not depend on anything else."""
    block = np.zeros((6, 7, 8), dtype=bool)
    block[2:5, 3:6, 1:7] = True
    assert select_slices(block, AXES, views_of_strategy("SCA")) == [(2, 1), (1, 3), (0, 2)]


@pytest.mark.parametrize("strategy", TABLE_VIII)
def test_repeated_views_take_distinct_slices_with_a_gap(strategy: str) -> None:
    """Every strategy of Table VIII: the letters' views in order, the largest slice first, no two slices close."""
    views = views_of_strategy(strategy)
    planes = select_slices(ORGAN, AXES, views)
    assert [axis for axis, _ in planes] == [AXES[view] for view in views]
    for view in set(views):
        indices = [index for axis, index in planes if axis == AXES[view]]
        area = np.moveaxis(ORGAN, AXES[view], 0).sum(axis=(1, 2))
        extent = np.flatnonzero(area)
        gap = (extent[-1] - extent[0] + 1) // (2 * len(indices))
        assert area[indices[0]] == area.max()
        assert (area[indices] > 0).all()
        assert all(abs(a - b) >= gap for k, a in enumerate(indices) for b in indices[:k])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_forgetting_voxels_off_the_chosen_slices_changes_no_choice(seed: int) -> None:
    """The choice depends on the other slices only where they show more."""
    rng = np.random.default_rng(seed)
    views = views_of_strategy("SCA")
    planes = select_slices(ORGAN, AXES, views)
    fewer = ORGAN & (rng.random(ORGAN.shape) < rng.random())
    for axis, index in planes:
        np.moveaxis(fewer, axis, 0)[index] = np.moveaxis(ORGAN, axis, 0)[index]
    assert select_slices(fewer, AXES, views) == planes


def test_an_empty_label_is_refused() -> None:
    """There is no slice to draw."""
    with pytest.raises(UserError, match="no foreground"):
        select_slices(np.zeros((4, 4, 4), dtype=bool), AXES, ("axial",))


def test_more_slices_than_the_object_has_are_refused() -> None:
    """Three slices of a single-slice object."""
    flat = np.zeros((6, 6, 6), dtype=bool)
    flat[3, 2:4, 2:4] = True
    with pytest.raises(UserError, match="too few axial slices; expected 3"):
        select_slices(flat, AXES, ("axial",) * 3)


@pytest.mark.parametrize("strategy", ["", "SCX", "S C A"])
def test_an_unknown_strategy_is_refused(strategy: str) -> None:
    """Only S, C and A are letters of a strategy."""
    with pytest.raises(UserError, match="no slice strategy"):
        views_of_strategy(strategy)


def test_networks_learn_from_the_slices_of_their_own_view() -> None:
    """Two simulated slices, or any number of real ones: a network has none, one or several."""
    assert networks_of_slices(("sagittal", "axial"), simulated=True) == {"sagittal": (0,), "coronal": (), "axial": (1,)}
    assert networks_of_slices(("axial", "coronal", "sagittal"), simulated=True) == {
        "sagittal": (2,),
        "coronal": (1,),
        "axial": (0,),
    }
    real = networks_of_slices(("axial", "axial", "axial"), simulated=False)
    assert real == {"sagittal": (), "coronal": (), "axial": (0, 1, 2)}


@pytest.mark.parametrize("strategy", TABLE_VIII[:-1])
def test_three_simulated_slices_with_repeats_go_to_one_network_each(strategy: str) -> None:
    """Network k learns from slice k."""
    networks = networks_of_slices(views_of_strategy(strategy), simulated=True)
    assert networks == {view: (k,) for k, view in enumerate(VIEWS)}
