"""Tests that the paper's preset does what the paper writes, step by step and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.propagation.ants_library import load_ants
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate

SPACING = (1.0, 0.6, 0.6)  # in-plane so fine that the default registers shrunk images
SEED = 7


@pytest.fixture(scope="module")
def two_slices() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return images [2, 48, 48] of a blob that turns and moves on, and the first one's label of two classes."""
    rows, columns = np.mgrid[:48, :48] - 23.5
    noise = np.random.default_rng(0).normal(size=(3, 48, 48))
    texture = ndimage.gaussian_filter(noise[0], 2)
    image, label = np.zeros((2, 48, 48), np.float32), np.zeros((2, 48, 48), np.uint8)
    for z, (angle, shift) in enumerate(((0.0, 0.0), (0.35, 2.0))):
        along = np.cos(angle) * rows + np.sin(angle) * (columns - shift)
        across = np.cos(angle) * (columns - shift) - np.sin(angle) * rows
        blob = (along / 15) ** 2 + (across / 8) ** 2 < 1
        label[z] = np.where(blob, np.where(along > 4, 2, 1), 0)
        image[z] = 100 * ndimage.gaussian_filter(blob.astype(float), 1) + 60 * texture + 3 * noise[1 + z]
    drawn = label[0]
    drawn[20:22, 4:20] = 1  # a spur two pixels thick: the opening takes it
    drawn[18:20, 22:24] = 0  # a hole two pixels wide: the closing fills it
    return image, drawn


def by_hand(image: NDArray[np.float32], drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label of the first slice on the second one: SyNRA, nearest neighbour, 5x5 opening and closing."""
    ants = load_ants()
    fixed, moving, label = (
        ants.from_numpy(array.astype(np.float32), spacing=SPACING[1:]) for array in (image[1], image[0], drawn)
    )
    found = ants.registration(fixed, moving, type_of_transform="SyNRA", reg_iterations=(40, 20, 0))
    warped = ants.apply_transforms(fixed, label, found["fwdtransforms"], interpolator="nearestNeighbor").numpy()
    cleaned, square = np.zeros(drawn.shape, np.uint8), np.ones((5, 5))
    opened = [ndimage.binary_opening(warped == value, square) for value in (1, 2)]
    for value, mask in enumerate(opened, start=1):
        cleaned[mask] = value
    for value, mask in enumerate(opened, start=1):
        cleaned[ndimage.binary_closing(mask, square) & (cleaned == 0)] = value
    return cleaned


def test_a_step_of_the_papers_preset_is_what_the_paper_writes(
    two_slices: tuple[NDArray[np.float32], NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a pixel differs from ANTs called by hand, while the default's label does."""
    image, drawn = two_slices
    monkeypatch.setenv("ANTS_RANDOM_SEED", str(SEED))
    expected = by_hand(image, drawn)
    result, default = (
        propagate(image, SPACING, 0, 0, drawn, settings, seed=SEED)
        for settings in (PropagationSettings.paper(), PropagationSettings())
    )
    np.testing.assert_array_equal(result[0], drawn)
    np.testing.assert_array_equal(result[1], expected)
    assert set(np.unique(expected)) == {0, 1, 2}
    assert (default[1] != expected).sum() > 20
