"""Generated phantom scans: organ-like shapes with a known dense label, for the demo and for tests.

A phantom is drawn in patient space, not on a voxel grid: the anatomy is a function of the position in millimetres, and
a grid of any spacing and direction samples it. It stands for no real organ, and figures measured on it say nothing
about real scans.

Positions are (x, y, z) in ITK's patient system: to the left, to the back, to the head. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import write_image

Array = NDArray[Any]
Directions = Literal["identity", "permuted", "flipped", "oblique"]

CLASS_NAMES = ("lobed_organ", "bean_organ")
"""Names of the foreground classes 1, 2."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One phantom scan.

    Attributes:
        image: float32 [z, y, x], arbitrary units.
        label: uint8 [z, y, x], 0 background, k for `CLASS_NAMES[k - 1]`.
        spacing_mm: voxel size along the array axes (z, y, x).
        direction: [3, 3], column i is the patient direction of ITK's index axis i, which is array axis 2 - i.
        origin_mm: patient position (x, y, z) of voxel (0, 0, 0).
    """

    image: Array
    label: Array
    spacing_mm: tuple[float, float, float]
    direction: Array
    origin_mm: tuple[float, float, float]

    def to_sitk(self) -> tuple[Any, Any]:
        """Return image and label as SimpleITK images that carry the geometry."""
        images = []
        for array in (self.image, self.label):
            image: Any = SimpleITK.GetImageFromArray(array)
            image.SetSpacing(self.spacing_mm[::-1])
            image.SetDirection(self.direction.ravel().tolist())
            image.SetOrigin(self.origin_mm)
            images.append(image)
        return images[0], images[1]


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (32, 48, 48),
    spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.5),
    directions: Directions = "identity",
    classes: int = 1,
) -> Phantom:
    """Draw the phantom scan number `seed`.

    Anatomy, contrast and position depend on `seed` alone; they vary from seed to seed as patients do. Geometry only
    changes how it is sampled: `permuted` and `flipped` hold the very same voxels as `identity` in another order, and
    `oblique` samples the same anatomy on a rotated grid.

    Args:
        seed: case number, from 0.
        shape: grid as `identity` stores it, (z, y, x). The anatomy fills its field of view.
        spacing_mm: voxel size along those axes.
        directions: how the stored array lies in the patient.
        classes: number of foreground organs, 1 or 2. With 1, the second organ is background.

    Raises:
        UserError: unknown `directions`, `classes` not 1 or 2, or a side of `shape` below 8.
    """
    if directions not in get_args(Directions):
        raise UserError(f"directions is {directions!r}, expected one of {', '.join(get_args(Directions))}")
    if not 1 <= classes <= len(CLASS_NAMES):
        raise UserError(f"classes is {classes}, expected 1 to {len(CLASS_NAMES)}")
    if min(shape) < 8:
        raise UserError(f"shape is {shape}, expected at least 8 voxels a side")
    frame = _oblique_frame() if directions == "oblique" else np.eye(3)
    position_unit = _grid_positions(shape, spacing_mm, frame)
    anatomy_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    image, label = _draw(anatomy_rng, position_unit, classes)
    noise = noise_rng.uniform(0.04, 0.06) * noise_rng.normal(size=(2, *image.shape))
    image = np.hypot(image + noise[0], noise[1])  # Rician, as in magnitude images
    gain, offset = noise_rng.uniform(300, 900), noise_rng.uniform(0, 60)
    isocentre_mm = noise_rng.uniform(-40, 40, 3)
    spacing_xyz = np.asarray(spacing_mm[::-1])
    centre_index = (np.asarray(shape[::-1]) - 1) / 2
    stored = Phantom(
        image=(gain * image + offset).astype(np.float32),
        label=label,
        spacing_mm=spacing_mm,
        direction=frame,
        origin_mm=_triple(isocentre_mm - frame @ (centre_index * spacing_xyz)),
    )
    if directions == "permuted":
        return _transposed(stored, (2, 0, 1))
    if directions == "flipped":
        return _flipped(stored, (0, 2))
    return stored


def write_phantom_set(
    folder: Path,
    *,
    labelled: int = 8,
    unlabelled: int = 12,
    test: int = 6,
    shape: tuple[int, int, int] = (32, 48, 48),
    spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.5),
    directions: Directions = "identity",
    classes: int = 1,
    seed: int = 0,
) -> None:
    """Write a set of phantoms as `labelled/{images,labels}`, `unlabelled/images` and `test/{images,labels}`.

    Images are named `{case}_0000.nii.gz`, labels `{case}.nii.gz`. Every label is dense. All cases share one geometry;
    for the arguments see `make_phantom`.
    """
    number = seed * 10_000
    for part, count in (("labelled", labelled), ("unlabelled", unlabelled), ("test", test)):
        for index in range(count):
            phantom = make_phantom(number, shape=shape, spacing_mm=spacing_mm, directions=directions, classes=classes)
            image, label = phantom.to_sitk()
            case = f"phantom_{part}_{index:02d}"
            write_image(Path(folder) / part / "images" / f"{case}_0000.nii.gz", image)
            if part != "unlabelled":
                write_image(Path(folder) / part / "labels" / f"{case}.nii.gz", label)
            number += 1


# --- anatomy: shapes in unit coordinates, -1 to 1 across the field of view ----------------------------------------


@dataclass(frozen=True)
class _Ellipsoid:
    """Centre and radii in unit coordinates; `tilt_deg` turns it about x, then y, then z."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    tilt_deg: tuple[float, float, float] = (0, 0, 0)


