"""Whether what a `cases.json` says can be: the file may come from anywhere, and its names become parts of paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_annotation_tools.schema import Case, CasesFile

CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Case identifiers: no file system confuses them, and none of them leaves its folder."""

_FILE_ENDING = re.compile(r"(\.[A-Za-z0-9]+){1,3}")
_DATASET_NAME = re.compile(r"Dataset\d{3}_[A-Za-z0-9][A-Za-z0-9._-]*")


def check_cases_file(content: CasesFile, views: Iterable[str]) -> None:
    """Check types, names and numbers of a `cases.json`, whose top-level fields are all there.

    Raises:
        ValueError: the first thing that cannot be.
    """
    for name in ("dataset", "modality", "strategy", "command"):
        _check(isinstance(getattr(content, name), str), f"{name} is no text")
    _check(bool(_DATASET_NAME.fullmatch(content.dataset)), f"dataset is {content.dataset!r}")
    _check(_is_number(content.seed), "seed is no whole number")
    _check(_is_dict(content.classes, _is_number), "classes are not names with whole numbers")
    values = sorted(content.classes.values())
    _check(values == list(range(1, len(values) + 1)) and bool(values), f"classes have the values {values}")
    _check(_is_dict(content.versions, lambda each: isinstance(each, str)), "versions are not names with text")
    _check(_is_dict(content.merge, lambda each: _is_list(each, _is_number)), "merge is not names with lists of numbers")
    _check(isinstance(content.propagation, dict), "propagation is no object")
    _check(isinstance(content.test, dict), "test is no object")
    for name, hashes in content.test.items():
        _check_name(name)
        _check_hashes(name, hashes)
    for name, case in content.cases.items():
        _check_name(name)
        _check_case(name, case, views, len(values))


def file_ending(dataset_json: Mapping[str, Any]) -> str:
    """Return the `file_ending` of a `dataset.json`, which becomes a part of paths.

    Raises:
        ValueError: it is none.
    """
    ending = dataset_json.get("file_ending")
    _check(isinstance(ending, str) and bool(_FILE_ENDING.fullmatch(ending)), f"file_ending is {ending!r}")
    return str(ending)


def _check_case(name: str, case: Case, views: Iterable[str], classes: int) -> None:
    _check(isinstance(case.labelled, bool), f"case {name}: labelled is neither true nor false")
    _check(all(_is_number(side) and side > 0 for side in case.shape), f"case {name} has shape {list(case.shape)}")
    _check(_is_number(case.sagittal_axis) and case.sagittal_axis in range(3), f"case {name}: no such sagittal_axis")
    _check(case.labelled == bool(case.slices), f"case {name}: slices and labelled contradict each other")
    for annotated in case.slices:
        where = f"case {name}, slice {annotated.view} {annotated.index}"
        _check(annotated.view in views, f"{where}: no such view")
        numbers = (annotated.axis, annotated.index, annotated.area, *annotated.classes)
        _check(all(map(_is_number, numbers)), f"{where}: something is no whole number")
        _check(annotated.axis in range(3) and annotated.index in range(case.shape[annotated.axis]), f"{where}: outside")
        _check(annotated.area >= 0 and set(annotated.classes) <= {*range(1, classes + 1)}, f"{where}: no such classes")
    for network, owned in case.networks.items():
        known = all(_is_number(k) and k in range(len(case.slices)) for k in owned)
        _check(known, f"case {name}: network {network} has slices {list(owned)}")
    _check_hashes(name, case.sha256)


def _check_name(name: str) -> None:
    _check(bool(CASE_NAME.fullmatch(name)), f"case name {name!r} has odd characters")


def _check_hashes(name: str, hashes: object) -> None:
    _check(_is_dict(hashes, lambda each: isinstance(each, str)), f"case {name}: sha256 is not names with text")


def _check(fine: bool, problem: str) -> None:
    if not fine:
        raise ValueError(problem)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object, holds: Any) -> bool:
    return isinstance(value, list) and all(map(holds, value))


def _is_dict(value: object, holds: Any) -> bool:
    return isinstance(value, Mapping) and all(map(holds, value.values()))
