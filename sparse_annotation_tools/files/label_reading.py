"""How label files are read: what their values mean, and whether their headers are to be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import IGNORE

LabelMap = NDArray[np.integer[Any]]
BACKGROUND = "background"
_MOST_CLASSES = 254  # label maps are uint8, and one value is `ignore`
_EXPECTED = "expected VALUES:CLASS, such as --merge 1,2:kidney"


@dataclass(frozen=True, kw_only=True)
class LabelReading:
    """How label files are read.

    Attributes:
        classes: value of each foreground class in the dataset, by name.
        merge: values in the files of each class, by name; `background` may be among them. Where it is empty, the files
            hold the classes' own values.
        by_voxel: label maps lie voxel by voxel on their images, wherever their headers place them.
    """

    classes: Mapping[str, int]
    merge: Mapping[str, Sequence[int]] = field(default_factory=dict)
    by_voxel: bool = False

    def to_classes(self, label: LabelMap, path: Path, *, not_annotated: int | None = None) -> LabelMap:
        """Return a label map with the classes' values.

        Args:
            label: as read from the file.
            path: of the file, for the error.
            not_annotated: a further value that may occur, and stays.

        Raises:
            UserError: the label map holds another value.
        """
        known = {0: BACKGROUND, **self._names()}
        if not_annotated is not None:
            known[not_annotated] = "not annotated"
        unknown = label[~np.isin(label, list(known))]
        if len(unknown):
            expected = ", ".join(f"{value} ({name})" for value, name in known.items())
            remedy = (
                f"add it to a --merge VALUES:CLASS ({BACKGROUND} is a class too)"
                if self.merge
                else "name the classes of the values 1, 2, ... by --label-names"
            )
            raise UserError(f"{path} holds label {unknown.min()}, expected {expected}; correct the file, or {remedy}")
        if not self.merge:
            return label
        merged = np.zeros_like(label)
        for value, name in self._names().items():
            merged[label == value] = self.classes.get(name, 0)
        if not_annotated is not None:
            merged[label == not_annotated] = not_annotated
        return merged

    def _names(self) -> dict[int, str]:
        """Name of each value that the files may hold."""
        if not self.merge:
            return {value: name for name, value in self.classes.items()}
        return {value: name for name, values in self.merge.items() for value in values}


def parse_merge(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read the `VALUES:CLASS` of every `--merge`.

    Raises:
        UserError: a text is none, a class or a value occurs twice, or 0 is to become a class.

    >>> parse_merge(["1,2:kidney", "3:spleen"])
    {'kidney': [1, 2], 'spleen': [3]}
    """
    merge: dict[str, list[int]] = {}
    for text in texts:
        values, colon, name = text.partition(":")
        numbers = [value.strip() for value in values.split(",")]
        name = name.strip()
        if not colon or not name or not all(number.isdecimal() and len(number) < 10 for number in numbers):
            raise UserError(f"--merge {text!r} is not understood, {_EXPECTED}")
        if name in merge:
            raise UserError(f"--merge names {name} twice; list all its values in one, {_EXPECTED}")
        merge[name] = [int(number) for number in numbers]
    found = [value for values in merge.values() for value in values]
    twice = next((value for value in found if found.count(value) > 1), None)
    if twice is not None:
        raise UserError(f"--merge lists value {twice} twice; a value belongs to one class")
    if 0 in found:
        raise UserError("--merge lists value 0, which is the background; list foreground values only")
    return merge


def check_label_names(names: Sequence[str]) -> None:
    """Refuse names that cannot be those of the classes 1, 2, ...

    Raises:
        UserError: there is none or too many, one occurs twice, or one is empty, `background` or `ignore`.
    """
    wrong = [name for name in names if not name.strip() or name in (BACKGROUND, IGNORE)]
    if not names or wrong or len(set(names)) < len(names) or len(names) > _MOST_CLASSES:
        raise UserError(
            f"--label-names {' '.join(names)} is unfit; expected 1 to {_MOST_CLASSES} different names of foreground "
            f"classes 1, 2, ..., without {BACKGROUND} and {IGNORE}"
        )


def class_names(names: Sequence[str] | None, merge: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Return the foreground classes in the order of their values in the dataset: that of `names`, else of the merge.

    Raises:
        UserError: neither names a class, or the two name different ones.

    >>> class_names(None, {"kidney": [1, 2], "background": [3]})
    ('kidney',)
    """
    merged = tuple(name for name in merge if name != BACKGROUND)
    if names and merge and sorted(names) != sorted(merged):
        raise UserError(
            f"--label-names {' '.join(names)} are not the classes of --merge ({', '.join(merged)}); "
            "leave --label-names out, or give every class its --merge VALUES:CLASS"
        )
    if not names and not merged:
        raise UserError("no class is named; give --label-names CLASS [CLASS ...], or --merge VALUES:CLASS")
    return tuple(names or merged)
