"""Thumbnails of one case: cuts through the image with labels on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageColor import getrgb
from scipy import ndimage

from sparse_annotation_tools.evaluation.metrics import overlap_metrics
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.report.case_volumes import CaseVolumes
from sparse_annotation_tools.report.cuts import box_of_labels, plane_between
from sparse_annotation_tools.report.page.volume_files import windowed
from sparse_annotation_tools.report.palette import OKABE_ITO, class_colour
from sparse_annotation_tools.report.upright_cut import cut, largest_slice
from sparse_annotation_tools.slices.planes import Plane
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS

Array = NDArray[Any]

DRAWN, PROPAGATED, PREDICTED = "drawn", "propagated", "predicted"
DOUBT_COLOUR = OKABE_ITO[5]
TRUTH_COLOUR = "#FFFFFF"

_LONG_SIDE = 320  # pixels of a thumbnail
_MOST_PLANES = 6  # drawn planes that get a thumbnail; the viewer has them all
_FILL = 0.35
_MOST_DOUBT = 0.5  # probability of being wrong that shows the strongest colour: a coin's toss


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One thumbnail.

    Attributes:
        name: of its file.
        group: `drawn`, `propagated` or `predicted`.
        title: for readers.
        plane: where it cuts, on the upright grid.
        filled: labels to fill and outline in the classes' colours.
        outlined: labels to outline in the classes' colours.
        truth: labels to outline in white.
        doubt: 0 to 1, to paint over the image.
    """

    name: str
    group: str
    title: str
    plane: Plane
    filled: Array | None = None
    outlined: Array | None = None
    truth: Array | None = None
    doubt: Array | None = None


def panels_of(case: CaseVolumes, classes: Mapping[str, int]) -> list[Panel]:
    """Return the thumbnails of a case, in reading order."""
    panels = []
    planes = case.planes[:_MOST_PLANES]
    for number, plane in enumerate(planes):
        panels.append(
            Panel(
                name=f"drawn_{number}",
                group=DRAWN,
                title=f"{plane.view} slice",
                plane=(plane.axis, plane.index),
                filled=case.annotation,
            )
        )
    if planes:
        panels += _propagated_panels(case, classes)
    if case.prediction is not None:
        panels += _predicted_panels(case)
    return panels


def _propagated_panels(case: CaseVolumes, classes: Mapping[str, int]) -> list[Panel]:
    """Each propagated label, the fused one and its confidence, on one plane that nobody annotated."""
    between = plane_between(case)
    carried = [
        (f"propagated_{number}", f"from {plane.view}", label)
        for number, (plane, label) in enumerate(zip(case.planes, case.propagated, strict=True))
    ][:_MOST_PLANES]
    if case.fused is not None:
        carried.append(("fused", "fused", case.fused))
    panels = [
        Panel(
            name=name,
            group=PROPAGATED,
            title=title + _scores(label, case.truth, classes),
            plane=between,
            filled=label,
            truth=case.truth,
        )
        for name, title, label in carried
    ]
    if case.confidence is not None:
        doubt = 1 - case.confidence / np.float32(255)
        panels.append(
            Panel(
                name="confidence",
                group=PROPAGATED,
                title="confidence of fused",
                plane=between,
                outlined=case.fused,
                doubt=doubt,
            )
        )
    return panels


def _predicted_panels(case: CaseVolumes) -> list[Panel]:
    """Prediction against truth in each view, where the organ is largest; below them the doubt, where it is known."""
    prediction, truth, wrong = case.prediction, case.truth, case.wrong
    assert prediction is not None  # the caller has looked
    shown = prediction if truth is None or not truth.any() else truth
    cuts = [(axis, largest_slice(shown > 0, axis)) for axis in (2, 1, 0)]
    panels = [
        Panel(
            name=f"predicted_{VIEW_OF_AXIS[plane[0]]}",
            group=PREDICTED,
            title=VIEW_OF_AXIS[plane[0]],
            plane=plane,
            outlined=prediction,
            truth=truth,
        )
        for plane in cuts
    ]
    if wrong is not None:
        panels += [
            Panel(
                name=f"doubt_{VIEW_OF_AXIS[plane[0]]}",
                group=PREDICTED,
                title=f"{VIEW_OF_AXIS[plane[0]]}, doubt",
                plane=plane,
                outlined=prediction,
                doubt=wrong,
            )
            for plane in cuts
        ]
    return panels


