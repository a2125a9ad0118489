"""Between a scan's array and the array that the viewer shows: one grid turned upright, never resampled.

The viewer's array is [z, y, x] with z to the patient's head, y to the front and x to the right: its voxels lie in the
order of the viewer's drawing. Oblique grids are turned by whole axes only: a slice of the viewer is one of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.volumes import Geometry
from sparse_annotation_tools.slices.planes import Plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright

_VIEWER_TYPES = ("uint8", "int16", "uint16", "int32", "float32")


@dataclass(frozen=True, kw_only=True)
class ViewerFrame:
    """How one scan is turned for the viewer."""

    upright: Upright
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, geometry: Geometry) -> ViewerFrame:
        """Find out from the grid of the scan; `spacing_mm` is along the viewer's axes."""
        upright = Upright.of(geometry.direction, geometry.shape)
        return cls(upright=upright, spacing_mm=upright.triple(geometry.spacing_mm))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the viewer's array."""
        z, y, x = (self.upright.shape[axis] for axis in self.upright.order)
        return z, y, x

    def array(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array (z, y, x) of the scan: what is written to it is written to the scan's array."""
        turned: NDArray[Any] = self.upright.array(array)[:, ::-1, ::-1]  # from the back and left to the front and right
        return turned

    def plane(self, plane: Plane) -> Plane:
        """Return where a plane of the scan lies in the viewer's array."""
        axis, index = self.upright.plane(plane)
        return axis, index if axis == 0 else self.shape[axis] - 1 - index

    def views(self) -> dict[str, dict[str, Any]]:
        """Return of each view the number of its slices, and whether the viewer counts them from the other end."""
        found = {}
        for axis, view in enumerate(VIEW_OF_AXIS):
            _, first = self.plane((self.upright.order[axis], 0))
            found[view] = {"count": self.shape[axis], "flipped": first != 0}
        return found

    def nifti(self, array: NDArray[Any]) -> bytes:
        """Return an array (z, y, x) of the scan as the bytes of a NIfTI file in the viewer's frame."""
        turned = self.array(array)
        if turned.dtype.name not in _VIEWER_TYPES:
            turned = turned.astype(np.float32)
        z, y, x = self.spacing_mm
        image = nib.nifti1.Nifti1Image(turned.transpose(2, 1, 0), np.diag((x, y, z, 1.0)))
        data: bytes = image.to_bytes()
        return data
