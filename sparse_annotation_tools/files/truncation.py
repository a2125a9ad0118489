"""Find files that were cut off, or whose headers promise more than there is, before memory is taken for their voxels.

Of NIfTI files ITK reads what is missing as zeros, without an error.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO

from sparse_annotation_tools.errors import UserError

_BLOCK = 1 << 20
_LARGEST_HEADER = 1 << 16
_LARGEST_COMPRESSION = 1032  # of deflate, which .nrrd and .mha use: 258 bytes from 2 bits
_VOXEL_TYPES = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304}  # of the NIfTI standard
_SKIP = re.compile(rb"^(byte skip|line skip|HeaderSize)", re.MULTILINE)  # what lies between header and voxels
_MEND = "copy or download it again"


def check_not_truncated(path: Path) -> None:
    """Compare the bytes of a `.nii` or `.nii.gz` file with what its header promises; of other files, see they hold any.

    Raises:
        UserError: bytes are missing, or a NIfTI header names no voxel type, or no voxel size, of which ITK makes 1 mm.
    """
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes), expected a volume; {_MEND}")
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            header = file.read(_BLOCK)
            promised, found = _bytes_promised(header), len(header) + _count_bytes(file)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error, ValueError, OverflowError):
        raise UserError(f"{path} is cut off or no NIfTI file; {_MEND}") from None
    if found < promised:
        raise UserError(f"{path} is cut off: it holds {found} of {promised} bytes; {_MEND}")
    if not _has_voxel_type(header):
        raise UserError(f"{path} holds voxels of an unknown type by its header; {_MEND}")
    if not _has_grid(header):
        raise UserError(f"{path} has voxels of 0 or NaN mm, or NaN in its position, by its header; export it again")


def check_voxels_fit(path: Path, promised: int) -> None:
    """Compare the bytes of a `.nrrd` or `.mha` file with the bytes of voxels that its header promises.

    Raises:
        UserError: the file cannot hold as many, even if they are compressed; or it holds more, so that what is read
            begins or ends elsewhere.
    """
    if not path.name.endswith((".nrrd", ".mha")):
        return
    with path.open("rb") as file:
        start = file.read(_LARGEST_HEADER)
    header, raw = _text_header(start)
    found = path.stat().st_size - len(header)
    if promised > found * (1 if raw else _LARGEST_COMPRESSION):
        raise UserError(
            f"{path} is cut off: its header promises {promised} bytes of voxels, and {found} bytes follow; {_MEND}, "
            "or store header and voxels in one file"
        )
    if raw and promised < found and not _SKIP.search(header):
        raise UserError(
            f"{path} holds {found} bytes of voxels, and its header promises {promised}; {_MEND}, or export it anew"
        )


def _text_header(start: bytes) -> tuple[bytes, bool]:
    """Return the header at the start of a `.nrrd` or `.mha` file, and whether plain voxels follow it."""
    if start.startswith(b"NRRD"):
        blank = re.search(rb"\n\r?\n", start)
        header = start[: blank.end()] if blank else start
        return header, re.search(rb"^encoding: *raw", header, re.MULTILINE) is not None
    end = re.search(rb"^ElementDataFile.*\n", start, re.MULTILINE)
    header = start[: end.end()] if end else b""
    packed_or_text = rb"^(CompressedData *= *True|BinaryData *= *False)"
    return header, re.search(packed_or_text, header, re.MULTILINE | re.IGNORECASE) is None


def _count_bytes(file: IO[bytes]) -> int:
    count = 0
    while block := file.read(_BLOCK):
        count += len(block)
    return count


def _bytes_promised(header: bytes) -> int:
    """Offset of the voxels plus their size, from a NIfTI-1 (348 bytes) or NIfTI-2 (540 bytes) header."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0]
        if size == 348:
            rank, *lengths = struct.unpack_from(f"{order}8h", header, 40)
            bits, offset = struct.unpack_from(f"{order}h34xf", header, 72)
        elif size == 540:
            rank, *lengths = struct.unpack_from(f"{order}8q", header, 16)
            bits, offset = (
                struct.unpack_from(f"{order}h", header, 14)[0],
                struct.unpack_from(f"{order}q", header, 168)[0],
            )
        else:
            continue
        voxels = math.prod(max(1, length) for length in lengths[:rank])
        return int(offset + voxels * bits // 8)
    return 0  # Analyze or something else: nothing is known


def _has_voxel_type(header: bytes) -> bool:
    """Whether a NIfTI header names a voxel type that the standard has."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0]
        if size in (348, 540):
            return struct.unpack_from(f"{order}h", header, 70 if size == 348 else 12)[0] in _VOXEL_TYPES
    return True


def _has_grid(header: bytes) -> bool:
    """Whether a NIfTI header's voxel sizes and positions are numbers, and the sizes not 0."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0]
        if size == 348:
            _, *spacing_mm = struct.unpack_from(f"{order}4f", header, 76)
            position = struct.unpack_from(f"{order}18f", header, 256)
        elif size == 540:
            _, *spacing_mm = struct.unpack_from(f"{order}4d", header, 104)
            position = struct.unpack_from(f"{order}18d", header, 352)
        else:
            continue
        return all(spacing_mm) and all(math.isfinite(number) for number in (*spacing_mm, *position))
    return True