def _scores(label: Array, truth: Array | None, classes: Mapping[str, int]) -> str:
    """Dice of each class as text, where there is a truth."""
    if truth is None:
        return ""
    dice = [overlap_metrics(label == value, truth == value).get("dice") for value in classes.values()]
    return ", Dice " + " / ".join("-" if value is None else f"{value:.2f}" for value in dice)


# --- drawing ------------------------------------------------------------------------------------------------------


class Painter:
    """Draws the thumbnails of one case, all with the same window and the same box around the organ."""

    def __init__(self, case: CaseVolumes) -> None:
        self._case = case
        self._box = box_of_labels(case)
        self._window = windowed(case.image)

    def write(self, panel: Panel, path: Path) -> tuple[int, int]:
        """Write the PNG of a panel, in true proportions; return its width and height in pixels."""
        picture = self._drawn(panel)
        with atomic_path(path) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG", compress_level=6)
        return picture.shape[1], picture.shape[0]

    def _drawn(self, panel: Panel) -> Array:
        low, high = self._window
        image = np.clip((cut(self._case.image, panel.plane, self._box) - low) / (high - low), 0, 1)
        size = self._size(panel.plane, image.shape)
        picture = np.repeat(_resized(image, size, Image.Resampling.BICUBIC)[..., None] * 255.0, 3, axis=2)
        if panel.doubt is not None:
            strength = np.clip(cut(panel.doubt, panel.plane, self._box) / _MOST_DOUBT, 0, 1)
            _blend(picture, DOUBT_COLOUR, 0.6 * _resized(strength, size, Image.Resampling.BILINEAR))
        if panel.truth is not None:  # wide and below, so that a thin prediction on top hides nothing of it
            for _, mask in self._masks(panel.truth, panel.plane, size):
                _blend(picture, TRUTH_COLOUR, _edge(mask, inwards=3, outwards=1))
        for label, is_filled in ((panel.filled, True), (panel.outlined, False)):
            if label is None:
                continue
            for value, mask in self._masks(label, panel.plane, size):
                colour = class_colour(value)
                if is_filled:
                    _blend(picture, colour, mask * _FILL)
                _blend(picture, colour, _edge(mask, inwards=2, outwards=0))
        return np.round(picture).astype(np.uint8)

    def _size(self, plane: Plane, shape: tuple[int, ...]) -> tuple[int, int]:
        """Width and height in pixels, of square millimetres."""
        row_mm, column_mm = (step for axis, step in enumerate(self._case.spacing_mm) if axis != plane[0])
        height_mm, width_mm = shape[0] * row_mm, shape[1] * column_mm
        scale = _LONG_SIDE / max(height_mm, width_mm)
        return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))

    def _masks(self, label: Array, plane: Plane, size: tuple[int, int]) -> list[tuple[int, Array]]:
        """Each class on the cut, with edges as smooth as the thumbnail allows."""
        shown = cut(label, plane, self._box)
        values = [int(value) for value in np.unique(shown) if value > 0]
        return [(value, _resized(shown == value, size, Image.Resampling.BILINEAR) > 0.5) for value in values]


def _resized(array: Array, size: tuple[int, int], how: Image.Resampling) -> Array:
    """Resize values of 0 to 1 to (width, height)."""
    resized = Image.fromarray(np.ascontiguousarray(array, np.float32)).resize(size, how)
    return np.clip(np.asarray(resized), 0, 1)


def _edge(mask: Array, *, inwards: int, outwards: int) -> Array:
    """A line along the edge of a mask, closed at the border of the picture."""
    inner = ndimage.binary_erosion(mask, iterations=inwards)
    outer = ndimage.binary_dilation(mask, iterations=outwards) if outwards else mask
    return np.asarray(outer & ~inner)


def _blend(picture: Array, colour: str, opacity: Array) -> None:
    picture += (np.asarray(getrgb(colour), float) - picture) * np.asarray(opacity, float)[..., None]
