"""How often each class was annotated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nnunetv2_rada.data.side_volumes import ANNOTATION, SideVolumes


def class_shares(folder: Path, cases: Sequence[str], num_classes: int) -> Tensor:
    """Return the share [N] of each class in the annotated voxels of some cases, background first; none is 0.

    Args:
        folder: of the side volumes.
        cases: labelled cases.
        num_classes: N.
    """
    counts = np.ones(num_classes)  # a class that these cases do not show is rare, not impossible
    for case in cases:
        annotation = SideVolumes.load(folder, case).labels[ANNOTATION]
        counts += np.bincount(annotation[annotation >= 0], minlength=num_classes)
    return torch.from_numpy(counts / counts.sum()).float()
