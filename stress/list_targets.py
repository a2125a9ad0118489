"""CSV files that the commands read, as the fuzz run reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mutations import TEXT
from target import Target, expect, named

from sparse_annotation_tools.dataset.case_list import read_case_list
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import read_planes_file
from sparse_annotation_tools.suggestion.centres import read_centres_file

_PLANES = b"case,view,index\na,axial,3\na,sagittal,5\nb, Coronal ,0\n"
_SUGGESTED = (
    b"case,view,index,state,score,ras_mm,itk_snap\na,axial,3,drawn,0.0,S 1.0,z 4\na,coronal,5,suggested,8.0,A 2,y 6\n"
)
_CASES = b"case,role,image,label\na,labelled,a_0000.nii;a_0001.nii,a.nii\nb,unlabelled,b.nii,\nc,test,b.nii,a.nii\n"
_CENTRES = b"case,r,a,s\na,1.5,-2,30\nb,0,0,1e1\n"


def list_targets(folder: Path) -> list[Target]:
    """Return the targets; the images that whole lists name are written to `folder`, where a whole scan is."""
    scan = (folder / named("whole", ".nii")).read_bytes()
    for name in ("a_0000.nii", "a_0001.nii", "a.nii", "b.nii"):
        (folder / name).write_bytes(scan)
    return [
        Target(name="planes CSV", file="planes.csv", seeds=[_PLANES, _SUGGESTED], mutations=TEXT, check=check_planes),
        Target(name="cases CSV", file="cases.csv", seeds=[_CASES], mutations=TEXT, check=check_case_list),
        Target(name="centres CSV", file="centres.csv", seeds=[_CENTRES], mutations=TEXT, check=check_centres),
    ]


def _plain_rows(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of a CSV without quotes, split by hand; None where that is no reading of it."""
    text = path.read_bytes().decode("utf-8-sig")
    if '"' in text or "\r" in text.replace("\r\n", "\n") or "\x00" in text:
        return None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines:
        return []
    names = [name.lstrip(" ") for name in lines[0].split(",")]
    return [dict(zip(names, [cell.strip() for cell in line.split(",")], strict=False)) for line in lines[1:]]


def check_planes(path: Path, seed: bytes) -> None:
    """Every line is a plane, in its order, and no other."""
    planes = read_planes_file(path)
    found = [(case, view, index) for case, listed in planes.items() for view, index in listed]
    expect(all(view in VIEWS and index >= 0 for _, view, index in found), f"{found}")
    rows = _plain_rows(path)
    if rows is not None:
        expected = [(row.get("case", ""), row["view"].lower(), int(row["index"])) for row in rows]
        expect(sorted(found) == sorted(expected), f"{found}, expected {expected}")


def check_case_list(path: Path, seed: bytes) -> None:
    """Every line is a case of its role, with files that are there."""
    cases = read_case_list(path)
    found = {(role, files.case, len(files.images)) for role, group in cases.items() for files in group}
    for group in cases.values():
        for files in group:
            there = [*files.images, *([files.label] if files.label else [])]
            expect(all(each.is_file() for each in there), f"{there}")
            expect("/" not in files.case and files.case not in ("", ".", ".."), files.case)
    rows = _plain_rows(path)
    if rows is not None:
        expected = {(row["role"], row["case"], row["image"].count(";") + 1) for row in rows}
        expect(found == expected, f"{found}, expected {expected}")


def check_centres(path: Path, seed: bytes) -> None:
    """Every line is a point of finite numbers."""
    centres = read_centres_file(path)
    expect(all(np.isfinite(point).all() for point in centres.values()), f"{centres}")
    rows = _plain_rows(path)
    if rows is not None:
        expected = {row["case"]: (float(row["r"]), float(row["a"]), float(row["s"])) for row in rows}
        expect(centres == expected, f"{centres}, expected {expected}")
