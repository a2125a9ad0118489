"""Scans and label maps, as the fuzz run reads them."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from mutations import NIFTI, PACKED_NIFTI, TEXT
from numpy.typing import NDArray
from readers import metaimage, nifti, nrrd
from target import Target, WrongError, expect, named

from sparse_annotation_tools.dataset.inspection import read_label_on
from sparse_annotation_tools.files.label_reading import LabelReading
from sparse_annotation_tools.files.volumes import Volume, read_volume
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.slices.annotation import read_annotation
from sparse_annotation_tools.slices.planes import axes_of_scan

SHAPE = (8, 9, 10)
NOT_ANNOTATED = 255
READING = LabelReading(classes={"one": 1, "two": 2})


def volume_targets(folder: Path) -> list[Target]:
    """Return the targets; whole files are written to `folder`."""
    image, sparse = _phantom()
    scans = {
        suffix: [_written(image, folder / named("whole", suffix))] for suffix in (".nii", ".nii.gz", ".mha", ".nrrd")
    }
    for suffix in (".mha", ".nrrd"):
        scans[suffix].append(_written(image, folder / named("packed", suffix), compress=True))
    labels = {suffix: [_written(sparse, folder / named("label", suffix))] for suffix in (".nii", ".nii.gz", ".nrrd")}
    marked = sitk.Cast(sitk.GetImageFromArray(_marked(sitk.GetArrayFromImage(sparse))), sitk.sitkFloat32)
    marked.CopyInformation(sparse)
    labels[".nii"].append(_written(marked, folder / "marked.nii"))
    scan = read_volume(folder / named("whole", ".nii"))
    opinions = {".nii": nifti, ".nii.gz": nifti, ".mha": metaimage, ".nrrd": nrrd}
    kinds = {".nii": NIFTI, ".nii.gz": PACKED_NIFTI, ".mha": TEXT, ".nrrd": TEXT}
    made = []
    for suffix, seeds in scans.items():
        check = _volume_check(folder, suffix, opinions[suffix])
        file = named("scan", suffix)
        made.append(Target(name=f"scan {suffix}", file=file, seeds=seeds, mutations=kinds[suffix], check=check))
    for suffix, seeds in labels.items():
        check = _label_check(scan, opinions[suffix])
        file = named("drawn", suffix)
        made.append(Target(name=f"label {suffix}", file=file, seeds=seeds, mutations=kinds[suffix], check=check))
    return made


def _volume_check(folder: Path, suffix: str, opinion: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    whole = {
        name: read_volume(folder / named(name, suffix))
        for name in ("whole", "packed")
        if (folder / named(name, suffix)).is_file()
    }

    def check(path: Path, seed: bytes) -> None:
        volume = read_volume(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = axes_of_scan(path, volume.geometry.direction)
        expect(sorted(axes.values()) == [0, 1, 2], f"axes {axes}")
        try:
            array, affines = opinion(path)
            array = array.reshape(array.shape[:3] + (1,) * (3 - array.ndim))
        except Exception as error:  # the other reader understands less: then the file must say what it said before
            same = any(np.array_equal(volume.array, each.array) for each in whole.values())
            expect(same, f"read, but the other reader says {error!r}")
            return
        ours = volume.array.transpose(2, 1, 0)
        expect(array.shape == ours.shape, f"shape {ours.shape}, the other reader says {array.shape}")
        expect(np.allclose(ours, array, rtol=1e-5, atol=1e-5), "other voxels than the other reader's")
        found = _affine(volume)
        scale = np.abs(found[:3, :3]).max()
        near = [np.abs(found - each) <= 1e-3 * max(scale, 1e-6) + 1e-3 * np.abs(each) for each in affines]
        others = [each.round(4).tolist() for each in affines]
        expect(any(each.all() for each in near), f"grid {found.round(4).tolist()}, the other reader says {others}")

    return check


def _label_check(scan: Volume, opinion: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    axes = axes_of_scan(Path("scan.nii"), scan.geometry.direction)

    def check(path: Path, seed: bytes) -> None:
        label = read_label_on(path, scan.geometry, Path("scan.nii"), READING, not_annotated=NOT_ANNOTATED)
        annotation = read_annotation(label, axes, not_annotated=NOT_ANNOTATED, planes=None, name=str(path))
        try:
            values = opinion(path)[0]
            values = np.rint(values.reshape(values.shape[:3]).transpose(2, 1, 0))
        except Exception as error:
            raise WrongError(f"read, but the other reader says {error!r}") from error
        known = annotation.volume()
        painted = (values > 0) & (values != NOT_ANNOTATED)
        expect(bool((known[painted] == values[painted]).all()), "painted voxels are lost or changed")
        expect(bool((known[~painted] <= 0).all()), "there is paint where nobody painted")
        expect(all(each.area == (known.take(each.index, each.axis) > 0).sum() for each in annotation.slices), "areas")

    return check


def _affine(volume: Volume) -> NDArray[Any]:
    geometry = volume.geometry
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(geometry.direction, (3, 3)) * np.asarray(geometry.spacing)
    affine[:3, 3] = geometry.origin
    affine[:2] *= -1
    return affine


_PAINTED = (np.s_[3], np.s_[:, 4], np.s_[:, :, 5])


def _phantom() -> tuple[sitk.Image, sitk.Image]:
    """Return a scan of whole numbers, and a label map painted on a plane of each axis."""
    phantom = make_phantom(3, shape=SHAPE, spacing_mm=(3.0, 2.0, 1.5), directions="flipped", classes=2)
    image, label = phantom.to_sitk()
    sparse = np.zeros(image.GetSize()[::-1], np.uint8)
    for value, where in zip((1, 2, 1), _PAINTED, strict=True):
        sparse[where][2:7, 2:8] = value
    painted = sitk.GetImageFromArray(sparse)
    painted.CopyInformation(label)
    return sitk.Cast(image * 100, sitk.sitkInt16), painted


def _marked(sparse: NDArray[Any]) -> NDArray[Any]:
    marked = np.full_like(sparse, NOT_ANNOTATED)
    for where in _PAINTED:
        marked[where] = sparse[where]
    return marked


def _written(image: sitk.Image, path: Path, *, compress: bool = False) -> bytes:
    if path.name.endswith(".nii.gz"):
        plain = _written(image, path.with_name(f"plain-{path.name.removesuffix('.gz')}"))
        path.write_bytes(gzip.compress(plain, 1, mtime=0))
    else:
        sitk.WriteImage(image, str(path), compress)
    return path.read_bytes()
