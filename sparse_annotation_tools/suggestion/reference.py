"""Carry the label of one scan roughly on to another: where an organ probably lies in an unlabelled scan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Volume
from sparse_annotation_tools.propagation.ants_library import load_ants
from sparse_annotation_tools.propagation.registration import deterministic_ants

_WINDOW_PERCENTILES = (1, 99)  # of intensities; registration needs contrast, not extremes


def carry_label(reference: Volume, label: NDArray[Any], scan: Volume, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return the foreground of a labelled reference as it lies on `scan` after an affine registration.

    Args:
        reference: the labelled scan.
        label: [z, y, x] on the reference's grid; every class counts as foreground.
        scan: the scan to register it to.
        seed: of the registration.

    Returns:
        [z, y, x] 1 where the foreground probably is.

    Raises:
        UserError: ANTs cannot register the two.
    """
    ants = load_ants()
    fixed, moving = _as_ants(_window(scan.array), scan), _as_ants(_window(reference.array), reference)
    foreground = _as_ants((label > 0).astype(np.float32), reference)
    with tempfile.TemporaryDirectory(prefix="rada-reference-") as folder, deterministic_ants(seed):
        try:
            found = ants.registration(fixed, moving, "Affine", outprefix=str(Path(folder) / "pair"))
            carried = ants.apply_transforms(fixed, foreground, found["fwdtransforms"], interpolator="linear")
        except (RuntimeError, ValueError) as error:
            raise UserError(f"the scan cannot be registered to that of --reference ({error}); leave it out") from None
    inside: NDArray[np.uint8] = (carried.numpy().transpose(2, 1, 0) > 0.5).astype(np.uint8)
    return np.ascontiguousarray(inside)


def _window(array: NDArray[Any]) -> NDArray[np.float32]:
    low, high = np.percentile(array, _WINDOW_PERCENTILES)
    return np.asarray(np.clip((array - low) / max(float(high - low), 1e-6), 0, 1), np.float32)


def _as_ants(array: NDArray[np.float32], like: Volume) -> Any:
    ants = load_ants()
    geometry = like.geometry
    return ants.from_numpy(
        np.ascontiguousarray(array.transpose(2, 1, 0)),
        origin=geometry.origin,
        spacing=geometry.spacing,
        direction=np.reshape(geometry.direction, (3, 3)),
    )
