"""Ways to spoil a volume on disk, each in place."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

Spoiler = Callable[[Path], None]


def read(path: Path) -> sitk.Image:
    """Read a volume."""
    return sitk.ReadImage(str(path))


def write(path: Path, array: Any, like: sitk.Image | None = None, **kind: Any) -> None:
    """Write an array (z, y, x), on the grid of an image where given."""
    image = sitk.GetImageFromArray(array, **kind)
    if like is not None and image.GetDimension() == like.GetDimension():
        image.CopyInformation(like)
    sitk.WriteImage(image, str(path), path.name.endswith("gz"))


def change(edit: Callable[[Any], Any], **kind: Any) -> Spoiler:
    """Return a spoiler that replaces the array (z, y, x), on the same grid where the shape stays."""

    def spoil(path: Path) -> None:
        image = read(path)
        before = sitk.GetArrayFromImage(image)
        after = edit(before)
        write(path, after, image if after.shape == before.shape else None, **kind)

    return spoil


def regrid(edit: Callable[[sitk.Image], None]) -> Spoiler:
    """Return a spoiler that changes the grid and leaves the voxels."""

    def spoil(path: Path) -> None:
        image = read(path)
        edit(image)
        sitk.WriteImage(image, str(path), True)

    return spoil


def voxel(value: float, kind: Any = np.float32) -> Spoiler:
    """Return a spoiler that puts a value into one voxel."""

    def edit(array: Any) -> Any:
        array = array.astype(kind)
        array[2, 3, 4] = value
        return array

    return change(edit)


def as_suffix(suffix: str, then: Spoiler = lambda path: None) -> Spoiler:
    """Return a spoiler that stores the volume in another format first."""

    def spoil(path: Path) -> None:
        other = path.with_name(path.name.removesuffix(".nii.gz") + suffix)
        sitk.WriteImage(read(path), str(other))
        path.unlink()
        then(other)

    return spoil


def header(offset: int, kind: str, *values: float) -> Spoiler:
    """Return a spoiler that overwrites a part of a NIfTI-1 header."""

    def spoil(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(f"<{kind}", content, offset, *values)
        path.write_bytes(gzip.compress(bytes(content), mtime=0))

    return spoil


def text_header(name: str, value: str) -> Spoiler:
    """Return a spoiler that replaces a field in the text header of a .nrrd or .mha file."""

    def spoil(path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        found = [number for number, line in enumerate(lines[:200]) if line.startswith(name.encode())]
        separator = b" = " if b" = " in lines[found[0]] else b": "
        lines[found[0]] = name.encode() + separator + value.encode()
        path.write_bytes(b"\n".join(lines))

    return spoil


def empty(path: Path) -> None:
    """No byte."""
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """The first half of the bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def page(path: Path) -> None:
    """What a failed download leaves."""
    path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n", encoding="utf-8")


def packed_text(path: Path) -> None:
    """A gzip file of something else."""
    path.write_bytes(gzip.compress(b"patient,age\n1,60\n" * 100, mtime=0))


def folder(path: Path) -> None:
    """A folder of this name."""
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    """A link to nothing."""
    path.unlink()
    path.symlink_to(path.parent / "gone" / path.name)


def turned(image: sitk.Image) -> None:
    """Turn the first two axes of the grid."""
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))


def flat(path: Path) -> None:
    """Two dimensions."""
    array = sitk.GetArrayFromImage(read(path))
    sitk.WriteImage(sitk.GetImageFromArray(array[3]), str(path))


def four_d(path: Path) -> None:
    """Four dimensions."""
    array = sitk.GetArrayFromImage(read(path))
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([array, array]), isVector=False), str(path))


colour = change(lambda array: np.stack([array] * 3, axis=-1).astype(np.uint8), isVector=True)
cplx = change(lambda array: array.astype(np.complex64))
thin = change(lambda array: array[:1])
constant = change(lambda array: np.full_like(array, 7))
