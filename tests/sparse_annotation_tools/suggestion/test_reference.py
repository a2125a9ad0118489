"""Tests of carrying a label from one scan to another, with real registration."""

from __future__ import annotations

import numpy as np

from sparse_annotation_tools.files.volumes import Geometry, Volume
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.suggestion.reference import carry_label


def volume_and_label(directions: str, shift_mm: float = 0.0) -> tuple[Volume, np.ndarray]:
    """The same patient, somewhere else in the scanner, stored in another way."""
    phantom = make_phantom(0, shape=(16, 24, 28), spacing_mm=(4.0, 3.0, 3.0), directions=directions)
    image, _ = phantom.to_sitk()
    origin = tuple(np.asarray(image.GetOrigin()) + shift_mm)
    geometry = Geometry(size=image.GetSize(), spacing=image.GetSpacing(), origin=origin, direction=image.GetDirection())
    return Volume(array=phantom.image, geometry=geometry), phantom.label


def test_a_label_is_carried_to_the_same_anatomy_in_another_place_and_orientation() -> None:
    """The grids share neither axes nor position; the seed makes it repeatable."""
    reference, label = volume_and_label("identity")
    scan, truth = volume_and_label("permuted", shift_mm=25.0)
    carried = carry_label(reference, label, scan)
    assert carried.shape == truth.shape
    assert 2 * (carried * (truth > 0)).sum() / (carried.sum() + (truth > 0).sum()) > 0.85
    np.testing.assert_array_equal(carry_label(reference, label, scan), carried)
