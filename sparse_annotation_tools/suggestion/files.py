"""The folder of suggested slices: one record, picture and label map to paint a scan, and one planes.csv for all.

A label map that somebody has painted on is never written over.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json, write_text
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.files.volumes import (
    FILE_ENDING,
    SEGMENTATION_SUFFIX,
    SUFFIXES,
    Geometry,
    read_label,
    sha256_of_file,
    write_label,
)
from sparse_annotation_tools.report.slice_picture import SuggestionPicture
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import Plane
from sparse_annotation_tools.suggestion.rules import Suggestion

STATES = DRAWN, SUGGESTED = "drawn", "suggested"
COLUMNS = ("case", "view", "index", "state", "score", "ras_mm", "itk_snap")
"""Of planes.csv. `rada-make-sparse-dataset --planes` reads the first three."""

_RAS = {"sagittal": "R", "coronal": "A", "axial": "S"}


@dataclass(frozen=True, kw_only=True)
class ListedSlice:
    """One line of planes.csv.

    Attributes:
        view: name of the view.
        axis: array axis across the slice.
        index: position along it, from 0.
        state: `drawn` or `suggested`.
        score: worth of a suggested slice; comparable within one rule.
        ras_mm: where 3D Slicer shows it, for example `S 23.4`.
        itk_snap: where ITK-SNAP's cursor is on it, for example `z 15` (its voxels count from 1).
    """

    view: str
    axis: int
    index: int
    state: str
    score: float
    ras_mm: str
    itk_snap: str

    @classmethod
    def of(
        cls, plane: Plane, state: str, score: float, geometry: Geometry, view_of_axis: Mapping[int, str]
    ) -> ListedSlice:
        """Describe one plane of a scan."""
        axis, index = plane
        view = view_of_axis[axis]
        return cls(
            view=view,
            axis=axis,
            index=index,
            state=state,
            score=round(score, 1),
            ras_mm=f"{_RAS[view]} {_ras_mm(plane, view, geometry):.1f}",
            itk_snap=f"{'zyx'[axis]} {index + 1}",
        )

    def is_whole(self) -> bool:
        """Whether everything has its type, and view, axis and state are some that there are."""
        numbers = [type(number) is int and number >= 0 for number in (self.axis, self.index)]
        texts = [isinstance(text, str) for text in (self.ras_mm, self.itk_snap)]
        score = type(self.score) in (int, float) and 0 <= self.score < math.inf
        return all((*numbers, *texts, score, self.axis in range(3), self.view in VIEWS, self.state in STATES))


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was suggested for one scan, from what, and what its label map held when it was written.

    Attributes:
        case: identifier.
        made_from: hash of everything that the suggestion depends on.
        rule: its name.
        slices: drawn ones first, then suggested ones, the best first.
        label_sha256: of the label map's file.
    """

    case: str
    made_from: str
    rule: str
    slices: tuple[ListedSlice, ...]
    label_sha256: str = ""

    def is_whole(self) -> bool:
        """Whether everything has its type, and views, axes and states are some that there are."""
        texts = (self.case, self.made_from, self.rule, self.label_sha256)
        return all(isinstance(text, str) for text in texts) and all(each.is_whole() for each in self.slices)

    @property
    def suggested(self) -> list[ListedSlice]:
        """The suggested slices, the best first."""
        return [each for each in self.slices if each.state == SUGGESTED]


def list_slices(
    geometry: Geometry, axes: Mapping[str, int], drawn: Sequence[Plane], suggestions: Sequence[Suggestion]
) -> tuple[ListedSlice, ...]:
    """Describe the drawn planes of a scan and the suggested ones."""
    view_of_axis = {axis: view for view, axis in axes.items()}
    listed = [ListedSlice.of(plane, DRAWN, 0.0, geometry, view_of_axis) for plane in drawn]
    listed += [ListedSlice.of(each.plane, SUGGESTED, each.score, geometry, view_of_axis) for each in suggestions]
    return tuple(listed)


@dataclass(frozen=True, kw_only=True)
class SuggestionFolder:
    """Where suggestions are written."""

    root: Path

    @property
    def planes_file(self) -> Path:
        """Every drawn and suggested slice of every scan."""
        return self.root / "planes.csv"

    @property
    def labels(self) -> Path:
        """Folder of label maps to paint on."""
        return self.root / "labels"

    def label(self, case: str) -> Path:
        """The label map to paint on."""
        return self.labels / f"{case}{FILE_ENDING}"

    def labels_of(self, case: str) -> list[Path]:
        """The label maps of a case that are there: the one to paint on, or what was saved in its place."""
        files = [self.labels / f"{case}{suffix}" for suffix in (SEGMENTATION_SUFFIX, *SUFFIXES)]
        return [path for path in files if path.is_file()]

    def picture(self, case: str) -> Path:
        """Where the suggested slices lie."""
        return self.root / "pictures" / f"{case}.png"

    def record(self, case: str) -> Record | None:
        """Return what an earlier run noted, or None."""
        try:
            content: dict[str, Any] = load_json(self._record_file(case))
            listed = content.pop("slices")
            record = Record(slices=tuple(ListedSlice(**each) for each in listed), **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if isinstance(listed, list) and record.case == case and record.is_whole() else None

    def is_complete(self, record: Record) -> bool:
        """Whether the files of this record are there; the label map may have been painted on, or replaced, since."""
        return bool(self.labels_of(record.case)) and self.picture(record.case).is_file()

    def write(self, record: Record, label: NDArray[np.uint8], geometry: Geometry, picture: SuggestionPicture) -> Record:
        """Write the files of one scan, the record last; return it with the label map's hash.

        Raises:
            UserError: the label map is there already and somebody has painted on it, or saved another one beside.
        """
        self._check_not_painted(record.case, label)
        picture.write(self.picture(record.case))
        write_label(self.label(record.case), label, geometry)
        finished = Record(**{**vars(record), "label_sha256": sha256_of_file(self.label(record.case))})
        write_json(self._record_file(record.case), asdict(finished))
        return finished

    def write_planes(self, records: Sequence[Record]) -> None:
        """Write planes.csv."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in records:
            for each in record.slices:
                writer.writerow([record.case, *(getattr(each, column) for column in COLUMNS[1:])])
        write_text(self.planes_file, text.getvalue())

    def _check_not_painted(self, case: str, label: NDArray[np.uint8]) -> None:
        before = self.record(case)
        for path in self.labels_of(case):
            if path == self.label(case):
                written = before is not None and sha256_of_file(path) == before.label_sha256
                if written or np.array_equal(read_label(path).array, label):
                    continue
            raise UserError(
                f"{path} has been painted on, and other slices would be suggested now; give another -o, with "
                f"--labels {self.labels} for the next slices, or move the file away"
            )

    def _record_file(self, case: str) -> Path:
        return self.root / "suggestions" / f"{case}.json"


def _ras_mm(plane: Plane, view: str, geometry: Geometry) -> float:
    """Return the plane's middle along its patient axis, to the right, front or head, as viewers show it."""
    axis, index = plane
    position = (np.asarray(geometry.size) - 1) / 2  # x, y, z
    position[2 - axis] = index
    step_mm = position * np.asarray(geometry.spacing)
    lps = np.asarray(geometry.origin) + np.reshape(geometry.direction, (3, 3)) @ step_mm
    row = VIEWS.index(view)
    return float(lps[row] if view == "axial" else -lps[row])
