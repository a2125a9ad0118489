"""Overlap and surface distances of two masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sparse_annotation_tools.evaluation.metrics import (
    METRICS,
    Mask,
    label_metrics,
    largest_component,
    mask_metrics,
    surface_points,
)

DATA = Path(__file__).resolve().parents[2] / "data"
REFERENCE = {entry["name"]: entry for entry in json.loads((DATA / "metrics.json").read_text())}


def _reference_pair(name: str) -> tuple[Mask, Mask]:
    with np.load(DATA / "metrics.npz") as stored:
        shape = tuple(stored[f"{name}_shape"])
        bits = [np.unpackbits(stored[f"{name}_{role}"], count=int(np.prod(shape))) for role in ("pred", "truth")]
    prediction, truth = (mask.reshape(shape).astype(bool) for mask in bits)
    return prediction, truth


def _ball(centre: tuple[int, int, int], radius: float, shape: tuple[int, int, int] = (20, 22, 24)) -> Mask:
    grid = np.indices(shape).astype(float)
    return np.asarray(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2)


def _assert_equal(first: dict[str, float], second: dict[str, float]) -> None:
    assert first == pytest.approx(second, nan_ok=True, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", REFERENCE)
def test_measures_equal_medpy(name: str) -> None:
    """Five real and altered pairs give medpy 0.5.2's values, in voxels and in millimetres."""
    prediction, truth = _reference_pair(name)
    measures = mask_metrics(prediction, truth, REFERENCE[name]["spacing"])
    for metric in METRICS:
        assert measures[metric] == pytest.approx(REFERENCE[name][metric], abs=1e-6), metric


@given(seed=st.integers(0, 2**32 - 1), sigma=st.floats(0.3, 2.0))
@settings(max_examples=40, deadline=None)
def test_measures_equal_the_plain_distance_transform(seed: int, sigma: float) -> None:
    """Random masks, speckles and holes included, agree with whole-volume erosion and distance transforms."""
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(0.3, 4, 3)
    prediction, truth = (ndimage.gaussian_filter(rng.normal(size=(9, 10, 11)), sigma) > 0 for _ in range(2))
    if not prediction.any() or not truth.any():
        return
    measures = mask_metrics(prediction, truth, spacing)
    for unit, sampling in (("voxel", None), ("mm", spacing)):
        surface_p, surface_t = (mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth))
        to_truth = ndimage.distance_transform_edt(~surface_t, sampling)[surface_p]
        pooled = np.hstack([to_truth, ndimage.distance_transform_edt(~surface_p, sampling)[surface_t]])
        assert measures[f"hd95_{unit}"] == pytest.approx(np.percentile(pooled, 95))
        assert measures[f"asd_{unit}"] == pytest.approx(to_truth.mean())
        assert measures[f"assd_{unit}"] == pytest.approx(pooled.mean())


def test_equal_masks_overlap_fully_at_no_distance() -> None:
    """A prediction that equals the truth has overlap 1 and every distance 0."""
    mask = _ball((10, 11, 12), 6)
    measures = mask_metrics(mask, mask, (1, 2, 3))
    assert measures == {metric: 1.0 if metric in ("dice", "jaccard") else 0.0 for metric in METRICS}


def test_a_shift_of_one_plane_is_one_spacing_away() -> None:
    """Two planes apart by one voxel along z are 1 voxel and one z-spacing apart."""
    first, second = np.zeros((2, 9, 9, 9), dtype=bool)
    first[4], second[5] = True, True
    measures = mask_metrics(first, second, (2.5, 1, 1))
    assert [measures[f"{name}_voxel"] for name in ("hd95", "asd", "assd")] == [1, 1, 1]
    assert [measures[f"{name}_mm"] for name in ("hd95", "asd", "assd")] == [2.5, 2.5, 2.5]


def test_asd_runs_from_prediction_to_truth_only() -> None:
    """A part of the truth that is missed moves ASSD and HD95, but not ASD."""
    truth = _ball((6, 6, 6), 4) | _ball((13, 15, 17), 4)
    prediction = _ball((6, 6, 6), 4)
    measures = mask_metrics(prediction, truth, (1, 1, 1))
    assert measures["asd_voxel"] == 0
    assert measures["assd_voxel"] > 3
    assert measures["hd95_voxel"] > 9


def test_all_but_asd_are_symmetric() -> None:
    """Swapping prediction and truth changes ASD alone."""
    first, second = _ball((9, 10, 11), 5), _ball((11, 10, 12), 7)
    forth, back = mask_metrics(first, second, (1, 2, 0.5)), mask_metrics(second, first, (1, 2, 0.5))
    changed = {metric for metric in METRICS if forth[metric] != pytest.approx(back[metric])}
    assert changed == {"asd_voxel", "asd_mm"}


def test_measures_follow_the_axes() -> None:
    """Permuting and flipping axes, with their spacing, changes no measure."""
    first, second, spacing = _ball((9, 10, 11), 5), _ball((11, 10, 12), 7), np.array([1, 2, 0.5])
    order = (2, 0, 1)
    turned = [np.flip(mask.transpose(order), axis=1) for mask in (first, second)]
    _assert_equal(mask_metrics(*turned, spacing[list(order)]), mask_metrics(first, second, spacing))


def test_an_empty_prediction_scores_zero_without_distances() -> None:
    """Dice and Jaccard are 0, not undefined; a distance to nothing is undefined, not 0."""
    truth = _ball((9, 10, 11), 5)
    for prediction, reference in ((np.zeros_like(truth), truth), (truth, np.zeros_like(truth))):
        measures = mask_metrics(prediction, reference, (1, 1, 1))
        assert measures["dice"] == measures["jaccard"] == 0
        assert all(np.isnan(measures[metric]) for metric in METRICS[2:])


def test_two_empty_masks_leave_everything_undefined() -> None:
    """Nothing predicted where nothing is: no measure says anything."""
    nothing = np.zeros((4, 5, 6), dtype=bool)
    assert all(np.isnan(value) for value in mask_metrics(nothing, nothing, (1, 1, 1)).values())


def test_voxels_at_the_edge_of_the_image_are_surface() -> None:
    """A mask that fills the image has its outermost voxels as surface."""
    assert len(surface_points(np.ones((4, 5, 6), dtype=bool))) == 4 * 5 * 6 - 2 * 3 * 4


def test_each_label_is_measured_on_its_own() -> None:
    """The crop around a label changes nothing, whichever of several labels it is."""
    first, second = _ball((6, 6, 6), 4), _ball((13, 15, 17), 4)
    truth = first * 1 + second * 3
    prediction = np.roll(truth, 2, axis=1)
    measured = label_metrics(prediction, truth, [1, 2, 3], (1, 2, 0.5))
    for value in (1, 2, 3):
        _assert_equal(measured[value], mask_metrics(prediction == value, truth == value, (1, 2, 0.5)))


def test_the_largest_component_is_kept_with_its_corners() -> None:
    """Of two parts the larger stays; voxels that touch at a corner belong together."""
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[5, 5, 5] = mask[5, 5, 4] = True
    kept = largest_component(mask)
    assert kept.sum() == 3
    assert kept[0, 0, 0]
    assert not largest_component(np.zeros_like(mask)).any()
