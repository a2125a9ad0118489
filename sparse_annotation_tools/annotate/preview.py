"""What training would see of a scan: the label carried from each finished slice, and the one fused from all.

Computed as `rada-make-sparse-dataset` does with its default settings, from the finished slices of the open scan.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.annotate.workers import Workers
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Volume
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate
from sparse_annotation_tools.propagation.crossing import find_all_outlines, hold_to_planes
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.slices.planes import Plane, on_plane

Label = NDArray[np.uint8]
Propagate = Callable[..., Label]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What is known by now.

    Attributes:
        state: `none` (no finished slice shows a class), `working`, `ready` or `failed`.
        message: why it failed.
        version: another number for other labels; 0 where there are none.
        fused: label from all finished slices.
        carried: label from each finished slice that shows a class.
    """

    state: str = "none"
    message: str = ""
    version: int = 0
    fused: Label | None = None
    carried: dict[Plane, Label] | None = None


class Previewer:
    """Keeps the preview of one scan up to date; results of a slice are kept as long as its drawing stays the same."""

    def __init__(
        self, volume: Volume, workers: Workers, changed: Callable[[], None], propagate: Propagate = propagate
    ) -> None:
        """Nothing is computed yet; `changed` is called, from another thread, when `preview` is another one."""
        self.preview = Preview()
        self._volume = volume
        self._workers = workers
        self._changed = changed
        self._propagate = propagate
        self._carried: dict[tuple[Plane, str], Label] = {}
        self._wanted = 0
        self._lock = threading.Lock()

    def update(self, annotation: NDArray[np.int16], planes: Sequence[Plane]) -> None:
        """Compute the preview of these finished planes in the background; what was under way for others is dropped."""
        with self._lock:
            self._wanted += 1
            number = self._wanted
        threading.Thread(target=self._run, args=(number, annotation, list(planes)), daemon=True).start()

    def stop(self) -> None:
        """Forget what is under way."""
        with self._lock:
            self._wanted += 1

    def _run(self, number: int, annotation: NDArray[np.int16], planes: list[Plane]) -> None:
        shown = [plane for plane in planes if (annotation[on_plane(plane)] > 0).any()]
        if not shown:
            self._set(number, Preview())
            return
        self._set(number, replace(self.preview, state="working", message=""))  # with the labels of before
        try:
            volumes = self._carry(annotation, shown)
            classes = tuple(int(value) for value in np.unique(annotation[annotation > 0]))
            spacing_mm = self._volume.geometry.spacing_mm
            # Planes without a class carry nothing; what they say, background, is in the annotation.
            arguments = (np.stack(volumes), shown, annotation, classes, spacing_mm, self._workers.count)
            fused, held = self._workers.submit(merge, *arguments).result()
        except UserError as error:
            self._set(number, Preview(state="failed", message=str(error)))
            return
        except Exception as error:
            self._set(number, Preview(state="failed", message=repr(error)))
            raise
        carried = dict(zip(shown, held, strict=True))
        self._set(number, Preview(state="ready", version=number, fused=fused, carried=carried))

    def _carry(self, annotation: NDArray[np.int16], planes: Sequence[Plane]) -> list[Label]:
        """Return the label propagated from each plane; those that are not known yet are computed side by side."""
        image, spacing_mm = self._volume.array, self._volume.geometry.spacing_mm
        known = dict(self._carried)  # an outdated run may be at work in another thread
        halves: dict[tuple[Plane, str], list[Any]] = {}
        keys = []
        for plane in planes:
            drawn = annotation[on_plane(plane)].astype(np.uint8)
            key = (plane, hashlib.sha256(drawn.tobytes()).hexdigest())
            keys.append(key)
            if key not in known:
                arguments = (self._propagate, image, spacing_mm, plane, drawn)
                halves[key] = [self._workers.submit(carry_half, *arguments, upwards) for upwards in (False, True)]
        for key, (below, above) in halves.items():
            known[key] = np.concatenate([below.result(), above.result()], axis=key[0][0])
        self._carried = {key: known[key] for key in keys}
        return [known[key] for key in keys]

    def _set(self, number: int, preview: Preview) -> None:
        with self._lock:
            if number != self._wanted:
                return
            self.preview = preview
        self._changed()


def carry_half(
    propagate: Propagate,
    image: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    plane: Plane,
    drawn: Label,
    upwards: bool,
) -> Label:
    """Return what a slice's label becomes in the slices above it, or up to and on it, along its axis."""
    axis, index = plane
    half = (slice(None),) * axis + (slice(index, None) if upwards else slice(index + 1),)
    carried = propagate(image[half], spacing_mm, axis, 0 if upwards else index, drawn, PropagationSettings(), 0)
    return carried[(slice(None),) * axis + (slice(1, None),)] if upwards else carried


def merge(
    volumes: Label,
    planes: Sequence[Plane],
    annotation: NDArray[np.int16],
    classes: Sequence[int],
    spacing_mm: tuple[float, float, float],
    threads: int,
) -> tuple[Label, list[Label]]:
    """Return the fused label, and each propagated label held to the planes that cross it."""
    outlines = find_all_outlines(volumes, planes, annotation, spacing_mm, threads=threads)
    fused, _ = fuse(volumes, planes, annotation, classes, spacing_mm, outlines)
    held = [
        hold_to_planes(volume, axis, planes, annotation, spacing_mm, own)
        for volume, (axis, _), own in zip(volumes, planes, outlines, strict=True)
    ]
    return fused, held
