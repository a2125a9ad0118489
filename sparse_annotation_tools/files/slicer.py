"""Read 3D Slicer's segmentations (.seg.nrrd) on to the grid of the image they were drawn on.

Slicer stores only the box around the segments, several layers where segments may overlap, and free label values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volume_format import check_format
from sparse_annotation_tools.files.volumes import Geometry

_GRID_TOLERANCE_VOXEL = 0.1
_REMEDY = "export the segmentation from Slicer as a label map with the image as reference volume"


@dataclass(frozen=True, kw_only=True)
class _Segment:
    name: str
    layer: int
    value: int


def read_segmentation(path: Path, grid: Geometry, classes: Mapping[str, int] | None) -> NDArray[np.int16]:
    """Return the segmentation as classes on the image's grid (z, y, x), background 0.

    Segments that are called like the classes (case, spaces and hyphens aside) become those classes, whatever their
    values in the file; where no segment is, the values in the file stand.

    Args:
        path: the .seg.nrrd file.
        grid: of the image.
        classes: value of each class by name; empty where values and not names count. None where nobody has named the
            classes, which is fine with a single segment.

    Raises:
        UserError: the file cannot be read, lies on another grid or outside the image, only some of its segments are
            called like classes, segments overlap, none is called like a class and two share a value, or there are
            several segments and `classes` is None.
    """
    check_format(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read ({str(error).strip().splitlines()[-1].strip()}); {_REMEDY}") from None
    segments = _segments(image)
    if not segments:
        raise UserError(f"{path} lists no segment, expected a segmentation saved by 3D Slicer; {_REMEDY}")
    if classes is None and len(segments) > 1:
        # Slicer numbers segments in the order they were added, which need not be that of the classes.
        raise UserError(
            f"{path} has segments {', '.join(each.name for each in segments)}, and no class is named; "
            "give --label-names CLASS [CLASS ...], as for rada-make-sparse-dataset"
        )
    values = _class_values(segments, classes or {}, path)
    layers = np.atleast_1d(sitk.GetArrayFromImage(image))
    layers = layers[..., None] if layers.ndim == 3 else layers
    label = np.zeros(layers.shape[:3], dtype=np.int16)
    for segment in segments:
        mask = layers[..., segment.layer] == segment.value
        overlap = int((label[mask] > 0).sum())
        if overlap:
            raise UserError(
                f"{path} has {overlap} voxels in segment {segment.name} and in another one, expected no overlap; "
                "set 'Modify other segments: Overwrite all' in Slicer and paint them again"
            )
        label[mask] = values[segment.name]
    return _on_grid(label, image, grid, path)


def _segments(image: sitk.Image) -> list[_Segment]:
    keys = set(image.GetMetaDataKeys())
    segments: list[_Segment] = []
    while f"Segment{len(segments)}_Name" in keys:
        prefix = f"Segment{len(segments)}_"

        def get(key: str, default: int, prefix: str = prefix) -> int:
            return int(image.GetMetaData(prefix + key)) if prefix + key in keys else default

        name = image.GetMetaData(prefix + "Name")
        segments.append(_Segment(name=name, layer=get("Layer", 0), value=get("LabelValue", 1)))
    return segments


def _class_values(segments: list[_Segment], classes: Mapping[str, int], path: Path) -> dict[str, int]:
    by_plain_name = {_plain(name): value for name, value in classes.items()}
    named = {segment.name: by_plain_name.get(_plain(segment.name)) for segment in segments}
    found = {name: value for name, value in named.items() if value is not None}
    if not found:
        return _values_in_file(segments, path)
    strange = [name for name in named if name not in found]
    if strange:
        raise UserError(
            f"{path} has segment {strange[0]}, expected {', '.join(classes)}; rename or delete it in Slicer, "
            "or add it to --label-names"
        )
    return found


def _values_in_file(segments: list[_Segment], path: Path) -> dict[str, int]:
    """Take the file's values for classes, unless two layers use one value for different segments."""
    owner: dict[int, str] = {}
    for segment in segments:
        other = owner.setdefault(segment.value, segment.name)
        if other != segment.name:
            raise UserError(
                f"{path} gives segments {other} and {segment.name} the same value {segment.value} in two layers, so "
                f"they would become one class; {_REMEDY}, or call them like the classes of --label-names"
            )
    return {name: value for value, name in owner.items()}


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _on_grid(label: NDArray[np.int16], image: sitk.Image, grid: Geometry, path: Path) -> NDArray[np.int16]:
    same = np.allclose(image.GetSpacing(), grid.spacing, rtol=1e-3) and np.allclose(
        image.GetDirection(), grid.direction, atol=1e-3
    )
    axes: NDArray[Any] = np.reshape(grid.direction, (3, 3)) * np.asarray(grid.spacing)
    shift = np.linalg.solve(axes, np.subtract(image.GetOrigin(), grid.origin))  # in voxels, (x, y, z)
    corner = np.rint(shift).astype(int)
    if not same or np.abs(shift - corner).max() > _GRID_TOLERANCE_VOXEL:
        raise UserError(f"{path} is not on the grid of its image (another spacing, direction or position); {_REMEDY}")
    inside = np.zeros(grid.shape, dtype=np.int16)
    z, y, x = np.nonzero(label)
    target = (z + corner[2], y + corner[1], x + corner[0])
    outside = np.any([(each < 0) | (each >= side) for each, side in zip(target, grid.shape, strict=True)], axis=0)
    if outside.any():
        raise UserError(f"{path} has {int(outside.sum())} painted voxels outside its image; {_REMEDY}")
    inside[target] = label[z, y, x]
    return inside
