"""Find NIfTI files that were cut off: ITK reads what is missing as zeros, without an error."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

from sparse_annotation_tools.errors import UserError

_BLOCK = 1 << 20


def check_not_truncated(path: Path) -> None:
    """Compare the bytes of a `.nii` or `.nii.gz` file with what its header promises; other formats tell by themselves.

    Raises:
        UserError: bytes are missing.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            promised, found = _promised_and_found(file)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error):
        raise UserError(f"{path} is cut off or no NIfTI file; copy or download it again") from None
    if found < promised:
        raise UserError(f"{path} is cut off: it holds {found} of {promised} bytes; copy or download it again")


def _promised_and_found(file: IO[bytes]) -> tuple[int, int]:
    header = file.read(_BLOCK)
    promised = _bytes_promised(header)
    found = len(header)
    while block := file.read(_BLOCK):
        found += len(block)
    return promised, found


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
