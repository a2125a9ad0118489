"""What an annotator drew on one scan: planes and 2-D labels, cut out of a dense label or found in a sparse one.

Everything downstream is made from these planes, so no voxel off them can reach the dataset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import AnnotatedSlice
from sparse_annotation_tools.slices.plane_search import find_planes
from sparse_annotation_tools.slices.planes import Plane, annotation_volume, complete_planes, off_planes, on_plane
from sparse_annotation_tools.slices.selection import networks_of_slices, select_slices

LabelMap = NDArray[np.integer[Any]]

_LEAST_MARKED = 0.25  # share of voxels; every second slice of a view and a few of the others leave more


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The annotated slices of one scan.

    Attributes:
        shape: of the scan's array (z, y, x).
        slices: N records.
        drawn: N uint8 arrays, the class of each pixel of the plane, background 0.
        networks: which slices each network learns from.
    """

    shape: tuple[int, int, int]
    slices: tuple[AnnotatedSlice, ...]
    drawn: tuple[NDArray[np.uint8], ...]
    networks: dict[str, tuple[int, ...]]

    @property
    def planes(self) -> list[Plane]:
        """(axis, index) of each slice."""
        return [annotated.plane for annotated in self.slices]

    def volume(self) -> NDArray[np.int16]:
        """Return the annotation as a volume (z, y, x), -1 off the planes."""
        return annotation_volume(self.shape, self.planes, self.drawn)

    def sha256(self) -> str:
        """Return a hash of the planes and of what is drawn on them."""
        digest = hashlib.sha256(json.dumps([self.shape, self.planes]).encode())
        for label in self.drawn:
            digest.update(label.tobytes())
        return digest.hexdigest()


def simulate_annotation(label: LabelMap, axes: Mapping[str, int], views: Sequence[str]) -> Annotation:
    """Keep the slices of a dense label that an annotator would have drawn, one per entry of `views`.

    Raises:
        UserError: a view has too few slices with foreground.
    """
    planes = select_slices(label > 0, axes, views)
    return _annotation(label, planes, views, simulated=True)


def read_annotation(
    label: LabelMap,
    axes: Mapping[str, int],
    *,
    not_annotated: int,
    planes: Sequence[tuple[str, int]] | None,
    name: str,
) -> Annotation:
    """Find the annotated planes of a sparse label map.

    They are those listed in `planes`; else, where the value `not_annotated` occurs, those without it; else the smallest
    set of planes that holds every painted voxel.

    Args:
        label: (z, y, x).
        axes: array axis of each view.
        not_annotated: value of voxels that nobody annotated.
        planes: (view, index) pairs, if the user lists them.
        name: of the label map, for errors.

    Raises:
        UserError: the planes cannot be told, or the labels are dense, or a listed plane does not exist, or a painted
            voxel lies on none.
    """
    marked = label == not_annotated
    painted = (label > 0) & ~marked
    if planes is not None:
        found = listed_planes(planes, axes, label.shape, name)
        if not found:
            raise UserError(f"--planes lists no plane for {name}; add its lines, or move its image to --unlabelled")
    elif marked.any():
        if marked.mean() < _LEAST_MARKED:
            raise UserError(
                f"{name} looks densely labelled, expected painted slices: only {marked.sum()} of its {marked.size} "
                f"voxels have value {not_annotated} (not annotated); replace them and give --simulate SCA, or list the "
                "annotated planes in --planes FILE (CSV: case,view,index)"
            )
        found = complete_planes(~marked)
        if not found:
            raise UserError(
                f"{name} has value {not_annotated} (not annotated) on every plane, expected whole annotated planes; "
                "paint the background of annotated planes as 0, or give --planes FILE (CSV: case,view,index)"
            )
    else:
        found = find_planes(painted, name)
    _check_painted_on_planes(painted, found, name, not_annotated, marked=bool(marked.any()))
    view_of_axis = {axis: view for view, axis in axes.items()}
    known = np.where(marked, 0, label)  # on a listed plane, a voxel without a mark of its own is background
    return _annotation(known, found, [view_of_axis[axis] for axis, _ in found], simulated=False)


def listed_planes(
    planes: Sequence[tuple[str, int]], axes: Mapping[str, int], shape: tuple[int, ...], name: str
) -> list[Plane]:
    """Turn the (view, index) pairs that a planes file lists for one scan into planes.

    Raises:
        UserError: an index lies outside the scan.
    """
    for view, index in planes:
        if index >= shape[axes[view]]:
            raise UserError(
                f"--planes lists {view} {index} for {name}, which has {view} slices 0 to {shape[axes[view]] - 1}; "
                "correct the line (slices count from 0)"
            )
    return sorted((axes[view], index) for view, index in planes)


def _check_painted_on_planes(
    painted: NDArray[np.bool_], planes: list[Plane], name: str, not_annotated: int, *, marked: bool
) -> None:
    outside = np.argwhere(off_planes(painted, planes))
    if not len(outside):
        return
    z, y, x = outside[0]
    source = f"whole planes without value {not_annotated}" if marked else "planes listed in --planes"
    raise UserError(
        f"{name} has {len(outside)} painted voxels off the {source}, the first at (x, y, z) = ({x}, {y}, {z}); "
        "erase them, complete their planes, or list their planes in --planes FILE (CSV: case,view,index)"
    )


def _annotation(label: LabelMap, planes: Sequence[Plane], views: Sequence[str], *, simulated: bool) -> Annotation:
    drawn = tuple(np.ascontiguousarray(label[on_plane(plane)]).astype(np.uint8) for plane in planes)
    slices = tuple(
        AnnotatedSlice(
            view=view,
            axis=axis,
            index=index,
            area=int((pixels > 0).sum()),
            classes=tuple(int(value) for value in np.unique(pixels) if value > 0),
        )
        for view, (axis, index), pixels in zip(views, planes, drawn, strict=True)
    )
    z, y, x = label.shape
    return Annotation(
        shape=(z, y, x), slices=slices, drawn=drawn, networks=networks_of_slices(views, simulated=simulated)
    )