# An asymmetric body with two lobes and two appendages, as an atrium with its veins.
_LOBED_ORGAN = (
    _Ellipsoid((0.02, 0.02, 0.02), (0.34, 0.26, 0.30)),
    _Ellipsoid((0.26, -0.08, 0.16), (0.20, 0.20, 0.22)),
    _Ellipsoid((-0.24, 0.10, -0.14), (0.22, 0.17, 0.20)),
    _Ellipsoid((0.44, 0.20, 0.20), (0.27, 0.09, 0.10), (0, 15, 35)),
    _Ellipsoid((-0.30, 0.12, 0.34), (0.10, 0.10, 0.28), (10, -35, 0)),
)
# A bent organ with a tail, in front of and below the lobed one; the two touch.
_BEAN_ORGAN = (
    _Ellipsoid((0.20, -0.42, -0.34), (0.26, 0.16, 0.20), (0, 0, 20)),
    _Ellipsoid((-0.06, -0.46, -0.20), (0.18, 0.14, 0.18)),
    _Ellipsoid((0.50, -0.30, -0.52), (0.22, 0.08, 0.10), (0, 35, 30)),
)
# Background structures as bright as the organs: brightness alone does not segment a phantom.
_VESSEL = (_Ellipsoid((-0.34, 0.52, 0.0), (0.12, 0.12, 1.6), (6, 4, 0)),)
_NEIGHBOUR = (
    _Ellipsoid((-0.52, -0.30, 0.20), (0.22, 0.26, 0.34), (0, 20, 0)),
    _Ellipsoid((-0.44, -0.40, -0.20), (0.16, 0.20, 0.24)),
)
_DARK_ORGANS = (
    _Ellipsoid((0.66, 0.36, -0.30), (0.24, 0.34, 0.50), (0, 10, 0)),
    _Ellipsoid((0.58, -0.42, 0.48), (0.26, 0.24, 0.34)),
    _Ellipsoid((-0.70, 0.20, -0.50), (0.18, 0.26, 0.40)),
)
_BODY = (_Ellipsoid((0, 0, 0), (0.96, 0.88, 2.0)),)

_JOIN = 0.04  # how far two parts of an organ melt into each other, unit lengths
_EDGE = 0.02  # half width of the blur at an outline, unit lengths: partial volume


def _draw(rng: np.random.Generator, position: Array, classes: int) -> tuple[Array, Array]:
    """Return image (float64, tissue about 0.4) and label on the points `position` [..., 3]."""
    pose = _rotation(rng.normal(0, 7, 3)) * rng.uniform(0.76, 0.92)
    shift = rng.normal(0, 0.05, 3)
    warped = position + _waves(rng, position, wavelength=(0.7, 1.6), amplitude=0.035, channels=3)
    local = (warped - shift) @ pose  # from the patient to the organs' own coordinates

    outside = _distance(rng, _BODY, position, jitter=0.03)
    lobed, bean, vessel, neighbour, dark = (
        _distance(rng, parts, local, jitter=jitter)
        for parts, jitter in (
            (_LOBED_ORGAN, 0.10),
            (_BEAN_ORGAN, 0.10),
            (_VESSEL, 0.12),
            (_NEIGHBOUR, 0.15),
            (_DARK_ORGANS, 0.15),
        )
    )
    bean = np.maximum(bean, -lobed)  # where they meet, the lobed organ is in front
    lobed, bean, neighbour, dark = (np.maximum(distance, outside + 0.05) for distance in (lobed, bean, neighbour, dark))

    image = np.full(position.shape[:-1], 0.40)
    for distance, brightness, spread in (
        (dark, 0.20, 0.03),
        (vessel, 0.66, 0.04),
        (neighbour, 0.56, 0.04),
        (bean, 0.54, 0.03),
        (lobed, 0.64, 0.03),
    ):
        texture = _waves(rng, position, wavelength=(0.10, 0.30), amplitude=0.035, channels=1)[..., 0]
        _paint(image, distance, brightness + rng.normal(0, spread) + texture)
    image += _waves(rng, position, wavelength=(0.08, 0.35), amplitude=0.03, channels=1)[..., 0]
    _paint(image, -outside, np.full_like(image, 0.03))
    bias = _waves(rng, position, wavelength=(2.5, 5.0), amplitude=0.20, channels=1)[..., 0]
    image *= np.exp(bias)

    label = np.zeros(image.shape, np.uint8)
    for value, distance in list(enumerate((lobed, bean), start=1))[:classes]:
        label[distance < 0] = value
    return image, label


