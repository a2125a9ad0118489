"""Drawn slices repeat, differ where they should, and do not betray which organ is asked for."""

import numpy as np
import pytest

from sparse_annotation_tools.prompts.tiny.drawing import SIDE, Drawing, draw, draw_anatomy
from sparse_annotation_tools.prompts.tiny.organs import INTERIORS, NAMES, ORGANS, TISSUE, Organ
from sparse_annotation_tools.prompts.tiny.shapes import NUMBERS


def drawings(count: int, seed: int = 0) -> list[Drawing]:
    """Return one drawing of each of some anatomies."""
    result = []
    for position in range(count):
        generator = np.random.default_rng((seed, position))
        result.append(draw(draw_anatomy(generator), generator))
    return result


def test_the_same_seed_draws_the_same_slice() -> None:
    """Bit for bit."""
    first, second = drawings(1)[0], drawings(1)[0]
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_two_drawings_of_an_anatomy_share_organs_but_not_pixels() -> None:
    """Two scans of like subjects."""
    generator = np.random.default_rng(0)
    anatomy = draw_anatomy(generator)
    first, second = draw(anatomy, generator), draw(anatomy, generator)
    np.testing.assert_array_equal(first.kinds, second.kinds)
    assert np.abs(first.image - second.image).mean() > 0.02


def test_images_are_grey_from_0_to_1_and_finite() -> None:
    """Whatever is drawn."""
    for drawing in drawings(30):
        assert drawing.image.shape == (SIDE, SIDE)
        assert np.isfinite(drawing.image).all()
        assert 0 <= drawing.image.min() <= drawing.image.max() <= 1


def test_no_pixel_belongs_to_two_organs() -> None:
    """A mask shows what was painted last."""
    for drawing in drawings(30):
        assert drawing.masks[:-1].sum(axis=0).max() <= 1


def test_bright_organs_are_brighter_than_what_lies_around_them() -> None:
    """Over many slices, the word agrees with the pixels nearly always; interiors and noise allow a few exceptions."""
    agree = []
    for drawing in drawings(60):
        for mask, kind, bright in zip(drawing.masks, drawing.kinds, drawing.bright, strict=True):
            if kind == len(ORGANS) or mask.sum() < 40 or ORGANS[kind].interior != "even":
                continue
            padded = np.pad(mask, 2)
            near = np.any([np.roll(padded, shift, axis) for axis in (0, 1) for shift in (-2, 2)], axis=0)[2:-2, 2:-2]
            ring = near & ~drawing.masks.any(axis=0)
            if ring.sum() > 10:
                agree.append((drawing.image[mask].mean() > drawing.image[ring].mean()) == bright)
    assert len(agree) > 50
    assert np.mean(agree) > 0.85


def test_the_last_region_follows_no_organ() -> None:
    """It lies off the organs for the most part."""
    overlap = []
    for drawing in drawings(40):
        assert NAMES[drawing.kinds[-1]] == TISSUE
        if drawing.visible[-1]:
            overlap.append((drawing.masks[-1] & drawing.masks[:-1].any(axis=0)).sum() / drawing.masks[-1].sum())
    assert np.mean(overlap) < 0.15


def test_organs_lie_anywhere() -> None:
    """No kind has a place of its own: mean positions of all kinds agree within the scatter."""
    middles: dict[int, list[np.ndarray]] = {}
    for drawing in drawings(300):
        for mask, kind, visible in zip(drawing.masks[:-1], drawing.kinds, drawing.visible, strict=False):
            if visible:
                middles.setdefault(int(kind), []).append(np.argwhere(mask).mean(axis=0))
    for places in middles.values():
        assert np.abs(np.mean(places, axis=0) - SIDE / 2).max() < 5.5


@pytest.mark.parametrize("organ", ORGANS, ids=lambda organ: organ.name)
def test_every_outline_is_one_closed_region_of_fair_size(organ: Organ) -> None:
    """Positive near the middle of its box, negative outside it, for many shape numbers."""
    v, u = np.mgrid[-1.5:1.5:61j, -1.5:1.5:61j]
    for seed in range(20):
        inside = organ.shape(u, v, np.random.default_rng(seed).random(NUMBERS)) > 0
        assert inside.sum() == inside[1:-1, 1:-1].sum()
        assert 0.03 < inside.mean() < 0.5


def test_names_are_distinct_and_interiors_known() -> None:
    """A prompt names one kind."""
    assert len(set(NAMES)) == len(NAMES) == len(ORGANS) + 1
    assert {organ.interior for organ in ORGANS} <= set(INTERIORS)
