"""What is painted on one scan: a label on the scan's array, the chosen slices, and which of them are finished."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.slices.planes import Plane, annotation_volume, on_plane

NOT_ANNOTATED = 255
"""Value of the voxels that nobody annotated, in the label maps that are written."""


@dataclass(frozen=True, kw_only=True)
class ChosenSlice:
    """A slice that is to be painted.

    Attributes:
        view: name of the view.
        plane: (axis, index) on the scan's array.
        done: the person has finished it. A finished slice without paint says that nothing of the organ is there.
        suggested: chosen by rule, not by the person.
        drawn: classes [in-plane] as of the record; None while it is part of a `Paint`.
    """

    view: str
    plane: Plane
    done: bool = False
    suggested: bool = False
    drawn: NDArray[np.uint8] | None = None

    @property
    def index(self) -> int:
        """Position along the array, from 0."""
        return self.plane[1]


@dataclass(kw_only=True)
class Paint:
    """The paint on one scan. A voxel has one class, so slices that cross agree on their common line.

    Attributes:
        label: uint8 [z, y, x] class, 0 where nothing is painted.
        slices: in the order they were chosen.
    """

    label: NDArray[np.uint8]
    slices: dict[Plane, ChosenSlice] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: tuple[int, int, int], slices: Sequence[ChosenSlice]) -> Paint:
        """Put the drawn slices of a record together."""
        label = np.zeros(shape, np.uint8)
        for each in slices:
            if each.drawn is not None:
                label[on_plane(each.plane)] = each.drawn
        return cls(label=label, slices={each.plane: each for each in slices})

    @property
    def done(self) -> list[Plane]:
        """The finished planes, by axis and index."""
        return sorted(plane for plane, each in self.slices.items() if each.done)

    def draw(self, plane: Plane, drawn: NDArray[np.uint8]) -> bool:
        """Replace what is on a plane; return whether a finished plane shows something else now."""
        changed = self.label[on_plane(plane)] != drawn
        self.label[on_plane(plane)] = drawn
        return any(bool(changed[_crossing(plane, finished)].any()) for finished in self.done)

    def erase(self, plane: Plane) -> None:
        """Take the paint off a plane, except where other finished planes cross it."""
        mine = np.ones(self.label[on_plane(plane)].shape, bool)
        for finished in self.done:
            if finished != plane:
                mine[_crossing(plane, finished)] = False
        self.label[on_plane(plane)][mine] = 0

    def own(self, plane: Plane) -> NDArray[np.bool_]:
        """Return where a plane is painted, lines of other chosen planes aside."""
        shown: NDArray[np.bool_] = self.label[on_plane(plane)] > 0
        for other in self.slices:
            if other != plane:
                shown[_crossing(plane, other)] = False
        return shown

    def is_painted(self, plane: Plane) -> bool:
        """Whether any class is on a plane; where it is not finished, lines of other chosen planes aside."""
        done = plane in self.slices and self.slices[plane].done
        return bool((self.label[on_plane(plane)] > 0).any() if done else self.own(plane).any())

    def shown_across(self, plane: Plane) -> ChosenSlice | None:
        """Return a finished slice that shows a class where it crosses this plane, or None."""
        drawn = self.label[on_plane(plane)] > 0
        for finished in self.done:
            if finished != plane and drawn[_crossing(plane, finished)].any():
                return self.slices[finished]
        return None

    def annotation(self) -> NDArray[np.int16]:
        """Return int16 [z, y, x]: the class on finished planes (0 is background), -1 everywhere else."""
        z, y, x = self.label.shape
        return annotation_volume((z, y, x), self.done, [self.label[on_plane(plane)] for plane in self.done])

    def label_map(self) -> NDArray[np.uint8]:
        """Return uint8 [z, y, x] as it is saved: the class on finished planes, `NOT_ANNOTATED` everywhere else."""
        annotation = self.annotation()
        return np.where(annotation >= 0, annotation, NOT_ANNOTATED).astype(np.uint8)

    def with_drawn(self) -> list[ChosenSlice]:
        """Return the slices with what is drawn on them, as a record keeps them."""
        return [
            ChosenSlice(**{**vars(each), "drawn": self.label[on_plane(plane)].copy()})
            for plane, each in self.slices.items()
        ]


def _crossing(plane: Plane, other: Plane) -> tuple[slice | int, ...]:
    """Return the index, in the array of `plane`, of what it shares with `other`: a line, all of it, or nothing."""
    axis, index = plane
    other_axis, other_index = other
    if axis == other_axis:
        return (slice(None) if index == other_index else slice(0),)
    return on_plane((other_axis, other_index))[:axis] + on_plane((other_axis, other_index))[axis + 1 :]


def slice_to_json(each: ChosenSlice) -> dict[str, Any]:
    """Return a slice with what is drawn on it as JSON values."""
    drawn = None
    if each.drawn is not None:
        packed = base64.b64encode(zlib.compress(each.drawn.tobytes(), 1)).decode()
        drawn = {"shape": list(each.drawn.shape), "zlib": packed}
    axis, index = each.plane
    return {
        "view": each.view,
        "axis": axis,
        "index": index,
        "done": each.done,
        "suggested": each.suggested,
        "drawn": drawn,
    }


def slice_from_json(content: Mapping[str, Any]) -> ChosenSlice:
    """Return the slice of `slice_to_json`."""
    drawn = None
    if content["drawn"] is not None:
        data = zlib.decompress(base64.b64decode(content["drawn"]["zlib"]))
        drawn = np.frombuffer(data, np.uint8).reshape(content["drawn"]["shape"])
    return ChosenSlice(
        view=content["view"],
        plane=(content["axis"], content["index"]),
        done=content["done"],
        suggested=content["suggested"],
        drawn=drawn,
    )
