"""NIfTI files that were cut off."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.truncation import check_not_truncated


def _write(path: Path, dtype: str = "int16") -> Path:
    array = np.random.default_rng(0).integers(0, 100, (11, 12, 13)).astype(dtype)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    return path


def _nifti2(order: str) -> bytes:
    header = bytearray(544)
    struct.pack_into(f"{order}i", header, 0, 540)
    struct.pack_into(f"{order}2h", header, 12, 4, 16)
    struct.pack_into(f"{order}8q", header, 16, 3, 4, 5, 6, 1, 1, 1, 1)
    struct.pack_into(f"{order}4d", header, 104, 1, 1, 1, 1)
    struct.pack_into(f"{order}q", header, 168, 544)
    return bytes(header) + bytes(4 * 5 * 6 * 2)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_whole_files_pass(tmp_path: Path, name: str, dtype: str) -> None:
    """Nothing is missing, whatever the voxel type; other formats are left to their reader."""
    check_not_truncated(_write(tmp_path / name, dtype))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_files_that_were_cut_are_named(tmp_path: Path, name: str, share: float) -> None:
    """Wherever the cut lies, in the header, the voxels or the last bytes, the file is named."""
    path = _write(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=f"{name} is {'cut off' if share else 'empty'}"):
        check_not_truncated(path)


def test_a_cut_file_that_was_compressed_afterwards_is_named(tmp_path: Path) -> None:
    """The gzip stream is whole, the volume in it is not."""
    plain = _write(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain[:-1]))
    with pytest.raises(UserError, match=f"holds {len(plain) - 1} of {len(plain)} bytes"):
        check_not_truncated(path)


def test_several_gzip_members_make_one_file(tmp_path: Path) -> None:
    """Block compressors write many members; their sum counts."""
    plain = _write(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]))
    check_not_truncated(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_of_either_byte_order_is_understood(tmp_path: Path, order: str) -> None:
    """The longer header has its numbers elsewhere."""
    path = tmp_path / "a.nii"
    path.write_bytes(_nifti2(order))
    check_not_truncated(path)
    path.write_bytes(_nifti2(order)[:-1])
    with pytest.raises(UserError, match="is cut off"):
        check_not_truncated(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("offset", "number"), [(112, 0.0), (104 + 24, float("nan")), (352, float("inf"))])
def test_a_header_without_a_grid_is_refused(tmp_path: Path, order: str, offset: int, number: float) -> None:
    """Of voxels of 0 or NaN mm ITK makes 1 mm."""
    header = bytearray(_nifti2(order))
    struct.pack_into(f"{order}d", header, offset, number)
    path = tmp_path / "a.nii"
    path.write_bytes(header)
    with pytest.raises(UserError, match="voxels of 0 or NaN mm, or NaN in its position"):
        check_not_truncated(path)
