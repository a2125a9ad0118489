"""What each view (network) may learn from a case: a label where it knows one, and how far it is from a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.schema import Case
from sparse_annotation_tools.slices.planes import Plane

UNKNOWN = -1


def paste_annotation(propagated: NDArray[Any], annotation: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the propagated label with every annotated voxel (value >= 0) set to what the annotator drew."""
    return np.where(annotation >= 0, annotation, propagated.astype(np.int16))


def nearest_plane(shape: tuple[int, int, int], planes: Sequence[Plane]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return for each voxel the position in `planes` of its nearest plane and the distance to it in raw slices.

    Each distance counts along its own plane's axis. Ties go to the plane listed first.

    Returns:
        position, distance: both int16 (z, y, x).
    """
    if not planes:
        raise ValueError("no plane to measure from")
    position = np.zeros(shape, dtype=np.int16)
    distance = np.full(shape, np.iinfo(np.int16).max, dtype=np.int16)
    for number, (axis, index) in enumerate(planes):
        steps = np.abs(np.arange(shape[axis]) - index).astype(np.int16)
        steps_zyx = np.broadcast_to(steps.reshape([-1 if each == axis else 1 for each in range(3)]), shape)
        nearer = steps_zyx < distance
        position[nearer] = number
        distance[nearer] = steps_zyx[nearer]
    return position, distance


def view_label(
    case: Case,
    propagated: Sequence[NDArray[np.uint8]],
    annotation: NDArray[np.int16],
    network: str,
    fused: NDArray[np.uint8] | None = None,
) -> NDArray[np.int16]:
    """Return the label that one network learns from, -1 where its view knows nothing.

    Off the annotated planes the label comes from the network's nearest slice (in raw slices, ties to the lower index).
    A network without a slice takes the fused label. Where another annotated slice shows a class that none of this
    network's slices shows, propagation would have painted over that class: the view then knows nothing off the planes.
    The annotator's own voxels always stand.

    Args:
        case: its record in `cases.json`.
        propagated: the label propagated from each annotated slice, in the order of `case.slices`, uint8 (z, y, x).
        annotation: int16 (z, y, x), -1 where nobody annotated.
        network: one of `case.networks`.
        fused: the fused label; needed where the network has no slice.
    """
    own = sorted(case.networks[network], key=lambda k: (case.slices[k].index, k))
    if not own:
        if fused is None:
            raise ValueError(f"network {network} has no annotated slice of its own: give the fused label")
        return paste_annotation(fused, annotation)
    shown_anywhere = {value for annotated in case.slices for value in annotated.classes}
    shown_here = {value for k in own for value in case.slices[k].classes}
    if shown_anywhere - shown_here:
        return annotation.copy()
    position, _ = nearest_plane(annotation.shape, [(case.slices[k].axis, case.slices[k].index) for k in own])
    label = np.zeros(annotation.shape, dtype=np.uint8)
    for number, k in enumerate(own):
        np.copyto(label, propagated[k], where=position == number)
    return paste_annotation(label, annotation)
