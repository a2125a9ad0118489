"""Points that the user gives: where the organ lies in each scan."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry

Point = tuple[float, float, float]

_EXPECTED = "expected a CSV with a first line case,r,a,s and numbers in mm"


def read_centres_file(path: Path) -> dict[str, Point]:
    """Read a CSV with the columns case, r, a, s (mm to the right, front and head) into a point per case.

    Raises:
        UserError: a column is missing, a coordinate is no number, or a case is listed twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--centres {path} cannot be read ({error}); {_EXPECTED}") from None
    centres: dict[str, Point] = {}
    for number, row in enumerate(rows, start=2):
        try:
            case = row["case"].strip()
            r, a, s = (float(row[column]) for column in "ras")
            if not (math.isfinite(r) and math.isfinite(a) and math.isfinite(s)):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"--centres {path} line {number} is not understood, {_EXPECTED}") from None
        if case in centres:
            raise UserError(f"--centres {path} line {number} lists case {case} twice; remove one")
        centres[case] = (r, a, s)
    return centres


def index_of_point(ras_mm: Point, geometry: Geometry, case: str) -> Point:
    """Return a point of the patient as an index (z, y, x) of a scan.

    Args:
        ras_mm: mm to the right, front and head.
        geometry: grid of the scan.
        case: for the error.

    Raises:
        UserError: the point lies outside the scan.
    """
    right, front, head = ras_mm
    offset_mm = np.asarray((-right, -front, head)) - np.asarray(geometry.origin)
    x, y, z = np.linalg.solve(np.reshape(geometry.direction, (3, 3)), offset_mm) / np.asarray(geometry.spacing)
    index = (float(z), float(y), float(x))
    if not all(-0.5 <= each <= side - 0.5 for each, side in zip(index, geometry.shape, strict=True)):
        raise UserError(
            f"--centres gives case {case} the point {right:g}, {front:g}, {head:g}, which is outside its scan (voxel "
            f"z, y, x = {', '.join(f'{each:.0f}' for each in index)} of {geometry.shape}); give R, A and S in mm as 3D "
            "Slicer and ITK-SNAP show them"
        )
    return index
