"""Volumes as arrays with the grid they live on: read, check, write.

Arrays are (z, y, x) as SimpleITK and nnU-Net's SimpleITK reader return them; the geometry keeps SimpleITK's (x, y, z).
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.files.truncation import check_not_truncated, check_voxels_fit
from sparse_annotation_tools.files.volume_format import check_format, check_grid

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
SEGMENTATION_SUFFIX = ".seg.nrrd"  # 3D Slicer's, read by `slicer.read_segmentation`
FILE_ENDING = ".nii.gz"

_ORIGIN_TOLERANCE_VOXEL = 0.1  # labelling tools round origins; a tenth of a voxel moves no label
_RELATIVE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The grid of a volume, everything in SimpleITK's (x, y, z) order.

    Attributes:
        size: voxels.
        spacing: mm.
        origin: mm, in SimpleITK's LPS frame.
        direction: row-major 3x3; column j is where index axis j points.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x)."""
        x, y, z = self.size
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing in array order (z, y, x)."""
        x, y, z = self.spacing
        return z, y, x

    def difference(self, other: Geometry) -> str | None:
        """Say in words how `other` is another grid; None if it is the same within rounding."""
        if self.size != other.size:
            return f"size {_text(self.size)} against {_text(other.size)}"
        if not np.allclose(self.spacing, other.spacing, rtol=_RELATIVE_TOLERANCE, atol=0):
            return f"spacing {_text(self.spacing)} against {_text(other.spacing)} mm"
        if not np.allclose(self.direction, other.direction, rtol=0, atol=_RELATIVE_TOLERANCE):
            return f"direction {_text(self.direction)} against {_text(other.direction)}"
        shift_mm = float(np.abs(np.subtract(self.origin, other.origin)).max())
        if shift_mm > _ORIGIN_TOLERANCE_VOXEL * min(self.spacing):
            return f"origin {_text(self.origin)} against {_text(other.origin)} mm"
        return None


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An array (z, y, x) and its grid."""

    array: NDArray[Any]
    geometry: Geometry


