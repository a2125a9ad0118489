"""What the viewer can show of one case, as layers of one grid that is small enough for a browser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.report.case_volumes import CaseVolumes

Array = NDArray[Any]

MOST_VOXELS = 8_000_000
"""Of a layer. Larger scans are shown coarser; numbers and thumbnails are made of all voxels."""

LABEL, DOUBT, ERRORS = "label", "doubt", "errors"
MISSED, TOO_MUCH, OTHER_CLASS = 1, 2, 3  # values of the layer of errors


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer over the image.

    Attributes:
        name: of its file.
        title: for readers.
        kind: what its values mean: `label` the classes, `doubt` 0 to 255 for a probability of 0 to 1, `errors` what is
            wrong with a voxel of the prediction.
        array: uint8, upright [z, y, x].
        is_thin: whether it lies on single planes, which must not get lost where the page shows fewer voxels.
    """

    name: str
    title: str
    kind: str
    array: Array
    is_thin: bool = False


def layers_of(case: CaseVolumes, *, doubt_title: str = "Doubt about the prediction") -> list[Layer]:
    """Return every layer of a case, the lowest first; `doubt_title` says what `case.wrong` was made of."""
    layers = []
    if case.confidence is not None:
        unsure = 255 - case.confidence
        layers.append(Layer(name="confidence", title="Confidence of the fused label", kind=DOUBT, array=unsure))
    if case.wrong is not None:
        wrong = np.round(255 * case.wrong).astype(np.uint8)
        layers.append(Layer(name="disagreement", title=doubt_title, kind=DOUBT, array=wrong))
    for number, (plane, label) in enumerate(zip(case.planes, case.propagated, strict=True)):
        title = f"Propagated from {plane.view} slice"
        layers.append(Layer(name=f"propagated_{number}", title=title, kind=LABEL, array=label))
    for name, title, dense in (
        ("fused", "Pseudo-label, fused from all slices", case.fused),
        ("prediction", "Prediction", case.prediction),
        ("truth", "Truth", case.truth),
    ):
        if dense is not None:
            layers.append(Layer(name=name, title=title, kind=LABEL, array=dense))
    if case.prediction is not None and case.truth is not None:
        errors = _errors(case.prediction, case.truth)
        layers.append(Layer(name="errors", title="Prediction against truth", kind=ERRORS, array=errors))
    if case.annotation is not None:
        drawn = Layer(name="annotation", title="Drawn annotation", kind=LABEL, array=case.annotation, is_thin=True)
        layers.append(drawn)
    return layers


def _errors(prediction: Array, truth: Array) -> Array:
    errors = np.zeros(truth.shape, np.uint8)
    errors[(prediction == 0) & (truth > 0)] = MISSED
    errors[(prediction > 0) & (truth == 0)] = TOO_MUCH
    errors[(prediction > 0) & (truth > 0) & (prediction != truth)] = OTHER_CLASS
    return errors


def coarsening(shape: tuple[int, ...], spacing_mm: tuple[float, ...], most: int = MOST_VOXELS) -> tuple[int, ...]:
    """Return by which factor each axis is shown coarser, so that at most `most` voxels are left.

    The axis with the finest spacing is halved first, so that voxels become more even.

    >>> coarsening((88, 640, 640), (0.625, 0.625, 0.625), most=8_000_000)
    (2, 2, 2)
    >>> coarsening((30, 47, 61), (3.75, 3.75, 3.75))
    (1, 1, 1)
    """
    factors = [1] * len(shape)
    while math.prod(math.ceil(side / factor) for side, factor in zip(shape, factors, strict=True)) > most:
        step_mm = [step * factor for step, factor in zip(spacing_mm, factors, strict=True)]
        factors[int(np.argmin(step_mm))] *= 2
    return tuple(factors)


def coarser_image(image: Array, factors: tuple[int, ...]) -> Array:
    """Return the mean of each block of `factors` voxels."""
    return np.asarray(_blocks(image, factors).mean(axis=(1, 3, 5)), np.float32)


def coarser_layer(layer: Layer, factors: tuple[int, ...]) -> Array:
    """Return a layer's values on the coarser grid: the most frequent label, the mean doubt.

    Of a thin layer every label stays.
    """
    if factors == (1, 1, 1):
        return layer.array
    if layer.is_thin:
        return np.asarray(_blocks(layer.array, factors).max(axis=(1, 3, 5)), np.uint8)
    if layer.kind == DOUBT:
        return np.round(coarser_image(layer.array, factors)).astype(np.uint8)
    values = [int(value) for value in np.flatnonzero(np.bincount(layer.array.ravel()))]
    shares = np.stack([coarser_image(layer.array == value, factors) for value in values])
    return np.asarray(np.asarray(values, np.uint8)[shares.argmax(axis=0)])


def _blocks(array: Array, factors: tuple[int, ...]) -> Array:
    """Return [z', fz, y', fy, x', fx]; the last block is filled with the values at its edge."""
    padding = [(0, -side % factor) for side, factor in zip(array.shape, factors, strict=True)]
    padded = np.pad(array, padding, mode="edge")
    sides = [side // factor for side, factor in zip(padded.shape, factors, strict=True)]
    return padded.reshape([number for pair in zip(sides, factors, strict=True) for number in pair])
