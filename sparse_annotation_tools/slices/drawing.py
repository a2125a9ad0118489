"""What has been drawn on a scan so far: nothing, some slices, or a dense label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.slicer import read_segmentation
from sparse_annotation_tools.files.volumes import FILE_ENDING, SEGMENTATION_SUFFIX, Geometry, read_label_of_scan
from sparse_annotation_tools.schema import RadaFolder
from sparse_annotation_tools.slices.annotation import listed_planes, read_annotation
from sparse_annotation_tools.slices.plane_search import looks_dense
from sparse_annotation_tools.slices.planes import Plane, annotation_volume, on_plane

LabelMap = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What has been drawn on one scan.

    Attributes:
        planes: the annotated planes.
        annotation: int16 [z, y, x] drawn class on those planes (0 is drawn background), -1 everywhere else.
        dense: [z, y, x] label of the whole scan, or None.
    """

    planes: tuple[Plane, ...]
    annotation: NDArray[np.int16]
    dense: LabelMap | None = None

    @classmethod
    def on(cls, label: LabelMap, planes: Sequence[Plane], dense: LabelMap | None = None) -> Drawing:
        """Keep of `label` what lies on `planes`."""
        z, y, x = label.shape
        annotation = annotation_volume((z, y, x), planes, [label[on_plane(plane)] for plane in planes])
        return cls(planes=tuple(planes), annotation=annotation, dense=dense)


def read_drawing(
    path: Path,
    geometry: Geometry,
    axes: Mapping[str, int],
    *,
    not_annotated: int,
    listed: Sequence[tuple[str, int]] | None,
    classes: Mapping[str, int] | None = None,
) -> Drawing:
    """Read a label map or a Slicer segmentation, and find out which planes it was drawn on.

    Args:
        path: of the file.
        geometry: grid of the scan.
        axes: array axis of each view.
        not_annotated: value of voxels that nobody annotated, where the file has it.
        listed: (view, index) pairs, if the user lists the annotated planes; painted voxels off them make it dense.
        classes: value of each class by name, if the user names them; see `slicer.read_segmentation`.

    Raises:
        UserError: the file is unfit or on another grid, or its planes cannot be told.
    """
    label = _read(path, geometry, classes)
    marked = label == not_annotated
    known = np.where(marked, 0, label)
    if listed is None and (marked.all() or not (marked.any() or known.any())):
        return Drawing.on(known, ())
    if listed is None and not marked.any() and looks_dense(known > 0):
        return Drawing.on(known, (), dense=known)
    if listed is not None and looks_dense(known > 0):
        return Drawing.on(known, listed_planes(listed, axes, label.shape, str(path)), dense=known)
    found = read_annotation(label, axes, not_annotated=not_annotated, planes=listed, name=str(path))
    return Drawing(planes=tuple(found.planes), annotation=found.volume())


def read_dataset_drawing(rada: RadaFolder, planes: Sequence[Plane], case: str, geometry: Geometry) -> Drawing:
    """Read what is drawn on a case of a dataset that rada-make-sparse-dataset made.

    Args:
        rada: the dataset's `rada/` folder.
        planes: as cases.json lists them.
        case: identifier.
        geometry: grid of the scan.

    Raises:
        UserError: its label map is missing or on another grid.
    """
    label = _read(rada.root.parent / "labelsTr" / f"{case}{FILE_ENDING}", geometry, None)
    return Drawing.on(label, sorted(planes))


def _read(path: Path, geometry: Geometry, classes: Mapping[str, int] | None) -> LabelMap:
    if path.name.endswith(SEGMENTATION_SUFFIX):
        return read_segmentation(path, geometry, classes)
    return read_label_of_scan(path, geometry, "export it with the scan as its reference")
