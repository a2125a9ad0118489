"""The layers of the viewer, and how large scans are shown coarser."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_annotation_tools.report.case_volumes import CaseVolumes, Plane
from sparse_annotation_tools.report.page.layers import (
    DOUBT,
    LABEL,
    MISSED,
    OTHER_CLASS,
    TOO_MUCH,
    Layer,
    coarsening,
    coarser_image,
    coarser_layer,
    layers_of,
)

SHAPE = (4, 6, 8)


def label(value: int = 1) -> np.ndarray:
    """A label in one corner."""
    array = np.zeros(SHAPE, np.uint8)
    array[:2, :2, :2] = value
    return array


def test_a_case_has_the_layers_that_it_has_files_for() -> None:
    """An image alone has none; every label that there is becomes one layer, the drawn one on top."""
    bare = CaseVolumes(name="a", image=np.zeros(SHAPE, np.float32), spacing_mm=(1, 1, 1), affine=np.eye(4))
    assert layers_of(bare) == []
    full = CaseVolumes(
        name="a",
        image=np.zeros(SHAPE, np.float32),
        spacing_mm=(1, 1, 1),
        affine=np.eye(4),
        planes=(Plane(view="axial", axis=0, index=1),),
        annotation=label(),
        propagated=(label(),),
        fused=label(),
        confidence=label(255),
        prediction=label(),
        truth=label(),
        wrong=np.zeros(SHAPE, np.float32),
    )
    names = [layer.name for layer in layers_of(full)]
    assert names == [
        "confidence", "disagreement", "propagated_0", "fused", "prediction", "truth", "errors", "annotation"
    ]  # fmt: skip


def test_errors_are_told_apart() -> None:
    """Missed, too much and another class have their own values; where both agree there is none."""
    truth, prediction = np.zeros((2, 1, 5), np.uint8), np.zeros((2, 1, 5), np.uint8)
    truth[0, 0] = [0, 1, 0, 1, 2]
    prediction[0, 0] = [0, 0, 1, 1, 1]
    case = CaseVolumes(
        name="a",
        image=np.zeros((2, 1, 5), np.float32),
        spacing_mm=(1, 1, 1),
        affine=np.eye(4),
        prediction=prediction,
        truth=truth,
    )
    errors = next(layer for layer in layers_of(case) if layer.name == "errors")
    assert errors.array[0, 0].tolist() == [0, MISSED, TOO_MUCH, 0, OTHER_CLASS]


@given(
    shape=st.tuples(*[st.integers(1, 600)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    most=st.integers(1000, 100_000),
)
def test_a_coarser_grid_is_small_enough_and_no_coarser(
    shape: tuple[int, ...], spacing: tuple[float, ...], most: int
) -> None:
    """At most as many voxels as allowed are left, and small scans stay as they are."""
    factors = coarsening(shape, spacing, most)
    left = [math.ceil(side / factor) for side, factor in zip(shape, factors, strict=True)]
    assert math.prod(left) <= most
    if math.prod(shape) <= most:
        assert factors == (1, 1, 1)


def test_a_drawn_plane_survives_coarsening() -> None:
    """A label on a single plane is still there, while a single voxel of a dense label gives way to its surroundings."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[:, 3, :] = 2
    factors = (2, 2, 2)
    thin = coarser_layer(Layer(name="a", title="", kind=LABEL, array=drawn, is_thin=True), factors)
    assert (thin[:, 1, :] == 2).all()
    assert thin.sum() == 2 * thin[:, 1, :].size
    speck = np.zeros(SHAPE, np.uint8)
    speck[0, 0, 0] = 1
    assert not coarser_layer(Layer(name="a", title="", kind=LABEL, array=speck), factors).any()


@pytest.mark.parametrize("kind", [LABEL, DOUBT])
def test_an_even_volume_stays_even(kind: str) -> None:
    """Coarsening a volume of one value gives that value, also where the last block is not full."""
    layer = Layer(name="a", title="", kind=kind, array=np.full((3, 5, 7), 3, np.uint8))
    coarse = coarser_layer(layer, (2, 2, 4))
    assert coarse.shape == (2, 3, 2)
    assert (coarse == 3).all()
    np.testing.assert_allclose(coarser_image(layer.array, (2, 2, 4)), 3)
