"""Tests of reading and writing volumes."""

from __future__ import annotations

import gzip
import resource
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import Geometry, read_label, read_volume, store_image, write_label

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
GRID = {"spacing": (0.5, 0.75, 3.0), "origin": (-10.0, 20.0, 5.0), "direction": (0, 0, 1, -1, 0, 0, 0, -1, 0)}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_images_are_stored_with_their_voxels_and_grid_untouched(
    tmp_path: Path, write_volume: Callable[..., Path], suffix: str
) -> None:
    """In every format; where the format is right already, the very bytes."""
    source, target = write_volume(tmp_path / f"in{suffix}", ARRAY, **GRID), tmp_path / "out.nii.gz"
    store_image(source, target)
    before, after = sitk.ReadImage(str(source)), sitk.ReadImage(str(target))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), ARRAY)
    assert after.GetPixelID() == before.GetPixelID()
    assert read_volume(source).geometry.difference(read_volume(target).geometry) is None
    if suffix == ".nii.gz":
        assert target.read_bytes() == source.read_bytes()
    if suffix == ".nii":
        assert gzip.decompress(target.read_bytes()) == source.read_bytes()


@pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
def test_a_stored_image_has_the_same_bytes_every_time(
    tmp_path: Path, write_volume: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """No time stamp and no file name goes into the file."""
    source = write_volume(tmp_path / f"in{suffix}", ARRAY, **GRID)
    store_image(source, tmp_path / "one.nii.gz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    store_image(source, tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_a_label_comes_back_on_its_grid(tmp_path: Path, write_volume: Callable[..., Path]) -> None:
    """Values, spacing, origin and direction; stored in one byte a voxel."""
    geometry = read_volume(write_volume(tmp_path / "image.nii.gz", ARRAY, **GRID)).geometry
    write_label(tmp_path / "label.nii.gz", ARRAY % 3, geometry)
    label = read_label(tmp_path / "label.nii.gz")
    np.testing.assert_array_equal(label.array, ARRAY % 3)
    assert label.array.dtype == np.uint8
    assert label.geometry.difference(geometry) is None
    assert geometry.shape == (4, 5, 6)
    assert geometry.spacing_mm == (3.0, 0.75, 0.5)


def test_whole_numbers_in_a_floating_point_label_are_fine_and_others_are_not(
    tmp_path: Path, write_volume: Callable[..., Path]
) -> None:
    """Many tools save label maps as float."""
    whole = write_volume(tmp_path / "whole.nii.gz", (ARRAY % 3).astype(np.float32))
    assert read_label(whole).array.dtype.kind == "i"
    half = write_volume(tmp_path / "half.nii.gz", (ARRAY % 3 + 0.5).astype(np.float32))
    with pytest.raises(UserError, match="not whole numbers"):
        read_label(half)


def unreadable(path: Path) -> None:
    """Write a file that is no volume."""
    path.write_bytes(b"this is no volume")


def four_dimensional(path: Path) -> None:
    """Write a time series."""
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(ARRAY)] * 2), str(path))


def coloured(path: Path) -> None:
    """Write an RGB volume."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(path))


def with_nan(path: Path) -> None:
    """Write a volume with two voxels that are no number."""
    array = np.ones((4, 5, 6), np.float32)
    array[0, 0, :2] = np.nan, np.inf
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.mark.parametrize(
    ("write", "suffix", "message"),
    [
        (lambda path: None, ".nii.gz", "does not exist"),
        (unreadable, ".nii.gz", "is cut off or no NIfTI file"),
        (unreadable, ".mha", "cannot be read as a volume"),
        (four_dimensional, ".nii.gz", "has 4 dimensions, expected 3"),
        (coloured, ".nrrd", "3 values per voxel"),
        (with_nan, ".nrrd", "2 voxels that are NaN or infinite"),
    ],
)
def test_what_is_no_plain_volume_is_refused_in_one_line(
    tmp_path: Path, write: Callable[[Path], Any], suffix: str, message: str
) -> None:
    """The error names the file and what was expected."""
    path = tmp_path / f"scan{suffix}"
    write(path)
    with pytest.raises(UserError, match=message) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_grids_differ_in_words(tmp_path: Path, write_volume: Callable[..., Path]) -> None:
    """Rounding is no difference; everything else is named."""
    grid = read_volume(write_volume(tmp_path / "image.nii.gz", ARRAY, **GRID)).geometry
    assert grid.difference(replace(grid, origin=(-10.001, 20.0, 5.0))) is None
    assert grid.difference(replace(grid, spacing=(0.50001, 0.75, 3.0))) is None
    assert "size (6, 5, 4) against (6, 5, 3)" in str(grid.difference(replace(grid, size=(6, 5, 3))))
    assert "spacing" in str(grid.difference(replace(grid, spacing=(0.5, 0.75, 2.5))))
    assert "origin" in str(grid.difference(replace(grid, origin=(-10.0, 20.0, 6.0))))
    assert "direction" in str(grid.difference(replace(grid, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))))


def test_a_disk_that_fills_up_under_itk_leaves_no_cut_off_volume(tmp_path: Path) -> None:
    """ITK writes what fits and says nothing; the half is never given the final name."""
    grid = Geometry(size=(40, 40, 40), spacing=(1, 1, 1), origin=(0, 0, 0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 40)).astype(np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, 30_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # as a disk with that much room
        try:
            with pytest.raises(OSError, match=r"cannot be written as a whole \(is the disk full\?\): .*label.nii.gz"):
                write_label(tmp_path / "label.nii.gz", noise, grid)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(tmp_path.iterdir()) == []


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """27 TB of voxels in a file of a few bytes, packed or plain, as .nrrd and as .mha."""
    for encoding, packed, pack in (("raw", False, bytes), ("gzip", True, gzip.compress)):
        (tmp_path / "a.nrrd").write_bytes(
            "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 30000 30000 30000\nspacings: 1 1 1\n"
            f"encoding: {encoding}\n\n".encode()
            + pack(bytes(100))
        )
        voxels = zlib.compress(bytes(100)) if packed else bytes(100)
        (tmp_path / "a.mha").write_bytes(
            f"ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = {packed}\n"
            f"CompressedDataSize = {len(voxels)}\nDimSize = 30000 30000 30000\nElementType = MET_UCHAR\n"
            "ElementDataFile = LOCAL\n".encode()
            + voxels
        )
        for name in ("a.nrrd", "a.mha"):
            with pytest.raises(UserError, match="is cut off: its header promises 27000000000000 bytes of voxels, and "):
                read_volume(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_best_packed_volume_there_is_passes(tmp_path: Path, suffix: str, packed: bool) -> None:
    """Nothing but zeros: no compression does better than what is allowed for."""
    path = tmp_path / f"zeros{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((100, 100, 100), np.uint8)), str(path), packed)
    assert read_volume(path).array.shape == (100, 100, 100)
