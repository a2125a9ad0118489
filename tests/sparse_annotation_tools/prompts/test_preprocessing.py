"""Slice and mask become the four channels of the image tower."""

import numpy as np
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from sparse_annotation_tools.prompts.preprocessing import model_input

SIZE = 64


def prepare(image: np.ndarray, mask: np.ndarray, pixel_mm: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
    """Preprocess with a grey range of 0 to 1."""
    return model_input(image.astype(np.float32), mask, pixel_mm=pixel_mm, grey_range=(0.0, 1.0), size=SIZE)


def denormalised(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return grey [3, S, S] in 0..1 and the mask's share [S, S] in 0..1."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return pixels[:3] * std + mean, pixels[3] * 0.26 + 0.5


def test_image_and_mask_stay_on_top_of_each_other() -> None:
    """An image that equals its mask still does, away from the mask's edge, on an oblong slice."""
    mask = np.zeros((40, 20), bool)
    mask[4:18, 3:12] = True
    grey, share = denormalised(prepare(mask, mask))
    inside, outside = share > 0.99, share < 0.01
    assert inside.sum() > 200
    assert (grey[0][inside] > 0.9).all()
    assert (grey[0][outside] < 0.1).all()


def test_pixels_become_square() -> None:
    """A disc drawn on pixels of 3 mm by 1 mm comes out as wide as high."""
    rows, columns = np.ogrid[:20, :60]
    mask = ((rows - 10) * 3) ** 2 + (columns - 30) ** 2 < 20**2
    _, share = denormalised(prepare(np.zeros((20, 60)), mask, pixel_mm=(3.0, 1.0)))
    high = int((share.amax(dim=1) > 0.5).sum())
    wide = int((share.amax(dim=0) > 0.5).sum())
    assert abs(high - wide) <= 3


def test_an_oblong_slice_is_padded_in_the_middle_with_black_and_no_mask() -> None:
    """The shorter side is padded evenly; nothing of the slice is cut off."""
    grey, share = denormalised(prepare(np.ones((40, 20)), np.ones((40, 20), bool)))
    columns = share.amax(dim=0) > 0.5
    assert columns.nonzero().flatten().tolist() == list(range(16, 48))
    assert torch.allclose(grey[:, :, :16], torch.zeros(()), atol=1e-5)


def test_a_lesion_of_one_pixel_survives_shrinking() -> None:
    """Wherever the pixel lies, its share of the mask is kept within a tenth."""
    kept = []
    for offset in range(4):
        mask = np.zeros((256, 256), bool)
        mask[100 + offset, 100 + offset] = True
        kept.append(float(denormalised(prepare(np.zeros((256, 256)), mask))[1].sum()))
    np.testing.assert_allclose(kept, 1 / 16, rtol=0.1)


def test_intensities_outside_the_grey_range_are_clipped() -> None:
    """Metal is white, air is black."""
    image = np.zeros((32, 32))
    image[:, 16:] = 5.0
    image[:, :16] = -5.0
    grey, _ = denormalised(prepare(image, image > 0))
    assert float(grey.min()) > -1e-5
    assert float(grey.max()) < 1 + 1e-5


def test_a_volume_of_one_intensity_does_not_divide_by_zero() -> None:
    """The result is finite."""
    pixels = model_input(
        np.full((8, 8), 7.0, np.float32), np.ones((8, 8), bool), pixel_mm=(1, 1), grey_range=(7.0, 7.0), size=SIZE
    )
    assert torch.isfinite(pixels).all()
