"""Find volume files that ITK would take for something that they are not, without an error, or that would end it."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.text_headers import MEND, check_mha, check_nrrd

if TYPE_CHECKING:
    from sparse_annotation_tools.files.volumes import Geometry

_NIFTI = (".nii", ".nii.gz")
_NIFTI_1 = 348
_NIFTI_2 = 540
_SMALLEST_MM, _LARGEST_MM = 1e-6, 1e6  # of a voxel's side: from microscopes to beyond any body
_MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI's unknown, metre, millimetre, micrometre
_BITS_OF_DATATYPE = {
    2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64,  # whole and real numbers
    32: 64, 128: 24, 1792: 128, 2304: 32,  # complex numbers and colours, refused with a better reason later
}  # fmt: skip
_SMALLEST_SLOPE, _LARGEST_SLOPE = 1e-12, 1e12
_LARGEST_FORM_CODE = 5  # of what a qform or sform leads to: NIFTI_XFORM_TEMPLATE_OTHER
_TOLERANCE = 1e-3  # of a voxel, and of the numbers themselves


def check_format(path: Path) -> None:
    """Look for what ITK would misread in silence.

    Asked for the voxels of c.nii.gz, it reads those of a c.nii beside it. A NIfTI file whose magic number is damaged is
    Analyze to it, with voxels that begin elsewhere. For text headers see `text_headers`.

    Raises:
        UserError: see above.
    """
    if path.name.endswith(".nii.gz") and path.with_suffix("").is_file():
        raise UserError(
            f"{path.with_suffix('').name} lies beside {path}, and its voxels would be read instead; "
            "move one of them to another folder"
        )
    if path.name.endswith(_NIFTI):
        try:
            with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
                _check_nifti_header(path, file)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile, struct.error):
            raise UserError(f"{path} is cut off or no NIfTI file; {MEND}") from None
    elif path.name.endswith(".nrrd"):
        check_nrrd(path)
    elif path.name.endswith(".mha"):
        check_mha(path)


def check_grid(path: Path, geometry: Geometry) -> None:
    """Refuse a grid that no scan has, or that is not the one of a NIfTI header's sform or qform.

    A header may describe the grid twice. Where the two contradict each other, or one is no turned grid, ITK mixes them.

    Raises:
        UserError: see above.
    """
    if not all(_SMALLEST_MM <= side <= _LARGEST_MM for side in geometry.spacing):
        sides = " x ".join(f"{side:g}" for side in geometry.spacing)
        raise UserError(
            f"{path} has voxels of {sides} mm by its header, expected {_SMALLEST_MM:g} to {_LARGEST_MM:g}; {MEND}"
        )
    if not path.name.endswith(_NIFTI):
        return
    read = np.eye(4)
    read[:3, :3] = np.reshape(geometry.direction, (3, 3)) * np.asarray(geometry.spacing)
    read[:3, 3] = geometry.origin
    read[:2] *= -1  # NIfTI's axes point to the right and to the front
    described = _affines(path)
    near = [np.abs(read - each) <= _TOLERANCE * (min(geometry.spacing) + np.abs(each)) for each in described]
    if described and not any(each.all() for each in near):
        raise UserError(
            f"{path} describes its grid by an sform or qform that is not what ITK makes of them: a sheared grid, or "
            f"two that contradict each other; resample the scan to a grid at right angles, or {MEND}"
        )


def _affines(path: Path) -> list[Any]:
    """Return the grids that a NIfTI header describes, in mm."""
    import nibabel

    try:
        with np.errstate(all="ignore"):
            header: Any = nibabel.load(path).header
            scale = _MM_OF_UNIT[int(header["xyzt_units"]) & 7]
            forms = (("sform_code", header.get_sform), ("qform_code", header.get_qform))
            found = [form() for code, form in forms if int(header[code]) > 0]
    except Exception as error:  # whatever nibabel says of a header that it does not understand
        raise UserError(f"{path} has a header that cannot be understood ({error}); {MEND}") from None
    for affine in found:
        affine[:3] *= scale
    return found


def _check_nifti_header(path: Path, file: IO[bytes]) -> None:
    header = file.read(_NIFTI_2)
    for order in "<>":
        size = struct.unpack_from(f"{order}i", header)[0]
        if size == _NIFTI_1:
            magic, (offset,) = header[344:348], struct.unpack_from(f"{order}f", header, 108)
            lengths, kind = struct.unpack_from(f"{order}8h", header, 40), struct.unpack_from(f"{order}2h", header, 70)
            slope, intercept = struct.unpack_from(f"{order}2f", header, 112)
            forms = struct.unpack_from(f"{order}2h", header, 252)
        elif size == _NIFTI_2:
            magic, (offset,) = header[4:8], struct.unpack_from(f"{order}q", header, 168)
            lengths, kind = struct.unpack_from(f"{order}8q", header, 16), struct.unpack_from(f"{order}2h", header, 12)
            slope, intercept = struct.unpack_from(f"{order}2d", header, 176)
            forms = struct.unpack_from(f"{order}2i", header, 344)
        else:
            continue
        if magic not in (b"n+1\0", b"n+2\0"):
            raise UserError(f"{path} has the magic number {magic!r}, expected that of a NIfTI file, n+1; {MEND}")
        if not size + 4 <= offset < 2**40:  # where it says 0, ITK takes the four bytes behind the header for voxels
            raise UserError(f"{path} says that its voxels begin at byte {offset:g}, within its header; {MEND}")
        # ITK takes a very small slope for none; NaN and infinity mean something else to every reader.
        if 0 < abs(slope) < _SMALLEST_SLOPE or not (abs(slope) <= _LARGEST_SLOPE >= abs(intercept)):
            raise UserError(
                f"{path} says that its values are to be multiplied by {slope:g}, plus {intercept:g}; {MEND}"
            )
        if not all(0 <= code <= _LARGEST_FORM_CODE for code in forms):  # others: the grid depends on the reader
            raise UserError(f"{path} has the qform and sform codes {forms}, expected 0 to {_LARGEST_FORM_CODE}; {MEND}")
        rank = lengths[0]
        if not 1 <= rank <= 7 or min(lengths[1 : rank + 1]) < 1:
            sides = list(lengths[1:])
            raise UserError(f"{path} cannot be read as a volume (its header says {sides} voxels); {MEND}")
        datatype, bits = kind
        if _BITS_OF_DATATYPE.get(datatype) != bits:
            what = f"its header says voxels of {bits} bits and type {datatype}"
            raise UserError(f"{path} cannot be read as a volume ({what}); {MEND}")
        return
    raise UserError(f"{path} cannot be read as a volume (it is no NIfTI file); {MEND}")