def _distance(rng: np.random.Generator, parts: Sequence[_Ellipsoid], position: Array, *, jitter: float) -> Array:
    """Approximate signed distance, negative inside, to the smooth union of jittered ellipsoids."""
    total = np.zeros(position.shape[:-1])
    for part in parts:
        centre = np.asarray(part.centre) + rng.normal(0, jitter * 0.25, 3)
        radii = np.asarray(part.radii) * np.exp(rng.normal(0, jitter, 3))
        turn = _rotation(np.asarray(part.tilt_deg) + rng.normal(0, 60 * jitter, 3))
        scaled = ((position - centre) @ turn) / radii
        distance = (np.sqrt((scaled * scaled).sum(-1)) - 1) * radii.min()
        total += np.exp(np.clip(-distance / _JOIN, -60, 60))
    return -_JOIN * np.log(total)


def _paint(image: Array, distance: Array, value: Array) -> None:
    """Blend `value` over `image` where `distance` is negative, with a soft edge."""
    inside = 1 / (1 + np.exp(np.clip(distance / (0.5 * _EDGE), -60, 60)))
    image += inside * (value - image)


def _waves(
    rng: np.random.Generator, position: Array, *, wavelength: tuple[float, float], amplitude: float, channels: int
) -> Array:
    """A smooth random field [..., channels] of standard deviation `amplitude`: a sum of plane waves."""
    count = 12
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    waves = direction * (2 * np.pi / rng.uniform(*wavelength, (count, 1)))
    phase = position @ waves.T + rng.uniform(0, 2 * np.pi, count)
    mixing = rng.normal(0, amplitude * np.sqrt(2 / count), (count, channels))
    return np.asarray(np.cos(phase) @ mixing)


# --- geometry -----------------------------------------------------------------------------------------------------


def _grid_positions(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], frame: Array) -> Array:
    """Positions [z, y, x, 3] of the voxels of a grid turned by `frame`, in units of half the field of view."""
    half_mm = np.asarray(shape) * np.asarray(spacing_mm) / 2
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray((np.stack((x, y, z), axis=-1) @ frame.T) / half_mm[::-1])


def _rotation(angles_deg: Any) -> Array:
    """Rotation matrix about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(angles_deg)), np.sin(np.radians(angles_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _oblique_frame() -> Array:
    """A grid turned by up to 17 degrees about each axis: every view is still nearest to its own array axis."""
    return _rotation(np.array([14.0, -11.0, 17.0]))


def _transposed(phantom: Phantom, axes: tuple[int, int, int]) -> Phantom:
    """The same voxels, array axes in another order."""
    index_axes = [2 - axis for axis in axes[::-1]]  # ITK counts axes the other way round
    return Phantom(
        image=np.ascontiguousarray(phantom.image.transpose(axes)),
        label=np.ascontiguousarray(phantom.label.transpose(axes)),
        spacing_mm=_triple([phantom.spacing_mm[axis] for axis in axes]),
        direction=phantom.direction[:, index_axes],
        origin_mm=phantom.origin_mm,
    )


def _flipped(phantom: Phantom, axes: tuple[int, ...]) -> Phantom:
    """The same voxels, some array axes in the opposite order."""
    direction = phantom.direction.copy()
    origin = np.asarray(phantom.origin_mm)
    for axis in axes:
        length_mm = (phantom.image.shape[axis] - 1) * phantom.spacing_mm[axis]
        origin = origin + length_mm * phantom.direction[:, 2 - axis]
        direction[:, 2 - axis] *= -1
    return Phantom(
        image=np.ascontiguousarray(np.flip(phantom.image, axes)),
        label=np.ascontiguousarray(np.flip(phantom.label, axes)),
        spacing_mm=phantom.spacing_mm,
        direction=direction,
        origin_mm=_triple(origin),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    a, b, c = (float(value) for value in values)
    return a, b, c
