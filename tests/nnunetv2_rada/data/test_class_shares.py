"""How often each class was annotated."""

import numpy as np
import torch

from nnunetv2_rada.data.class_shares import class_shares
from nnunetv2_rada.data.side_volumes import ANNOTATION, NUM_CHANNELS, UNKNOWN, save_side_volumes


def test_shares_count_annotated_voxels_of_the_named_cases(tmp_path):
    """Voxels of no plane, propagated labels and other cases do not count; a class that is never drawn has a share."""
    for case, drawn in {"one": 1, "two": 2, "other": 3}.items():
        labels = np.full((NUM_CHANNELS, 10, 10, 10), 3, dtype=np.int8)
        labels[ANNOTATION] = UNKNOWN
        labels[ANNOTATION, 4] = 0
        labels[ANNOTATION, 4, :2] = drawn
        save_side_volumes(
            tmp_path, case, labels, np.zeros((1, 10, 10, 10), dtype=np.uint8),
            origin=(0.0, 0.0, 0.0), step=(1.0, 1.0, 1.0), planes=(), fingerprint="",
        )  # fmt: skip
    shares = class_shares(tmp_path, ["one", "two"], num_classes=4)
    assert torch.allclose(shares, torch.tensor([161, 21, 21, 1]) / 204)
