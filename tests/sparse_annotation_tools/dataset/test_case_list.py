"""Tests of the CSV of cases."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.dataset.case_list import read_case_list
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import CasesFile

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]
FOLDERS = dict.fromkeys(("images", "labels", "unlabelled", "test_images", "test_labels"))


def listed(folder: Path) -> Path:
    """Write a list of the phantoms in `folder`, which lie in folders by role."""
    lines = ["case,role,image,label"]
    for role in ("test", "unlabelled", "labelled"):
        for image in sorted((folder / role / "images").iterdir()):
            case = image.name.removesuffix("_0000.nii.gz")
            label = f"{role}/labels/{case}.nii.gz"
            lines.append(f"{case},{role},{image.relative_to(folder)},{label if role != 'unlabelled' else ''}")
    path = folder / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_list_gives_what_folders_give(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, tmp_path: Path
) -> None:
    """Byte for byte, from whatever folder the command is typed in."""
    make_quickly(request_for(phantoms, raw=tmp_path / "folders"))
    relative = Path(os.path.relpath(listed(phantoms)))
    make_quickly(request_for(phantoms, raw=tmp_path / "list", cases=relative, **FOLDERS))
    assert files_of(tmp_path / "list") == files_of(tmp_path / "folders")


def test_listed_files_inside_the_dataset_to_be_made_are_refused(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files
) -> None:
    """--overwrite would delete the very scans, or labels, that it reads; nothing is touched."""
    made = request_for(phantoms)
    make_quickly(made)
    case = "phantom_labelled_00"
    scan = phantoms / "labelled" / "images" / f"{case}_0000.nii.gz"
    label = phantoms / "labelled" / "labels" / f"{case}.nii.gz"
    image_inside, label_inside = made.folder / "imagesTr" / scan.name, made.folder / "labelsTr" / label.name
    before = files_of(made.folder)
    for image, drawn, inside in ((image_inside, label, image_inside), (scan, label_inside, label_inside)):
        path = phantoms / "cases.csv"
        path.write_text(f"case,role,image,label\n{case},labelled,{image},{drawn}\n")
        request = request_for(phantoms, cases=path, overwrite=True, **FOLDERS)
        with pytest.raises(UserError, match=f"--cases: {inside} lies in the dataset that is to be made"):
            make_quickly(request)
    assert files_of(made.folder) == before


def test_scans_are_read_in_any_layout_and_format(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    write_volume: Callable[..., Path],
    read_array: Callable[[Path], NDArray[Any]],
) -> None:
    """A folder a case, the same file names in each, NRRD and plain NIfTI, two channels, spaces in a name."""
    lines = ["case, role, image, label, remark"]
    for number, (role, ending) in enumerate((("labelled", "nrrd"), ("unlabelled", "nii"), ("test", "mha"))):
        image = next((phantoms / role / "images").iterdir())
        folder = phantoms / "Training Set" / str(number)
        for name in ("t1", "t2"):
            write_volume(folder / f"{name}.{ending}", read_array(image), like=image)
        if role != "unlabelled":
            label = next((phantoms / role / "labels").iterdir())
            write_volume(folder / f"label.{ending}", read_array(label) * 100, like=label)
        place = f"Training Set/{number}"
        lines.append(f'scan_{number},{role},{place}/t1.{ending};{place}/t2.{ending},"{place}/label.{ending}",none')
    (phantoms / "cases.csv").write_text("\n".join(lines))
    merge = {"lobed_organ": [100], "bean_organ": [200]}
    request = request_for(phantoms, cases=phantoms / "cases.csv", merge=merge, **FOLDERS)
    made = make_quickly(request)
    assert (made.labelled, made.unlabelled, list(made.test)) == (["scan_0"], ["scan_1"], ["scan_2"])
    for part, case, role in (("imagesTr", "scan_0", "labelled"), ("imagesTr", "scan_1", "unlabelled")):
        source = next((phantoms / role / "images").iterdir())
        for channel in range(2):
            stored = read_array(request.folder / part / f"{case}_{channel:04d}.nii.gz")
            np.testing.assert_array_equal(stored, read_array(source))
    truth = read_array(next((phantoms / "test" / "labels").iterdir()))
    np.testing.assert_array_equal(read_array(request.folder / "labelsTs" / "scan_2.nii.gz"), truth)


def test_the_label_of_an_unlabelled_case_is_never_opened(phantoms: Path) -> None:
    """So a list may name all labels, and a case changes its role by one word."""
    path = listed(phantoms)
    path.write_text(path.read_text().replace(",\n", ",no/such/file\n"))
    assert [files.label for files in read_case_list(path)["unlabelled"]] == [None, None]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "case,role",
            "name,role",
            r"has the columns name,role,image,label; expected a first line case,role",
        ),
        (",test,", ",testing,", r"line 2 has role 'testing', expected labelled, unlabelled, test"),
        (
            "phantom_unlabelled_01,",
            "phantom_unlabelled_00,",
            r"line 4 lists case phantom_unlabelled_00, as line 3",
        ),
        ("phantom_test_00,", "phantom_seg,", r"line 2: case phantom_seg ends in _seg"),
        ("phantom_test_00,", "a/b,", r"line 2: case 'a/b' has odd characters"),
        (",labelled/labels/phantom_labelled_00.nii.gz", ",", r"has role labelled and no label; give one"),
        ("unlabelled/images/phantom_unlabelled_00", "nowhere", r"line 3 names .*nowhere_0000.nii.gz, which does not"),
        ("test/labels/phantom_test_00.nii.gz", "cases.csv", r"line 2 names .*cases.csv; expected a file that ends in"),
        (",labelled,", ",unlabelled,", r"lists no case with role labelled"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(phantoms: Path, old: str, new: str, message: str) -> None:
    """With the line to correct."""
    path = listed(phantoms)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        read_case_list(path)


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the form that is expected."""
    with pytest.raises(UserError, match=r"cases.csv cannot be read .* expected a CSV: case,role,image,label"):
        read_case_list(tmp_path / "cases.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": Path("cases.csv")}, r"--cases lists all files by itself; leave out --images --labels --unlabelled"),
        ({"images": None}, r"no scans are named; give --images DIR and --labels DIR, or --cases FILE"),
    ],
)
def test_a_list_and_folders_exclude_each_other(
    phantoms: Path, request_for: Any, make_quickly: Make, changes: dict[str, Any], message: str
) -> None:
    """One of the two is needed, and only one."""
    with pytest.raises(UserError, match=message):
        make_quickly(request_for(phantoms, **changes))
