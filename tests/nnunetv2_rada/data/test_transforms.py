"""Raw coordinates through nnU-Net's own augmentation."""

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_rada.data.transforms import FollowCoordinates, follow_augmentation

CUT = (30, 34, 28)
PATCH = (16, 16, 16)


def sample():
    """An image whose three channels are its own coordinates, and a regression target of the same ramps and one map."""
    ramps = torch.stack(torch.meshgrid(*(torch.arange(float(side)) for side in CUT), indexing="ij"))
    scaled = ramps * torch.tensor([2.0, 0.5, 1.0]).reshape(3, 1, 1, 1) + 7
    return {
        "image": ramps.clone(),
        "segmentation": torch.zeros(2, *CUT, dtype=torch.int16),
        "regression_target": torch.cat([scaled, torch.ones(1, *CUT)]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_coordinates_follow_rotation_scaling_and_mirroring_exactly(seed):
    """Where the image's own ramps are inside the cut, the followed coordinates are the same linear function of them."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    spatial = SpatialTransform(
        PATCH, 0, False, p_rotation=1, rotation=(-0.5, 0.5), p_scaling=1, scaling=(0.7, 1.4),
        border_mode_seg="constant", padding_value_seg=-1,
    )  # fmt: skip
    out = ComposeTransforms([FollowCoordinates(spatial), MirrorTransform((0, 1, 2))])(**sample())
    inside = (out["regression_target"][3] > 0.999) & (out["image"] > 1).all(0)
    inside &= (out["image"] < torch.tensor(CUT).reshape(3, 1, 1, 1) - 2).all(0)
    expected = out["image"] * torch.tensor([2.0, 0.5, 1.0]).reshape(3, 1, 1, 1) + 7
    assert inside.float().mean() > 0.3
    torch.testing.assert_close(out["regression_target"][:3][:, inside], expected[:, inside], atol=2e-3, rtol=0)


def test_coordinates_stay_linear_beyond_the_cut():
    """Outside the cut, where nnU-Net pads with zeros, coordinates go on as before instead of bending to zero."""
    np.random.seed(3)
    spatial = SpatialTransform(PATCH, 0, False, p_scaling=1, scaling=(4.0, 4.0), p_synchronize_scaling_across_axes=1)
    ramp = FollowCoordinates(spatial)(**sample())["regression_target"][2]
    steps = ramp.diff(dim=2)
    torch.testing.assert_close(steps, steps.mean().expand_as(steps), atol=1e-3, rtol=0)
    assert float(ramp.min()) < 7 - 10


def test_without_augmentation_the_patch_is_the_centre_of_the_cut():
    """With no rotation and no scaling the coordinates are cropped, not interpolated."""
    out = FollowCoordinates(SpatialTransform(PATCH, 0, False))(**sample())
    corner = out["regression_target"][:3, 0, 0, 0]
    expected = (
        torch.tensor([(side - patch) // 2 for side, patch in zip(CUT, PATCH, strict=True)])
        * torch.tensor([2.0, 0.5, 1.0])
        + 7
    )
    torch.testing.assert_close(corner, expected)


@pytest.mark.parametrize("dummy_2d", [False, True])
def test_nnunets_whole_pipeline_keeps_unknown_labels_and_coordinates(dummy_2d):
    """Both of nnU-Net's pipelines run; -1 stays -1; coordinates keep their shape."""
    np.random.seed(0)
    torch.manual_seed(0)
    stock = nnUNetTrainer.get_training_transforms(
        list(PATCH), (-0.5, 0.5), None, (0, 1, 2), dummy_2d, use_mask_for_norm=[False]
    )
    adapted = follow_augmentation(stock)
    for _ in range(8):
        data = sample()
        if dummy_2d:
            data = {name: value[:, : PATCH[0]].clone() for name, value in data.items()}
        data["segmentation"] -= 1
        out = adapted(**data)
        assert out["regression_target"].shape == (4, *PATCH)
        assert bool((out["segmentation"] == -1).all())
        slope = out["regression_target"][1].diff(dim=0)
        torch.testing.assert_close(slope, slope.mean().expand_as(slope), atol=1e-2, rtol=0)
