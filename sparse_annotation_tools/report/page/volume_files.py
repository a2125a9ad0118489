"""Volumes that a page loads from disk: gzipped NIfTI in base64, inside a script.

Browsers forbid a page from file:// to fetch its neighbours, but not to run them.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.files.atomic import write_text

Array = NDArray[Any]

_WINDOW_PERCENTILES = (0.5, 99.5)
_LEVELS = 255


def windowed(image: Array) -> tuple[float, float]:
    """Return the intensities that become black and white: a few bright voxels must not darken the rest."""
    low, high = (float(value) for value in np.percentile(image, _WINDOW_PERCENTILES))
    return low, max(high, low + 1e-6)


def image_nifti(image: Array, affine: Array, window: tuple[float, float]) -> bytes:
    """Return an upright image [z, y, x] as NIfTI with 256 grey levels; its header scales them back to intensities."""
    low, high = window
    step = (high - low) / _LEVELS
    levels = np.round((np.clip(image, low, high) - low) / step).astype(np.uint8)
    return _nifti(levels, affine, slope=step, intercept=low)


def label_nifti(label: Array, affine: Array) -> bytes:
    """Return an upright uint8 volume [z, y, x] as NIfTI."""
    return _nifti(label, affine)


def coarser_affine(affine: Array, factors: tuple[int, ...]) -> Array:
    """Return the affine (x, y, z) of a grid on which each block of `factors` voxels (z, y, x) is one."""
    scale = np.asarray(factors[::-1], float)
    shift = np.eye(4)
    shift[:3, 3] = (scale - 1) / 2
    return np.asarray(affine @ shift @ np.diag([*scale, 1.0]))


def write_script(path: Path, key: str, nifti: bytes) -> int:
    """Write the script that hands a volume to the page as `key`; return its bytes. Same volume, same bytes."""
    packed = base64.b64encode(gzip.compress(nifti, compresslevel=6, mtime=0)).decode("ascii")
    text = f"Rada.receiveVolume({json.dumps(key)}, {json.dumps(packed)});\n"
    write_text(path, text)
    return len(text)


def _nifti(upright: Array, affine: Array, *, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """Store with x to the right, y to the front, z to the head: the order that viewers need not turn."""
    turned = upright[:, ::-1, ::-1]
    last = np.asarray(upright.shape[::-1]) - 1
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = last[:2]
    file = nibabel.Nifti1Image(np.ascontiguousarray(turned.transpose(2, 1, 0)), affine @ flip)
    file.header.set_xyzt_units("mm")
    content = bytearray(file.to_bytes())
    # nibabel chooses the scaling by itself; the fields lie at fixed places of a little-endian header.
    content[112:120] = np.asarray([slope, intercept], "<f4").tobytes()
    return bytes(content)
