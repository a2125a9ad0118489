"""Register one image slice to its neighbour with ANTs, and warp a label along.

A pair's transform is found from images alone; a label decides only which part of them is given, the box around it,
and not even that with `margin_mm=None`. Temporary files live in one private folder for the life of a `Registrar` and
are gone afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.propagation.ants_library import load_ants

logger = logging.getLogger(__name__)

TRANSFORMS = ("SyNOnly", "SyNRA")
_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
_SMALLEST_SIDE = 4  # pixels; ANTs cannot take a gradient across fewer


class Registrar:
    """Warps labels from a moving slice on to a fixed slice; a context manager that owns the temporary files.

    Attributes:
        failures: how many registrations failed, so that the label was copied unchanged.
    """

    def __init__(
        self, *, transform: str, reg_iterations: tuple[int, ...], pixel_mm: float, interpolator: str, seed: int
    ) -> None:
        if transform not in TRANSFORMS:
            raise UserError(f"transform is {transform!r}, expected one of {', '.join(TRANSFORMS)}")
        self.transform = transform
        self.reg_iterations = reg_iterations
        self.pixel_mm = pixel_mm
        self.interpolator = interpolator
        self.seed = seed
        self.failures = 0
        self._stack = contextlib.ExitStack()
        self._folder = Path()

    def __enter__(self) -> Registrar:
        """Open the temporary folder and fix ITK's threads and seed, on which determinism rests."""
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rada-registration-")))
        self._stack.enter_context(deterministic_ants(self.seed))
        return self

    def __exit__(self, *exception: object) -> None:
        """Delete the temporary folder and restore the surroundings."""
        self._stack.close()

    def warp(
        self,
        label: NDArray[np.uint8],
        *,
        moving: NDArray[np.float32],
        fixed: NDArray[np.float32],
        spacing_mm: tuple[float, float],
    ) -> NDArray[np.uint8]:
        """Return `label`, drawn on `moving`, as it lies on `fixed` (nearest neighbour).

        Args:
            label: [H, W] classes on the moving slice.
            moving: [H, W] finite image slice that the label belongs to.
            fixed: [H, W] finite neighbouring image slice.
            spacing_mm: pixel size along H and W.

        Returns:
            [H, W]; a copy of `label` where there is nothing to register (a constant slice, a sliver of fewer than four
            pixels) or where ANTs fails.
        """
        if min(label.shape) < _SMALLEST_SIDE or np.ptp(moving) == 0 or np.ptp(fixed) == 0:
            return label.copy()
        ants = load_ants()

        shrink = tuple(max(1, round(self.pixel_mm / step)) for step in spacing_mm)

        def as_image(array: NDArray[Any]) -> Any:
            return ants.from_numpy(array.astype(np.float32), spacing=spacing_mm)

        def as_small_image(array: NDArray[np.float32]) -> Any:
            """A block mean, placed where it lies in the full image."""
            spacing = tuple(step * factor for step, factor in zip(spacing_mm, shrink, strict=True))
            origin = tuple(step * (factor - 1) / 2 for step, factor in zip(spacing_mm, shrink, strict=True))
            return ants.from_numpy(_block_mean(array, shrink), spacing=spacing, origin=origin)

        try:
            result = ants.registration(
                as_small_image(fixed),
                as_small_image(moving),
                type_of_transform=self.transform,
                reg_iterations=self.reg_iterations,
                outprefix=str(self._folder / "pair"),
            )
            warped = ants.apply_transforms(
                as_image(fixed), as_image(label), result["fwdtransforms"], interpolator=self.interpolator
            )
        except (RuntimeError, ValueError) as error:
            self.failures += 1
            logger.warning("registration of two neighbouring slices failed (%s); the label is copied", error)
            return label.copy()
        finally:
            for leftover in self._folder.iterdir():
                leftover.unlink()
        result_label: NDArray[np.uint8] = np.rint(warped.numpy()).astype(np.uint8)
        return result_label


def _block_mean(array: NDArray[np.float32], shrink: tuple[int, ...]) -> NDArray[np.float32]:
    """Shrink an image by whole factors, the last block filled up with its edge."""
    padded = np.pad(array, [(0, -size % factor) for size, factor in zip(array.shape, shrink, strict=True)], mode="edge")
    height, width = (size // factor for size, factor in zip(padded.shape, shrink, strict=True))
    small: NDArray[np.float32] = padded.reshape(height, shrink[0], width, shrink[1]).mean(axis=(1, 3))
    return small


@contextlib.contextmanager
def deterministic_ants(seed: int) -> Iterator[None]:
    """One ITK thread and a fixed seed: ANTs repeats its results only with both."""
    wanted = {_THREADS: "1", "ANTS_RANDOM_SEED": str(seed or 1)}  # ANTs takes 0 for "by the clock"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
