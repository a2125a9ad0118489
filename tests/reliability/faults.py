"""Faulty volumes that several commands must refuse, and the line for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reliability import spoil
from reliability.spoil import Spoiler


@dataclass(frozen=True)
class Fault:
    """What is wrong with a volume, how to make it so, and the line about it."""

    name: str
    spoil: Spoiler
    says: str


_CUT = "is cut off ... copy or download it again"
_AGAIN = "copy or download it again"
_GRID = "has voxels of 0 or NaN mm, or NaN in its position ... export it again"

UNREADABLE = [
    Fault("empty file", spoil.empty, "is empty ... copy or download it again"),
    Fault("truncated .nii.gz", spoil.cut, _CUT),
    Fault("truncated .nii", spoil.as_suffix(".nii", spoil.cut), _CUT),
    Fault("truncated .nrrd", spoil.as_suffix(".nrrd", spoil.cut), _CUT),
    Fault("truncated .mha", spoil.as_suffix(".mha", spoil.cut), _CUT),
    Fault("an HTML page named .nii.gz", spoil.page, "is cut off or no NIfTI file ... copy or download it again"),
    Fault("gzipped text named .nii.gz", spoil.packed_text, _AGAIN),
    Fault("a folder named .nii.gz", spoil.folder, "is a folder ... expected a volume"),
    Fault("a link to a file that is gone", spoil.dangling, "does not exist ... expected a volume"),
    Fault("2-D", spoil.flat, "has 2 dimensions, expected 3"),
    Fault("4-D", spoil.four_d, "has 4 dimensions, expected 3 ... as its own {case}_0000"),
    Fault("RGB", spoil.colour, "has 3 values per voxel, expected 1"),
    Fault("complex numbers", spoil.cplx, "holds complex numbers, expected one real number per voxel"),
    Fault("NIfTI header of 30000 voxels a side", spoil.header(42, "3h", *[30000] * 3), _CUT),
    Fault("NIfTI header of 2 TB in one slice", spoil.header(40, "4h", 3, 32767, 32767, 2000), _CUT),
    Fault("NIfTI header with the voxels at NaN", spoil.header(108, "f", np.nan), "cut off or no NIfTI file"),
    Fault("NIfTI header with the voxels at infinity", spoil.header(108, "f", np.inf), "cut off or no NIfTI file"),
    Fault("NIfTI header without a size", spoil.header(42, "3h", 0, 0, 0), _AGAIN),
    Fault("NIfTI header with negative sizes", spoil.header(42, "3h", -10, -12, -14), _AGAIN),
    Fault("NIfTI header of 300 dimensions", spoil.header(40, "h", 300), _AGAIN),
    Fault("NIfTI header of an unknown voxel type", spoil.header(70, "h", 9999), "of an unknown type ... copy"),
    Fault("NIfTI header with voxels of 0 mm", spoil.header(76, "4f", 1, 0, 0, 0), _GRID),
    Fault("NIfTI header with voxels of NaN mm", spoil.header(80, "3f", *[np.nan] * 3), _GRID),
    Fault("NIfTI header with a NaN direction", spoil.header(280, "12f", *[np.nan] * 12), _GRID),
    Fault(
        ".nrrd header of 30000 voxels a side",
        spoil.as_suffix(".nrrd", spoil.text_header("sizes", "30000 30000 30000")),
        "is cut off: its header promises ... copy or download it again",
    ),
    Fault(
        ".mha header of 30000 voxels a side",
        spoil.as_suffix(".mha", spoil.text_header("DimSize", "30000 30000 30000")),
        "is cut off: its header promises ... copy or download it again",
    ),
]