def read_volume(path: Path) -> Volume:
    """Read a 3-D volume with one finite number per voxel, in its own pixel type.

    The header is checked before memory is taken for voxels. ITK turns NaN and infinity in NIfTI files into 0, here as
    in nnU-Net; in other formats they are refused.

    Raises:
        UserError: the file is missing, cut off or unreadable, is not 3-D, has several components, lies on no grid, or
            holds NaN or infinity.
    """
    check_is_file(path)
    check_not_truncated(path)
    check_format(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _unreadable_is_refused(path):
        reader.ReadImageInformation()
    _check_header(path, reader)
    with _unreadable_is_refused(path):
        image = reader.Execute()
    check_grid(path, _geometry(image))
    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(_not_finite_message(path, int((~np.isfinite(array)).sum())))
    return Volume(array=array, geometry=_geometry(image))


def check_is_file(path: Path) -> None:
    """Refuse the path of a volume that leads to no file.

    Raises:
        UserError: it is a folder, or nothing, or a link to nothing.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}; expected a volume ({', '.join(SUFFIXES)})")


def check_thickness(path: Path, geometry: Geometry) -> None:
    """Refuse a volume of a single slice.

    Raises:
        UserError: see above.
    """
    if min(geometry.size) < 2:
        size = "x".join(str(side) for side in geometry.size)
        raise UserError(f"{path} has {size} voxels, expected a volume of at least 2x2x2; give a scan of several slices")


def read_label(path: Path) -> Volume:
    """Read a label map as whole numbers; files of floating-point type are fine as long as their values are whole.

    Raises:
        UserError: as `read_volume`, or the values are not whole, finite numbers.
    """
    volume = read_volume(path)
    if volume.array.dtype.kind != "f":
        return volume
    if bad := count_not_finite(path):  # ITK made background of them
        raise UserError(_not_finite_message(path, bad))
    whole = np.rint(volume.array)
    if not np.array_equal(whole, volume.array):
        raise UserError(f"{path} holds values that are not whole numbers, expected a label map")
    return Volume(array=whole.astype(np.int64), geometry=volume.geometry)


def read_label_of_scan(path: Path, geometry: Geometry, remedy: str) -> NDArray[np.integer[Any]]:
    """Read the array (z, y, x) of a label map that lies on the grid of a scan.

    Raises:
        UserError: as `read_label`, or it lies on another grid; `remedy` ends the message.
    """
    label = read_label(path)
    difference = geometry.difference(label.geometry)
    if difference:
        raise UserError(f"{path} is not on the grid of its scan: {difference}; {remedy}")
    array: NDArray[np.integer[Any]] = label.array
    return array


def count_not_finite(path: Path) -> int:
    """Count the voxels of a NIfTI file that are NaN or infinite, which ITK turns into 0 when it reads."""
    import nibabel

    if not path.name.endswith((".nii", ".nii.gz")):
        return 0
    image: Any = nibabel.load(path)
    stored = image.dataobj
    if stored.dtype.kind != "f":
        return 0
    return int((~np.isfinite(stored.get_unscaled())).sum())


def write_label(path: Path, array: NDArray[Any], geometry: Geometry) -> None:
    """Write a label array (z, y, x) of values 0..255 as uint8 on the given grid, atomically and reproducibly."""
    image = sitk.GetImageFromArray(array.astype(np.uint8, copy=False))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    write_image(path, image)


def write_image(path: Path, image: sitk.Image) -> None:
    """Write an image as .nii.gz, atomically and whole.

    Raises:
        OSError: the disk took only a part of it. ITK says nothing of that and leaves a file that is cut off.
    """
    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), True)
            check_not_truncated(temporary)
        except (RuntimeError, UserError):
            raise OSError(errno.EIO, "cannot be written as a whole (is the disk full?)", str(path)) from None


def store_image(source: Path, target: Path) -> None:
    """Store an image as `target` (.nii.gz) with unchanged voxels and grid: the very bytes where the format allows."""
    if not source.name.endswith((".nii.gz", ".nii")):
        write_image(target, sitk.ReadImage(str(source)))
        return
    with atomic_path(target) as temporary:
        if source.name.endswith(".nii.gz"):
            shutil.copyfile(source, temporary)
        else:
            # No name and no time in the header: the same input gives the same bytes.
            with source.open("rb") as plain, temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as packed:
                shutil.copyfileobj(plain, packed)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def stem_of(path: Path) -> str | None:
    """Return a volume's or segmentation's file name without its suffix, or None if it is no such file.

    Raises:
        UserError: the suffix is in upper case, which nnU-Net and ITK would not know.
    """
    for suffix in (SEGMENTATION_SUFFIX, *SUFFIXES):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
        if path.name.lower().endswith(suffix):
            raise UserError(f"{path} ends in {path.name[-len(suffix) :]}, expected {suffix}; rename it")
    return None


@contextlib.contextmanager
def _unreadable_is_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        lines = str(error).replace(str(path), path.name).strip().splitlines()
        reason = re.sub(r"^(ITK ERROR: |sitk::ERROR: )?(\w+ ?\(0x[0-9a-f]+\): )?", "", lines[-1].strip())
        raise UserError(
            f"{path} cannot be read as a volume ({reason}); copy or download it again, or convert it to {FILE_ENDING}"
        ) from None


def _check_header(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse what is no 3-D volume of numbers on a grid, from the header alone."""
    dimensions, components, kind = reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetPixelID()
    if dimensions != 3:
        raise UserError(
            f"{path} has {dimensions} dimensions, expected 3; "
            "store each channel of a 4-D file as its own {case}_0000, {case}_0001, ..."
        )
    if kind in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise UserError(f"{path} holds complex numbers, expected one real number per voxel; store their magnitude")
    if components != 1:
        raise UserError(f"{path} has {components} values per voxel, expected 1; convert colours to one grey value")
    numbers = (*reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection())
    if not np.isfinite(numbers).all() or min(reader.GetSpacing()) <= 0:
        raise UserError(
            f"{path} has a header with spacing {_text(reader.GetSpacing())} mm, origin {_text(reader.GetOrigin())} and "
            f"direction {_text(reader.GetDirection())}, expected finite numbers and voxels of more than 0 mm; "
            "export it again"
        )
    check_voxels_fit(path, math.prod(reader.GetSize()) * sitk.Image([1, 1, 1], kind).GetSizeOfPixelComponent())


def _not_finite_message(path: Path, count: int) -> str:
    return f"{path} holds {count} voxels that are NaN or infinite; replace them by a finite value first"


def _geometry(image: sitk.Image) -> Geometry:
    return Geometry(
        size=image.GetSize(), spacing=image.GetSpacing(), origin=image.GetOrigin(), direction=image.GetDirection()
    )


def _text(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
