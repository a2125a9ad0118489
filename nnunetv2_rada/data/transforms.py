"""nnU-Net's augmentation, with raw coordinates and confidence following the image."""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.cropping import crop_tensor
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from torch import Tensor

NUM_COORDINATES = 3


class FollowCoordinates(BasicTransform):
    """A `SpatialTransform` whose regression target holds raw coordinates, followed exactly.

    The regression target is [NUM_COORDINATES + n, *space]: linear ramps of raw coordinates, then n maps.
    Interpolating a ramp would bend it at the patch's border, where nnU-Net pads with zeros; the ramps are evaluated
    at the sampling positions instead, inside the patch and out. The n maps are interpolated as the image is.
    """

    def __init__(self, spatial: SpatialTransform) -> None:
        super().__init__()
        self.spatial = spatial

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the spatial transform's own parameters."""
        return self.spatial.get_parameters(**data_dict)

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Transform image and segmentation as before, and the regression target as described above."""
        target = data_dict.pop("regression_target", None)
        # In dummy 2-D augmentation, (channels, depth) have been folded into one axis.
        folded = data_dict.get("nchannels_regr_trg")
        data_dict = self.spatial.apply(data_dict, **params)
        if target is None:
            return data_dict
        ramps = NUM_COORDINATES * (target.shape[0] // folded if folded else 1)
        followed = [follow_ramps(target[:ramps], params, self.spatial.patch_size)]
        if target.shape[0] > ramps:
            followed.append(self.spatial._apply_to_image(target[ramps:], **params))
        data_dict["regression_target"] = torch.cat(followed)
        return data_dict


def follow_ramps(ramps: Tensor, params: dict[str, Any], patch_size: Any) -> Tensor:
    """Evaluate linear ramps [c, *space] where a spatial transform samples them.

    Args:
        ramps: one linear function of position per channel; at least 2 voxels along each axis.
        params: parameters drawn by `SpatialTransform`, with its sampling grid in `grid_sample` convention, or None.
        patch_size: shape of the sampled patch.
    """
    grid = params["grid"]
    if grid is None:
        centre = [int(position) for position in params["center_location_in_pixels"]]
        return crop_tensor(ramps, centre, patch_size, pad_mode="replicate", pad_kwargs={})
    space = ramps.shape[1:]
    corner = (slice(None),) + (0,) * len(space)
    start = ramps[corner]
    followed = start.reshape(-1, *(1,) * len(space)).expand(-1, *grid.shape[:-1]).clone()
    for axis, side in enumerate(space):
        neighbour = list(corner)
        neighbour[axis + 1] = 1
        slope = ramps[tuple(neighbour)] - start
        # grid_sample's coordinates run from -1 to 1 between voxel edges, last axis first.
        voxel = ((grid[..., len(space) - 1 - axis] + 1) * side - 1) / 2
        followed += slope.reshape(-1, *(1,) * len(space)) * voxel
    return followed


def follow_augmentation(transforms: ComposeTransforms) -> ComposeTransforms:
    """Make nnU-Net's training transforms carry raw coordinates, and keep -1 as "nothing known here".

    nnU-Net turns -1 (padding, outside of the non-zero crop) into background at the end of its pipeline; for a
    pseudo-label that would be a claim nobody made.
    """
    adapted: list[BasicTransform] = []
    for transform in transforms.transforms:
        if isinstance(transform, SpatialTransform):
            adapted.append(FollowCoordinates(transform))
        elif not isinstance(transform, RemoveLabelTransform):
            adapted.append(transform)
    return ComposeTransforms(adapted)
