"""Quarter turns and flips of image, labels and coordinates."""

import numpy as np
import torch

from nnunetv2_rada.data.quarter_turns import QuarterTurnsAndFlip, initial_patch

PATCH = (4, 6, 10)


def sample(shape):
    """An image and a regression target that are both the raw coordinates; labels that are the first of them."""
    ramps = torch.stack(torch.meshgrid(*(torch.arange(float(side)) for side in shape), indexing="ij"))
    return {"image": ramps.clone(), "segmentation": ramps[:1].to(torch.int16), "regression_target": ramps.clone()}


def test_the_cut_is_square_in_the_plane():
    """So every quarter turn fills the patch."""
    assert initial_patch(PATCH) == [4, 10, 10]


def test_image_labels_and_coordinates_move_together_without_interpolation():
    """Every voxel of the patch is some voxel of the cut, the same one in all three; the slice axis stays."""
    seen = set()
    for seed in range(60):
        np.random.seed(seed)
        out = QuarterTurnsAndFlip(PATCH, flip=True)(**sample(initial_patch(PATCH)))
        assert out["image"].shape == (3, *PATCH)
        assert torch.equal(out["image"], out["regression_target"])
        assert torch.equal(out["image"][0].to(torch.int16), out["segmentation"][0])
        assert torch.equal(out["image"][0], torch.arange(4.0)[:, None, None].expand(PATCH))
        slopes = torch.stack([out["image"][1:].diff(dim=dim).flatten(1)[:, 0] for dim in (2, 3)])
        assert (slopes.abs().sum(dim=0) == 1).all()  # each coordinate steps by one voxel along exactly one axis
        seen.add(tuple(slopes.flatten().tolist()))
    assert len(seen) == 8  # four turns, mirrored or not


def test_without_flips_nothing_is_mirrored():
    """Where left and right are different classes, the four turns are all there is."""
    determinants = set()
    for seed in range(30):
        np.random.seed(seed)
        out = QuarterTurnsAndFlip(PATCH, flip=False)(**sample(initial_patch(PATCH)))
        slopes = torch.stack([out["image"][1:].diff(dim=dim).flatten(1)[:, 0] for dim in (2, 3)])
        determinants.add(float(torch.linalg.det(slopes)))
    assert determinants == {1.0}


def test_samples_without_labels_pass_as_well():
    """Unlabelled samples have an image alone."""
    assert set(QuarterTurnsAndFlip(PATCH, flip=True)(image=torch.zeros(1, 4, 10, 10))) == {"image"}
