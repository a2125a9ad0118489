"""Carry an annotated slice through its volume, neighbour by neighbour (paper section III-A3)."""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.propagation.object_size import box_around
from sparse_annotation_tools.propagation.registration import TRANSFORMS, Registrar

logger = logging.getLogger(__name__)

Volume = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PropagationSettings:
    """How a label is carried from slice to slice."""

    transform: str = "SyNOnly"
    """ANTs transform. Departure from the paper: between adjacent slices SyNRA's rigid and affine stages buy nothing."""
    reg_iterations: tuple[int, ...] = (7,)
    """Iterations of the deformable stage, coarse to fine."""
    pixel_mm: float = 1.25
    """Finer images are shrunk, by a whole factor, to about this pixel size before they are registered."""
    interpolator: str = "genericLabel"
    """How the label is warped."""
    morphology_mm: float = 3.0
    """Side of the in-plane opening and closing; 0 is none.

    Departure from the paper: in pixels, the published kernel destroys coarse scans.
    """
    morphology_pixels: int | None = None
    """Side of the kernel in pixels, instead of `morphology_mm`."""
    margin_mm: float | None = 8.0
    """Each registration sees the label's box and this margin around it; None is the full frame."""

    hold_to_planes: bool = True
    """Afterwards, let the annotated planes that cross a label correct its outline and end it (`crossing.py`)."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if self.transform not in TRANSFORMS:
            raise UserError(f"transform is {self.transform!r}, expected one of {', '.join(TRANSFORMS)}")
        if self.morphology_mm < 0:
            raise UserError(f"morphology_mm is {self.morphology_mm}, expected 0 (none) or a positive number")

    @classmethod
    def paper(cls) -> PropagationSettings:
        """Return the published way: SyNRA on the full frame, 5x5-pixel opening and closing."""
        return cls(
            transform="SyNRA",
            reg_iterations=(40, 20, 0),
            pixel_mm=0,
            interpolator="nearestNeighbor",
            morphology_pixels=5,
            margin_mm=None,
            hold_to_planes=False,
        )

    def kernel(self, spacing_mm: tuple[float, float]) -> tuple[int, int]:
        """Return the morphology kernel's sides in pixels, the nearest odd numbers to `morphology_mm`, ties down."""
        if self.morphology_pixels is not None:
            return self.morphology_pixels, self.morphology_pixels
        height, width = (_nearest_odd(self.morphology_mm / step) for step in spacing_mm)
        return height, width

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def propagate(
    image: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    axis: int,
    index: int,
    label: NDArray[np.uint8],
    settings: PropagationSettings,
    seed: int = 0,
) -> Volume:
    """Carry one annotated slice through the volume in both directions.

    Slice i (moving) is registered to slice i+1 (fixed), the label is warped along and cleaned by an opening and a
    closing, and the chain goes on from the result until the label dies. The truth is never read: DeSCO's script, which
    the paper follows, repeats registrations until the Dice against the full label is good.

    Args:
        image: [z, y, x] of any number type; NaN and infinity count as the smallest finite value.
        spacing_mm: voxel size along z, y and x.
        axis: array axis across the annotated plane.
        index: position of the annotated plane along `axis`.
        label: [in-plane, remaining axes in order] classes, 0 is background.
        settings: transform, morphology, cropping.
        seed: seed of the registration.

    Returns:
        [z, y, x] propagated classes; the annotated slice itself is unchanged in it.

    Raises:
        UserError: the plane lies outside the image, or the label does not have the plane's shape.
    """
    stack = np.moveaxis(_finite(image), axis, 0)
    if not 0 <= index < len(stack):
        raise UserError(f"annotated slice {index} along axis {axis} is outside the image, which has {len(stack)}")
    if label.shape != stack.shape[1:]:
        raise UserError(
            f"the label of slice {index} along axis {axis} has shape {label.shape}, expected {stack.shape[1:]}"
        )
    first, second = (step for other, step in enumerate(spacing_mm) if other != axis)
    plane_spacing = (float(first), float(second))
    propagated = np.zeros(stack.shape, np.uint8)
    propagated[index] = label
    with Registrar(
        transform=settings.transform,
        reg_iterations=settings.reg_iterations,
        pixel_mm=settings.pixel_mm,
        interpolator=settings.interpolator,
        seed=seed,
    ) as registrar:
        for path in (range(index, len(stack)), range(index, -1, -1)):
            for here, there in itertools.pairwise(path):
                if not propagated[here].any():
                    break
                propagated[there] = _step(
                    propagated[here], stack[here], stack[there], plane_spacing, settings, registrar
                )
        if registrar.failures:
            logger.warning("%d registrations failed around slice %d of axis %d", registrar.failures, index, axis)
    return np.ascontiguousarray(np.moveaxis(propagated, 0, axis))


def _step(
    label: NDArray[np.uint8],
    moving: NDArray[np.float32],
    fixed: NDArray[np.float32],
    spacing_mm: tuple[float, float],
    settings: PropagationSettings,
    registrar: Registrar,
) -> NDArray[np.uint8]:
    """Warp the label to the neighbouring slice, inside a box around it."""
    whole = (slice(None), slice(None))
    box = whole if settings.margin_mm is None else box_around(label > 0, spacing_mm, settings.margin_mm)
    warped = np.zeros_like(label)
    warped[box] = registrar.warp(label[box], moving=moving[box], fixed=fixed[box], spacing_mm=spacing_mm)
    return open_and_close(warped, settings.kernel(spacing_mm))


def open_and_close(label: NDArray[np.uint8], kernel: tuple[int, int]) -> NDArray[np.uint8]:
    """Clean every class by a morphological opening and then a closing; the world outside the frame is left out.

    A closing fills background only, and where two classes would fill the same pixel, the lower one does.
    """
    if kernel == (1, 1):
        return label
    element = np.ones(kernel, bool)
    cleaned = np.zeros_like(label)
    classes = [int(value) for value in np.unique(label) if value]
    for value in classes:
        eroded = ndimage.binary_erosion(label == value, element, border_value=1)
        cleaned[ndimage.binary_dilation(eroded, element)] = value
    for value in classes:
        dilated = ndimage.binary_dilation(cleaned == value, element)
        closed = ndimage.binary_erosion(dilated, element, border_value=1)
        cleaned[closed & (cleaned == 0)] = value
    return cleaned


def _nearest_odd(size: float) -> int:
    # The tolerance keeps a header's 1.4999999 mm on the side of 1.5 mm.
    return max(1, 2 * math.ceil((size - 1) / 2 - 0.5 - 1e-3) + 1)


def _finite(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the image as finite float32."""
    image = np.asarray(image, np.float32)
    finite = np.isfinite(image)
    if finite.all():
        return image
    return np.where(finite, image, image[finite].min() if finite.any() else np.float32(0))
