"""The scan that is shown: what a person may do with its slices, and what is carried from them.

Nothing here writes a file or knows of pages; `session` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.annotate.paint import ChosenSlice, Paint
from sparse_annotation_tools.annotate.preview import Previewer
from sparse_annotation_tools.annotate.viewer_frame import ViewerFrame
from sparse_annotation_tools.files.volumes import Volume
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.drawing import Drawing
from sparse_annotation_tools.slices.planes import Plane, on_plane
from sparse_annotation_tools.suggestion.scan import KnownScan, suggest


class RefusedError(Exception):
    """Something that cannot be done now; its message is for the person at the page."""


@dataclass(kw_only=True)
class OpenScan:
    """The scan that is shown.

    Attributes:
        case: identifier.
        volume: the shown channel.
        axes: array axis of each view.
        frame: how it is turned for the viewer.
        paint: what is painted on it.
        previewer: what training would see.
        heard: the highest number of a change of each slice, so that a late one is not taken for the last.
    """

    case: str
    volume: Volume
    axes: Mapping[str, int]
    frame: ViewerFrame
    paint: Paint
    previewer: Previewer
    heard: dict[Plane, int] = field(default_factory=dict)

    # ---- what there is to see

    def grid(self) -> dict[str, Any]:
        """Return the scan's grid as the viewer has it, as JSON values."""
        return {
            "shape": list(self.frame.shape),
            "spacing_mm": list(self.frame.spacing_mm),
            "views": self.frame.views(),
        }

    def describe(self) -> dict[str, Any]:
        """Return the slices and how far the preview is, as JSON values."""
        slices = [
            {
                "view": each.view,
                "index": each.index,
                "done": each.done,
                "suggested": each.suggested,
                "painted": self.paint.is_painted(plane),
            }
            for plane, each in self.paint.slices.items()
        ]
        return {"case": self.case, "slices": slices, "preview": self.preview_state()}

    def image(self) -> bytes:
        """Return the shown channel as a NIfTI file in the viewer's frame."""
        return self.frame.nifti(self.volume.array)

    def painted(self) -> bytes:
        """Return what is painted, uint8 in the viewer's order."""
        return self.frame.array(self.paint.label).tobytes()

    def pixels_of(self, view: str) -> tuple[int, int]:
        """Return the height and width of the slices of a view, as the viewer's array has them."""
        axis, _ = self.frame.plane(self.plane(view, 0))
        height, width = (side for other, side in enumerate(self.frame.shape) if other != axis)
        return height, width

    def plane(self, view: str, index: int) -> Plane:
        """Return a slice of the scan's array.

        Raises:
            RefusedError: there is no such slice.
        """
        if view not in VIEWS or not 0 <= index < self.volume.array.shape[self.axes[view]]:
            raise RefusedError(f"{view} {index} is no slice of this scan")
        return self.axes[view], index

    # ---- what is carried from the finished slices

    def update_preview(self) -> None:
        """Have what is carried computed anew."""
        self.previewer.update(self.paint.annotation(), self.paint.done)

    def preview_state(self) -> dict[str, Any]:
        """Return how far it is, as JSON values."""
        preview = self.previewer.preview
        view_of_axis = {axis: view for view, axis in self.axes.items()}
        carried = [{"view": view_of_axis[axis], "index": index} for axis, index in preview.carried or {}]
        return {"state": preview.state, "message": preview.message, "version": preview.version, "carried": carried}

    def preview_layer(self, view: str | None, index: int) -> bytes:
        """Return the fused label, or that carried from one slice, as a NIfTI file in the viewer's frame.

        Raises:
            RefusedError: it is not computed yet.
        """
        preview = self.previewer.preview
        layer = preview.fused if view is None else (preview.carried or {}).get(self.plane(view, index))
        if layer is None:
            raise RefusedError("this label is not computed yet")
        return self.frame.nifti(layer)

    # ---- what a person does

    def draw(self, view: str, index: int, number: int, drawn: NDArray[np.uint8], classes: int) -> bool | None:
        """Take over what is painted on a slice.

        Args:
            view: of the slice.
            index: of the slice on the scan's array.
            number: of this change; the page counts its changes.
            drawn: classes in the viewer's order.
            classes: how many there are.

        Returns:
            Whether a finished slice changed, where both cross; None, and nothing is done, for a change that is late.

        Raises:
            RefusedError: the slice is finished or not chosen, or holds an unknown class.
        """
        plane = self.plane(view, index)
        chosen = self.paint.slices.get(plane)
        if chosen is None:
            raise RefusedError(f"{view} {index} is not one of the slices to paint")
        if number <= self.heard.get(plane, -1):
            return None
        if chosen.done:
            raise RefusedError(f"{view} {index} is finished; press Change this slice first")
        if drawn.max(initial=0) > classes:
            raise RefusedError(f"class {drawn.max()} is unknown, expected 0 to {classes}")
        self.heard[plane] = number
        return self.paint.draw(plane, self._on_scan(plane, drawn))

    def act(self, action: str, view: str, index: int, number: int) -> bool:
        """Do something with a slice, see `Session.act`; return whether the finished slices are others now.

        Raises:
            RefusedError: it cannot be done; the message says why.
        """
        before = self.paint.done
        if action == "suggest":
            self.suggest()
            return False
        plane = self.plane(view, index)
        actions = {
            "add": self._add,
            "remove": self._remove,
            "finish": self._finish,
            "empty": self._empty,
            "reopen": self._reopen,
        }
        if action not in actions:
            raise RefusedError(f"{action} is none of {', '.join(actions)}")
        if action != "add" and plane not in self.paint.slices:
            raise RefusedError(f"{view} {index} is not one of the slices to paint")
        actions[action](plane, view)
        self.heard[plane] = max(number, self.heard.get(plane, -1))
        return self.paint.done != before

    def suggest(self) -> None:
        """Choose the slices that rada-suggest-slices would: the first three, or one more.

        Raises:
            RefusedError: a slice is not finished, or no other one is worth painting.
        """
        if len(self.paint.done) < len(self.paint.slices):
            raise RefusedError(
                "Finish the slices of this scan first: the next one is chosen by what is painted on them."
            )
        drawing = Drawing.on(self.paint.label, self.paint.done)
        known = KnownScan(volume=self.volume, axes=self.axes, drawing=drawing)
        _, fresh = suggest(known, 1)
        if not fresh:
            raise RefusedError(
                "No other slice is worth painting, as far as the finished ones tell. You may choose any yourself."
            )
        for each in fresh:
            self.paint.slices[each.plane] = ChosenSlice(view=each.view, plane=each.plane, suggested=True)

    def _add(self, plane: Plane, view: str) -> None:
        self.paint.slices.setdefault(plane, ChosenSlice(view=view, plane=plane))

    def _remove(self, plane: Plane, view: str) -> None:
        if self.paint.slices[plane].done:
            raise RefusedError(f"{view} {plane[1]} is finished; press Change this slice first")
        self.paint.label[on_plane(plane)][self.paint.own(plane)] = 0
        del self.paint.slices[plane]

    def _finish(self, plane: Plane, view: str) -> None:
        touched = plane in self.heard and self.paint.label[on_plane(plane)].any()  # perhaps only where others cross it
        if not touched and not self.paint.is_painted(plane):
            raise RefusedError(
                "Nothing is painted on this slice. If the organ is not on it, press “Nothing of the organ here”."
            )
        self.paint.slices[plane] = replace(self.paint.slices[plane], done=True)

    def _empty(self, plane: Plane, view: str) -> None:
        across = self.paint.shown_across(plane)
        if across is not None:
            raise RefusedError(
                f"The {across.view} slice {across.index} is painted where it crosses this one, so the organ is here. "
                "Paint it, or change that slice first."
            )
        self.paint.erase(plane)
        self.paint.slices[plane] = replace(self.paint.slices[plane], done=True)

    def _reopen(self, plane: Plane, view: str) -> None:
        self.paint.slices[plane] = replace(self.paint.slices[plane], done=False)

    def _on_scan(self, plane: Plane, drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a slice from the viewer's order to that of the scan's array."""
        volume = np.zeros(self.paint.label.shape, np.uint8)
        self.frame.array(volume)[on_plane(self.frame.plane(plane))] = drawn
        return volume[on_plane(plane)]
