"""Find `.nrrd` and `.mha` files whose text headers ITK would misread in silence, or that would end it.

Of numbers it takes what it understands. A line that says nothing swallows the next one of an `.mha` file. Long words of
a `.nrrd` header overflow the buffer that its reader writes complaints into, and long texts of an `.mha` header those
that they are kept in, which ends the process. Packed voxels that are damaged are whatever was unpacked up to there.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from sparse_annotation_tools.errors import UserError

MEND = "copy or download it again, or export it anew"

_BLOCK = 1 << 20
_LARGEST_HEADER = 1 << 20
_MHA_FIELD = re.compile(rb"[\t -~]+=")  # no name with control characters, which is another name
_LONGEST_NAME = 200  # characters of a field's name
_LONGEST_VALUE = 500  # and of what it says; the reader's buffer overflows somewhere from 1000 on

_LONGEST_TEXT = 250  # of those fields of an .mha file that its reader keeps in 255 bytes
_TEXT_FIELDS = {
    b"ObjectType", b"ObjectSubType", b"Comment", b"Name", b"AcquisitionDate", b"Modality", b"AnatomicalOrientation",
    b"DistanceUnits", b"ElementType", b"ElementDataFile",
}  # fmt: skip

_NUMBER = rb"[-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,4})?"
_VECTOR = rb"\(" + _NUMBER + rb"(?:, *" + _NUMBER + rb")*\)"
_NUMBERS = re.compile(rb"(?:(?:none|nan|" + _NUMBER + rb"|" + _VECTOR + rb")(?: +|$))*")
_WHOLE_NUMBERS = re.compile(rb"(?:[-+]?\d{1,19}(?: +|$))*")
_WHOLE_FIELDS = {
    b"dimension", b"sizes", b"space dimension", b"byte skip", b"line skip",  # .nrrd
    b"NDims", b"DimSize", b"HeaderSize", b"CompressedDataSize", b"ElementNumberOfChannels",  # .mha
}  # fmt: skip
_NUMERIC_FIELDS = {
    b"spacings", b"space directions", b"space origin", b"axis mins", b"axis maxs", b"thicknesses",
    b"measurement frame",  # .nrrd
    b"ElementSpacing", b"ElementSize", b"Offset", b"Position", b"Origin", b"TransformMatrix", b"Rotation",
    b"Orientation", b"CenterOfRotation",  # .mha
    *_WHOLE_FIELDS,
}  # fmt: skip
_ONE_PER_AXIS = {b"DimSize", b"ElementSpacing", b"ElementSize", b"Offset", b"Position", b"Origin", b"CenterOfRotation"}


def check_nrrd(path: Path) -> None:
    """Check the header of a `.nrrd` file, and the checksum of voxels that are packed into it.

    Raises:
        UserError: see above, or the header leaves the size of voxels open, of which ITK makes 1 mm.
    """
    with path.open("rb") as file:
        start = file.read(_LARGEST_HEADER)
    header, blank, _ = start.partition(b"\n\n")
    if b"\r\n\r\n" in start[: len(header) + 4]:
        header, blank, _ = start.partition(b"\r\n\r\n")
    for line in header.splitlines()[1:]:
        if not line or line.startswith(b"#"):
            continue
        field, colon, value = line.partition(b":")
        if not colon or len(field) > _LONGEST_NAME:
            raise UserError(f"{path} has a line {line[:60]!r} in its header, which says nothing; {MEND}")
        if len(value) > _LONGEST_VALUE and field != b"content" and not value.startswith(b"="):  # these may be any text
            raise _too_long(path, field, value, _LONGEST_VALUE)
    fields = _fields(path, header, b":")
    steps = fields.get(b"space directions", fields.get(b"spacings"))
    if steps is None or b"nan" in steps:
        raise UserError(f"{path} does not say how large its voxels are (space directions, or spacings); export it anew")
    detached = b"data file" in fields or b"datafile" in fields
    if fields.get(b"encoding", b"").lower() in (b"gzip", b"gz") and not detached and b"line skip" not in fields:
        _check_packed(path, len(header) + len(blank))


def check_mha(path: Path) -> None:
    """Check the header of an `.mha` file, and the checksum of voxels that are packed into it.

    Raises:
        UserError: see above.
    """
    content = path.read_bytes()
    header = re.match(rb"(?s).*?^ElementDataFile[^\n]*\n", content[:_LARGEST_HEADER], re.MULTILINE)
    if header is None:
        return
    for line in header[0].splitlines():
        if line.strip() and not _MHA_FIELD.match(line):
            raise UserError(f"{path} has a line {line[:60]!r} in its header, which says nothing; {MEND}")
    fields = _fields(path, header[0], b"=")
    for name in _TEXT_FIELDS & fields.keys():
        if len(fields[name]) > _LONGEST_TEXT:
            raise _too_long(path, name, fields[name], _LONGEST_TEXT)
    for name in (b"CompressedData", b"BinaryData", b"BinaryDataByteOrderMSB", b"ElementByteOrderMSB"):
        if fields.get(name, b"True") not in (b"True", b"False"):
            raise UserError(f"{path} has {name.decode()} = {fields[name]!r}, expected True or False; {MEND}")
    rank = fields.get(b"NDims", b"3")
    for name in _ONE_PER_AXIS & fields.keys():
        if rank.isdigit() and len(fields[name].split()) != int(rank):
            raise UserError(
                f"{path} says {name.decode()} is {fields[name][:60]!r}, expected {int(rank)} numbers; {MEND}"
            )
    if b"CompressedDataSize" in fields and b"CompressedData" not in fields:
        raise UserError(f"{path} says how large its packed voxels are, but not that they are packed; {MEND}")
    if fields.get(b"CompressedData", b"False") == b"False":
        return
    try:
        size = int(fields[b"CompressedDataSize"])  # without it, ITK unpacks nothing
        zlib.decompress(content[header.end() : header.end() + size])
    except (KeyError, ValueError, zlib.error) as error:
        raise UserError(f"{path} is damaged: its voxels cannot be unpacked ({error}); {MEND}") from None


def _too_long(path: Path, name: bytes, value: bytes, longest: int) -> UserError:
    return UserError(
        f"{path} has {len(value)} characters in field {name.decode(errors='replace')} of its header, expected at most "
        f"{longest}; {MEND}"
    )


def _check_packed(path: Path, offset: int) -> None:
    """Refuse voxels whose checksum is wrong: ITK reads no further than the header says, and may never see it."""
    with path.open("rb") as file:
        file.seek(offset)
        if file.read(2) != b"\x1f\x8b":
            raise UserError(f"{path} is damaged: its voxels are to be packed and are not; {MEND}")
        file.seek(offset)
        try:
            with gzip.GzipFile(fileobj=file) as packed:
                while packed.read(_BLOCK):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} is damaged: its voxels cannot be unpacked ({error}); {MEND}") from None


def _fields(path: Path, header: bytes, mark: bytes) -> dict[bytes, bytes]:
    """Return the fields of a text header; see that numbers are numbers."""
    fields: dict[bytes, bytes] = {}
    for line in header.splitlines():
        name, found, value = line.partition(mark)
        if not found or line.startswith(b"#"):
            continue
        name, value = name.strip(), value.strip()
        if name in fields and name in _NUMERIC_FIELDS:
            raise UserError(f"{path} says twice what {name.decode()} is; {MEND}")
        fields[name] = value
        if name in _NUMERIC_FIELDS and not (_WHOLE_NUMBERS if name in _WHOLE_FIELDS else _NUMBERS).fullmatch(value):
            kind = "whole numbers" if name in _WHOLE_FIELDS else "numbers"
            raise UserError(f"{path} says {name.decode()} is {value[:60]!r}, expected {kind}; {MEND}")
    return fields
