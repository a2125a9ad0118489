"""Tests of finding files that ITK would misread in silence; each is one that a run over damaged files found."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.slicer import read_segmentation
from sparse_annotation_tools.files.volumes import read_volume

Spoil = Callable[[bytes], bytes]
QFORM_CODE, SFORM_CODE, QFORM_B = 252, 254, 256


@pytest.fixture
def image() -> sitk.Image:
    """A scan on an oblique grid."""
    made = sitk.GetImageFromArray(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
    made.SetSpacing((1.5, 2.0, 3.0))
    cosine, sine = np.cos(0.2), np.sin(0.2)
    made.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    made.SetOrigin((-7.25, 3.0, 11.0))
    return made


def put(kind: str, offset: int, *numbers: float) -> Spoil:
    """Return what writes numbers into a header."""

    def spoil(content: bytes) -> bytes:
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        return content[:offset] + packed + content[offset + len(packed) :]

    return spoil


def swap(old: bytes, new: bytes) -> Spoil:
    """Return what replaces a piece of text."""

    def spoil(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return spoil


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_whole_file_is_read(image: sitk.Image, tmp_path: Path, suffix: str, compress: bool) -> None:
    """Voxels and grid, packed or not."""
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image, str(path), compress)
    read = read_volume(path)
    assert np.array_equal(read.array, sitk.GetArrayFromImage(image))
    assert np.allclose(read.geometry.direction, image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "spoil", "message"),
    [
        (".nii", put("B", 344, 0), "magic number"),
        (".nii", put("f", 108, 348.0), "begin at byte 348"),
        (".nii", put("f", 108, 0.0), "begin at byte 0"),
        (".nii", put("f", 112, 1e-30), "multiplied by 1e-30"),
        (".nii", put("f", 116, float("nan")), "plus nan"),
        (".nii", put("h", 46, 0), "cannot be read as a volume .*0"),
        (".nii", put("h", 70, 16), "16 bits and type 16"),
        (".nii", put("i", 0, 7), "no NIfTI file"),
        (".nii", lambda content: put("h", QFORM_CODE, 0)(put("f", 80, 9.0)(content)), "sheared grid"),
        (".nii", lambda content: put("h", SFORM_CODE, 0)(put("f", QFORM_B, 5.0)(content)), "cannot be understood"),
        (".nii", put("f", 80, 3e38, 3e38, 3e38), "expected 1e-06 to 1e\\+06"),
        (".nrrd", swap(b"(-7.25,", b"(-7\xb125,"), "expected numbers"),
        (".nrrd", swap(b"(-7.25,", b"(-7.25" + b"9" * 400 + b","), "expected numbers"),
        (".nrrd", swap(b"(-7.25,", b"(-7.2.5,"), "expected numbers"),
        (".nrrd", swap(b"encoding: raw", b"encoding: raw\n" + b"9" * 5000), "which says nothing"),
        (".nrrd", swap(b"encoding: raw", b"9" * 5000 + b"encoding: raw"), "which says nothing"),  # this one, too
        (".nrrd", swap(b"encoding: raw", b"encoding: gzip"), "are to be packed and are not"),
        *[  # a complaint about any of these words ends the process
            (".nrrd", swap(old, b"9" * 5000), r"50\d\d characters in field")
            for old in (b" short", b" left-posterior-superior", b" domain domain domain", b" little", b" raw", b"7.25")
        ],
        (".nrrd", swap(b"sizes: 6", b"sizes: 6e999"), "expected whole numbers"),
        (".nrrd", swap(b"space directions: ", b"# "), "how large its voxels are"),
        (".nii", put("h", QFORM_CODE, 16, 7), r"codes \(16, 7\), expected 0 to 5"),
        (".mha", swap(b"TransformMatrix = ", b"Transform "), "which says nothing"),  # takes Offset with it
        (".mha", swap(b"TransformMatrix =", b"TransformMatrix\n ="), "which says nothing"),
        (".mha", swap(b"NDims", b"Name = " + b"a" * 300 + b"\nNDims"), "300 characters in field Name"),  # ends it, too
        (".mha", swap(b"CompressedData =", b"CompressedData\0 ="), "which says nothing"),
        (".mha", swap(b"CompressedData = False", b"CompressedDataSize = 9"), "not that they are packed"),
        (
            ".mha",
            swap(b"DimSize = 6 5 4", b"DimSize = 6 5 3"),
            "holds 240 bytes of voxels, and its header promises 180",
        ),
        (".mha", swap(b"Offset = ", b"Offset = 1\nOldOffset = "), "expected 3 numbers"),
        (".mha", swap(b"ByteOrderMSB = False", b"ByteOrderMSB = true"), "expected True or False"),
        (".mha", swap(b"Offset = ", b"Offset = 1 2\nOffset = "), "says twice"),
        (".mha", swap(b"CompressedData = False", b"CompressedData = True\x80"), "expected True or False"),
        (".mha", swap(b"CompressedData = False", b"CompressedData = True"), "cannot be unpacked"),
    ],
)
def test_what_would_be_misread_is_refused(
    image: sitk.Image, tmp_path: Path, suffix: str, spoil: Spoil, message: str
) -> None:
    """One line that says what is wrong and what to do."""
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image, str(path), False)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        read_volume(path)
    if suffix == ".nrrd":
        with pytest.raises(UserError, match=message):
            read_segmentation(path, read_volume(_whole(image, tmp_path)).geometry, {})


def test_packed_voxels_that_are_damaged_are_refused(image: sitk.Image, tmp_path: Path) -> None:
    """ITK takes what it can unpack, and memory for the rest."""
    path = tmp_path / "scan.mha"
    sitk.WriteImage(image, str(path), True)
    whole = path.read_bytes()
    path.write_bytes(re.sub(rb"CompressedDataSize = \d+\n", b"", whole))
    with pytest.raises(UserError, match=r"cannot be unpacked .*CompressedDataSize"):
        read_volume(path)
    content = bytearray(whole)
    content[-2] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_volume(path)
    with pytest.raises(zlib.error):
        zlib.decompress(content[content.index(b"LOCAL\n") + 6 :])


def test_the_checksum_of_packed_nrrd_voxels_is_looked_at(image: sitk.Image, tmp_path: Path) -> None:
    """ITK does not where the header promises fewer voxels than there are."""
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image, str(path), True)
    content = bytearray(swap(b"sizes: 6 5 4", b"sizes: 6 5 2")(path.read_bytes()))
    content[-6] ^= 1
    path.write_bytes(content)
    assert sitk.ReadImage(str(path)).GetSize() == (6, 5, 2)
    with pytest.raises(UserError, match=r"cannot be unpacked .*CRC"):
        read_volume(path)


def test_a_header_that_ends_too_early_is_refused(image: sitk.Image, tmp_path: Path) -> None:
    """Behind an empty line its last fields are voxels to ITK."""
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image, str(path), False)
    path.write_bytes(swap(b"\nspace origin", b"\n\nspace origin")(path.read_bytes()))
    with pytest.raises(UserError, match="bytes of voxels, and its header promises 240"):
        read_volume(path)


def test_long_texts_that_people_write_are_no_reason_to_refuse(image: sitk.Image, tmp_path: Path) -> None:
    """What the scan is, and fields that a program adds, such as Slicer's of its segments."""
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image, str(path), False)
    path.write_bytes(
        swap(b"endian", b"content: " + b"a " * 3000 + b"\nSegment0_Tags:=" + b"b" * 3000 + b"\nendian")(
            path.read_bytes()
        )
    )
    assert read_volume(path).array.max() == 119


