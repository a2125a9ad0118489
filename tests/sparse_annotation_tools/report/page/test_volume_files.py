"""Volumes as scripts: the NIfTI inside has the scan's voxels at the scan's places."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.report.page.volume_files import (
    coarser_affine,
    image_nifti,
    label_nifti,
    windowed,
    write_script,
)

AFFINE = np.array([[-2.0, 0.1, 0, 30], [0.1, -1.5, 0, 40], [0, 0, 3.0, -20], [0, 0, 0, 1]])  # upright: left, back, head


def test_a_voxel_keeps_its_value_and_its_place() -> None:
    """The stored order runs to the right, front and head; a marked voxel lies at the same millimetres."""
    label = np.zeros((4, 5, 6), np.uint8)
    z, y, x = 1, 3, 4
    label[z, y, x] = 7
    file = nibabel.Nifti1Image.from_bytes(label_nifti(label, AFFINE))
    assert nibabel.aff2axcodes(file.affine) == ("R", "A", "S")
    place = np.argwhere(np.asarray(file.dataobj) == 7)
    np.testing.assert_allclose(file.affine @ [*place[0], 1], AFFINE @ [x, y, z, 1], atol=1e-5)


def test_grey_levels_are_scaled_back_to_intensities() -> None:
    """Inside the window an intensity is right to half a grey level; outside, it is the window's end."""
    image = np.linspace(-100, 900, 4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    low, high = windowed(image)
    file = nibabel.Nifti1Image.from_bytes(image_nifti(image, np.eye(4), (low, high)))
    assert file.get_data_dtype() == np.uint8
    shown = np.asarray(file.get_fdata()).transpose(2, 1, 0)[:, ::-1, ::-1]
    np.testing.assert_allclose(shown, np.clip(image, low, high), atol=(high - low) / 255 / 2 + 1e-3)


def test_a_coarser_grid_has_the_same_middle() -> None:
    """Eight voxels that become one have their common middle."""
    affine = coarser_affine(AFFINE, (2, 2, 2))
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], AFFINE @ [0.5, 0.5, 0.5, 1])
    np.testing.assert_allclose(affine @ [1, 0, 0, 1], AFFINE @ [2.5, 0.5, 0.5, 1])


def test_a_script_hands_over_the_volume_and_is_the_same_each_time(tmp_path: Path) -> None:
    """The script calls the page with its key and the packed bytes; the same volume gives the same file."""
    content: NDArray[np.uint8] = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    nifti = label_nifti(content, AFFINE)
    size = write_script(tmp_path / "a.js", "case/a", nifti)
    write_script(tmp_path / "b.js", "case/a", nifti)
    text = (tmp_path / "a.js").read_text()
    assert size == len(text)
    assert text == (tmp_path / "b.js").read_text()
    key, packed = json.loads("[" + text.removeprefix("Rada.receiveVolume(").rstrip().removesuffix(");") + "]")
    assert key == "case/a"
    assert gzip.decompress(base64.b64decode(packed)) == nifti
