"""Planes: which array axis each view cuts, and on which planes a label map was painted.

The only module that turns view names into array axes. A plane is (array axis, index) on the raw array (z, y, x).
"""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import VIEWS

Plane = tuple[int, int]

OBLIQUE_WARNING_DEGREES = 30.0
_MOST_DIGITS = 9  # of an index


def axes_of_views(direction: Sequence[float]) -> dict[str, int]:
    """Map each view to the array axis (z, y, x order) that it steps along, by the nearest direction cosine.

    Sagittal planes are stacked left-right, coronal ones front-back, axial ones head-feet.

    Args:
        direction: SimpleITK's row-major 3x3 direction; row = patient axis (L, P, S), column = index axis (x, y, z).

    Returns:
        For each of `VIEWS` its array axis, for example `{"sagittal": 2, "coronal": 1, "axial": 0}`.

    Raises:
        UserError: two image axes are nearest to the same patient axis.

    Warns:
        UserWarning: an image axis is more than 30 degrees away from its patient axis.

    >>> axes_of_views((1, 0, 0, 0, 1, 0, 0, 0, 1))
    {'sagittal': 2, 'coronal': 1, 'axial': 0}
    """
    cosines = np.abs(np.asarray(direction, dtype=float).reshape(3, 3))
    patient_axis = cosines.argmax(axis=0)  # of each index axis x, y, z
    if len(set(patient_axis.tolist())) != 3:
        matrix = " ".join(f"{value:.3g}" for value in direction)
        raise UserError(
            f"direction [{matrix}] does not map the three image axes one to one to sagittal, coronal and axial; "
            "resample the scan to a less oblique grid first"
        )
    largest = cosines.max(axis=0) / np.linalg.norm(cosines, axis=0)
    angle = max(math.degrees(math.acos(min(1.0, cosine))) for cosine in largest)
    if angle > OBLIQUE_WARNING_DEGREES:
        warnings.warn(
            f"the grid is oblique by {angle:.0f} degrees: sagittal, coronal and axial name the nearest image axes",
            stacklevel=2,
        )
    return {view: 2 - int(np.flatnonzero(patient_axis == row)[0]) for row, view in enumerate(VIEWS)}


def axes_of_scan(image: Path, direction: Sequence[float]) -> dict[str, int]:
    """Return `axes_of_views` of a scan's direction; an error names the scan's file.

    Raises:
        UserError: see `axes_of_views`.

    Warns:
        UserWarning: see `axes_of_views`.
    """
    try:
        return axes_of_views(direction)
    except UserError as error:
        raise UserError(f"{image}: {error}") from None


def on_plane(plane: Plane) -> tuple[slice | int, ...]:
    """Return the index that cuts a plane out of an array (z, y, x), the other two axes in order.

    >>> np.zeros((4, 5, 6))[on_plane((1, 2))].shape
    (4, 6)
    """
    axis, index = plane
    return tuple(index if each == axis else slice(None) for each in range(3))


def complete_planes(annotated: NDArray[np.bool_]) -> list[Plane]:
    """Return the planes on which every voxel is annotated, by axis and index."""
    return [
        (axis, int(index))
        for axis in range(3)
        for index in np.flatnonzero(annotated.all(axis=tuple(other for other in range(3) if other != axis)))
    ]


def off_planes(mask: NDArray[np.bool_], planes: Sequence[Plane]) -> NDArray[np.bool_]:
    """Return `mask` without its voxels on the planes."""
    rest = mask.copy()
    for plane in planes:
        rest[on_plane(plane)] = False
    return rest


def annotation_volume(
    shape: tuple[int, int, int], planes: Sequence[Plane], drawn: Sequence[NDArray[Any]]
) -> NDArray[np.int16]:
    """Put 2-D annotations on their planes; -1 everywhere else.

    Args:
        shape: of the volume.
        planes: N planes.
        drawn: N arrays, the class of each pixel of the plane, background 0.
    """
    volume = np.full(shape, -1, dtype=np.int16)
    for plane, label in zip(planes, drawn, strict=True):
        volume[on_plane(plane)] = label
    return volume


def read_planes_file(path: Path) -> dict[str, list[tuple[str, int]]]:
    """Read a CSV with the columns case, view, index (from 0) into (view, index) pairs per case.

    Raises:
        UserError: a column is missing, a view or an index is not one, or a plane is listed twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--planes {path} cannot be read ({error}); expected a CSV: case,view,index") from None
    planes: dict[str, list[tuple[str, int]]] = {}
    for number, row in enumerate(rows, start=2):
        if not {"case", "view", "index"} <= row.keys():
            raise UserError(f"--planes {path} has the columns {list(row)}, expected a first line case,view,index")
        case, view, index = ((row[column] or "").strip() for column in ("case", "view", "index"))
        if view.lower() not in VIEWS or not index.isdecimal() or len(index) > _MOST_DIGITS:
            raise UserError(
                f"--planes {path} line {number} says view {view!r}, index {index!r}; "
                f"expected one of {', '.join(VIEWS)} and a whole number from 0"
            )
        plane = (view.lower(), int(index))
        if plane in planes.setdefault(case, []):
            raise UserError(f"--planes {path} line {number} lists {case} {view} {index} twice; remove one")
        planes[case].append(plane)
    return planes
