"""Second opinions for the fuzz run: readers that share no code with the package's own."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

_TYPES = {
    "MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "unsigned char": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "float": "f4", "double": "f8", "int": "i4",
    "uchar": "u1", "uint8_t": "u1", "int8": "i1", "signed char": "i1", "unsigned short": "u2", "uint16": "u2",
}  # fmt: skip


def nifti(path: Path) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return voxels [x, y, z] and the affines (RAS) as nibabel reads them; NaN and infinity are 0, as ITK reads them.

    A header may describe the grid twice, by its sform and its qform. ITK takes the sform if it is a turned grid.

    Raises:
        Exception: nibabel cannot read it.
    """
    with np.errstate(all="ignore"):
        image: Any = nibabel.load(path)
        array = np.nan_to_num(np.asarray(image.dataobj), nan=0, posinf=0, neginf=0)
        scale = {1: 1000.0, 3: 0.001}.get(int(image.header["xyzt_units"]) & 7, 1.0)  # to mm
        described = [image.affine] if image.header["sform_code"] <= 0 and image.header["qform_code"] <= 0 else []
        for code, read in (
            (image.header["sform_code"], image.get_sform),
            (image.header["qform_code"], image.get_qform),
        ):
            if code > 0:
                described.append(np.diag([scale, scale, scale, 1]) @ read())
        return array, described


def metaimage(path: Path) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return voxels [x, y, z] and the affine (RAS) of an .mha file of raw or packed voxels.

    Raises:
        Exception: the header is not understood.
    """
    head, _, rest = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    fields = dict(re.findall(r"^(\w+) *= *(.*?)\s*$", head.decode("latin-1"), re.MULTILINE))
    size = [int(side) for side in fields["DimSize"].split()]
    body = zlib.decompress(rest) if fields.get("CompressedData", "False") == "True" else rest
    order = ">" if fields.get("BinaryDataByteOrderMSB", "False") == "True" else "<"
    array = np.frombuffer(body, order + _TYPES[fields["ElementType"]], int(np.prod(size))).reshape(size, order="F")
    axes = np.array(fields.get("TransformMatrix", "1 0 0 0 1 0 0 0 1").split(), float).reshape(3, 3).T  # rows are axes
    spacing_mm = np.array(fields.get("ElementSpacing", "1 1 1").split(), float)
    return array, [_affine(axes * spacing_mm, fields.get("Offset", "0 0 0").split())]


def nrrd(path: Path) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return voxels [x, y, z] and the affine (RAS) of a .nrrd file of raw or packed voxels.

    Raises:
        Exception: the header is not understood.
    """
    head, _, rest = path.read_bytes().partition(b"\n\n")
    fields = dict(re.findall(r"^([\w ]+): *(.*?)\s*$", head.decode("latin-1"), re.MULTILINE))
    size = [int(side) for side in fields["sizes"].split()]
    body = gzip.decompress(rest) if fields["encoding"] in ("gzip", "gz") else rest
    order = ">" if fields.get("endian") == "big" else "<"
    array = np.frombuffer(body, order + _TYPES[fields["type"]], int(np.prod(size))).reshape(size, order="F")
    vectors = re.findall(r"\(([^)]*)\)", fields["space directions"])
    axes = np.array([[float(each) for each in vector.split(",")] for vector in vectors]).T
    affine = _affine(axes, fields.get("space origin", "(0,0,0)").strip("()").split(","))
    if fields["space"] in ("right-anterior-superior", "RAS"):
        affine[:2] *= -1
    return array, [affine]


def safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the float32 tensors and the metadata of a .safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        assert entry["dtype"] == "F32"
        tensors[name] = np.frombuffer(content[8 + length + start : 8 + length + end], "<f4").reshape(entry["shape"])
    return tensors, metadata


def _affine(axes_lps: NDArray[Any], origin_lps: Any) -> NDArray[Any]:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes_lps, np.array(origin_lps, float)
    affine[:2] *= -1
    return affine