def test_a_file_beside_it_whose_voxels_itk_would_read_instead_is_named(image: sitk.Image, tmp_path: Path) -> None:
    """Of c.nii.gz ITK reads the header, and the voxels of c.nii."""
    sitk.WriteImage(image, str(tmp_path / "c.nii"))
    packed = tmp_path / "c.nii.gz"
    packed.write_bytes(gzip.compress((tmp_path / "c.nii").read_bytes()))
    with pytest.raises(UserError, match=r"c\.nii lies beside .*move one"):
        read_volume(packed)
    assert read_volume(tmp_path / "c.nii").array.max() == 119


@pytest.mark.parametrize(("unit", "millimetres"), [(1, 1500.0), (2, 1.5), (3, 0.0015)])
def test_grids_in_other_units_are_in_millimetres(
    image: sitk.Image, tmp_path: Path, unit: int, millimetres: float
) -> None:
    """Metres and micrometres are no contradiction."""
    path = tmp_path / "scan.nii"
    sitk.WriteImage(image, str(path))
    path.write_bytes(put("B", 123, unit)(path.read_bytes()))
    assert read_volume(path).geometry.spacing[0] == pytest.approx(millimetres)


def _whole(image: sitk.Image, folder: Path) -> Path:
    path = folder / "whole.nii"
    sitk.WriteImage(image, str(path))
    return path
