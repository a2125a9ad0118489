"""Turn a scan's array upright for pictures: z to the head, y to the back, x to the patient's left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.slices.planes import Plane, axes_of_views

VIEW_OF_AXIS = ("axial", "coronal", "sagittal")
"""The view across each axis of an upright array."""


@dataclass(frozen=True, kw_only=True)
class Upright:
    """How the arrays of one scan are turned upright; oblique grids are turned by whole axes only.

    Attributes:
        order: the array axis that becomes each upright axis.
        flipped: whether each upright axis runs against its array axis.
        shape: of the scan's array.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, direction: Sequence[float], shape: tuple[int, int, int]) -> Upright:
        """Find out from SimpleITK's row-major 3x3 direction and the array's shape.

        >>> Upright.of((1, 0, 0, 0, 1, 0, 0, 0, -1), (4, 5, 6)).flipped
        (True, False, False)
        """
        axes = axes_of_views(direction)
        z, y, x = (axes[view] for view in VIEW_OF_AXIS)
        cosines = np.reshape(direction, (3, 3))
        # Row = patient axis (to the left, back, head), column = index axis, which is array axis 2 - column.
        down, front, right = (bool(cosines[row, 2 - axis] < 0) for row, axis in ((2, z), (1, y), (0, x)))
        return cls(order=(z, y, x), flipped=(down, front, right), shape=shape)

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array of the scan's grid, turned upright."""
        turned: NDArray[Any] = np.transpose(array, self.order)[
            tuple(slice(None, None, -1 if flipped else 1) for flipped in self.flipped)
        ]
        return turned

    def triple(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Return per-axis values, such as the spacing, in upright order."""
        z, y, x = (float(values[axis]) for axis in self.order)
        return z, y, x

    def plane(self, plane: Plane) -> Plane:
        """Return where a plane of the scan lies in the upright array."""
        axis, index = plane
        turned = self.order.index(axis)
        return turned, self.shape[axis] - 1 - index if self.flipped[turned] else index

    def plane_in_scan(self, plane: Plane) -> Plane:
        """Return where a plane of the upright array lies in the scan; undoes `plane`."""
        turned, index = plane
        axis = self.order[turned]
        return axis, self.shape[axis] - 1 - index if self.flipped[turned] else index

    def point(self, index: Sequence[int]) -> tuple[int, int, int]:
        """Return where a voxel (z, y, x) of the scan lies in the upright array."""
        z, y, x = (self.plane((axis, index[axis]))[1] for axis in self.order)
        return z, y, x
