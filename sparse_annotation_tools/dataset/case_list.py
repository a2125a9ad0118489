"""Read a CSV that lists every case with its role and its files, for scans that lie in any layout."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from sparse_annotation_tools.dataset.sources import CaseFiles, check_case_name
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.volumes import SUFFIXES, stem_of

ROLES = ("labelled", "unlabelled", "test")
COLUMNS = ("case", "role", "image", "label")
OPTION = "--cases"


def read_case_list(path: Path) -> dict[str, list[CaseFiles]]:
    """Return the cases of each role, sorted by name.

    Paths are relative to the CSV's folder. Several channels of one image are separated by semicolons. The label of an
    unlabelled case is never opened, so a list can name the labels of all cases.

    Raises:
        UserError: the file cannot be read, lacks a column, or a line is unfit: an unknown role, a case twice, a name
            that nnU-Net would lose, no such file, or a labelled case without a label.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{OPTION} {path} cannot be read ({error}); expected a CSV: {','.join(COLUMNS)}") from None
    found: dict[str, list[CaseFiles]] = {role: [] for role in ROLES}
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if not set(COLUMNS) <= row.keys():
            known = ",".join(str(column) for column in row)
            raise UserError(f"{OPTION} {path} has the columns {known}; expected a first line {','.join(COLUMNS)}")
        text = {column: (row[column] or "").strip() for column in COLUMNS}
        where = f"{OPTION} {path} line {number}"
        if text["role"] not in ROLES:
            raise UserError(f"{where} has role {text['role']!r}, expected {', '.join(ROLES)}")
        if text["case"] in lines:
            raise UserError(f"{where} lists case {text['case']}, as line {lines[text['case']]} does; remove one")
        lines[text["case"]] = number
        found[text["role"]].append(_case_files(text, path.parent, where))
    if not found["labelled"]:
        raise UserError(f"{OPTION} {path} lists no case with role labelled; annotate slices of at least one scan")
    return {role: sorted(cases, key=lambda files: files.case) for role, cases in found.items()}


def _case_files(text: Mapping[str, str], folder: Path, where: str) -> CaseFiles:
    check_case_name(text["case"], where)
    images = tuple(_file(name.strip(), folder, where) for name in text["image"].split(";"))
    if text["role"] == "labelled" and not text["label"]:
        raise UserError(f"{where}: case {text['case']} has role labelled and no label; give one, or role unlabelled")
    named = text["label"] if text["role"] != "unlabelled" else ""
    return CaseFiles(case=text["case"], images=images, label=_file(named, folder, where) if named else None)


def _file(name: str, folder: Path, where: str) -> Path:
    path = folder / name
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds what no name can hold
        there = False
    if not there:
        raise UserError(f"{where} names {path}, which does not exist; expected a file, relative to the CSV's folder")
    if stem_of(path) is None:
        raise UserError(f"{where} names {path}; expected a file that ends in {', '.join(SUFFIXES)}")
    return path
