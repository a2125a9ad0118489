"""The output folder: what a person has painted, kept so that nothing is lost, and the files that come of it.

`annotate/{case}.json` is written after every stroke and is what counts. The label maps and lists of finished slices
are made from it. A label map that somebody else wrote is taken over as paint, never written over.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparse_annotation_tools.annotate.paint import ChosenSlice, Paint, slice_from_json, slice_to_json
from sparse_annotation_tools.dataset.sources import CaseFiles
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path, write_json, write_text
from sparse_annotation_tools.files.volumes import FILE_ENDING, Geometry, sha256_of_file, write_label
from sparse_annotation_tools.processes.lock import FileLock
from sparse_annotation_tools.suggestion.files import SUGGESTED

SETTINGS_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is painted on one scan.

    Attributes:
        shape: of the scan's array.
        slices: with what is drawn on them.
        label_sha256: of the label map that was written from them; empty before.
        exported: `content` of the finished slices that the label map was written from.
    """

    shape: tuple[int, int, int]
    slices: tuple[ChosenSlice, ...]
    label_sha256: str = ""
    exported: str = ""

    @property
    def done(self) -> list[ChosenSlice]:
        """The finished slices, by axis and index."""
        return sorted((each for each in self.slices if each.done), key=lambda each: each.plane)

    def content(self) -> str:
        """Return a hash of the finished slices."""
        digest = hashlib.sha256()
        for each in self.done:
            digest.update(repr(each.plane).encode() + (b"" if each.drawn is None else each.drawn.tobytes()))
        return digest.hexdigest()


@dataclass(kw_only=True)
class OutputFolder:
    """Where everything is written.

    Attributes:
        root: the folder.
        records: what is painted, by case.
    """

    root: Path
    records: dict[str, Record] = field(default_factory=dict)
    _lock: FileLock | None = None

    @property
    def labels(self) -> Path:
        """Folder of label maps."""
        return self.root / "labels"

    @property
    def planes_file(self) -> Path:
        """CSV of the finished planes."""
        return self.root / "planes.csv"

    @property
    def cases_file(self) -> Path:
        """CSV of all cases, labelled and not."""
        return self.root / "cases.csv"

    def label(self, case: str) -> Path:
        """The label map of a case."""
        return self.labels / f"{case}{FILE_ENDING}"

    def lock(self) -> None:
        """Keep other processes out of the folder until this one ends, however it ends.

        Raises:
            UserError: another process has the folder.
        """
        lock = FileLock(self.root / "annotate" / "lock")
        if not lock.take():
            raise UserError(
                f"{self.root} is being annotated already, by {lock.holder()}; go on in its page, "
                "or end it with Ctrl-C first"
            )
        self._lock = lock

    def unlock(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def settings(self) -> dict[str, Any] | None:
        """Return what an earlier run noted for all scans, or None.

        Raises:
            UserError: the file cannot be understood.
        """
        path = self._settings_file
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != SETTINGS_VERSION:
                raise ValueError(f"version {content['version']}, expected {SETTINGS_VERSION}")
            return content
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be understood ({error!r}); give another -o, or mend it") from None

    def write_settings(self, classes: Sequence[str], channel: int) -> None:
        """Note what holds for all scans."""
        write_json(self._settings_file, {"version": SETTINGS_VERSION, "classes": list(classes), "channel": channel})

    def load(self, cases: Iterable[str]) -> None:
        """Read the records of earlier runs.

        Raises:
            UserError: a record cannot be understood.
        """
        for case in cases:
            path = self._record_file(case)
            if not path.is_file():
                continue
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                z, y, x = content["shape"]
                slices = tuple(slice_from_json(each) for each in content["slices"])
                self.records[case] = Record(
                    shape=(z, y, x),
                    slices=slices,
                    label_sha256=content["label_sha256"],
                    exported=content["exported"],
                )
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} cannot be understood ({error!r}); restore it, or move it away") from None

    def keep(self, case: str, paint: Paint) -> None:
        """Write down what is painted on a case."""
        z, y, x = paint.label.shape
        slices = tuple(paint.with_drawn())
        before = self.records.get(case)
        self._write(
            case,
            replace(before, slices=slices) if before is not None else Record(shape=(z, y, x), slices=slices),
        )

    def export(self, case: str, paint: Paint, geometry: Geometry) -> None:
        """Write the label map of a case, or take it away where no slice is finished; then the list of planes."""
        self.check_mine(case)
        if paint.done:
            write_label(self.label(case), paint.label_map(), geometry)
            record = self.records[case]
            sha256 = sha256_of_file(self.label(case))
            self._write(case, replace(record, label_sha256=sha256, exported=record.content()))
        else:
            self.label(case).unlink(missing_ok=True)
        self.write_planes()

    def take_over(self, case: str, paint: Paint, path: Path | None) -> None:
        """Write down what another program left for a case; a painted label map is put aside, unchanged."""
        self.records.pop(case, None)
        self.keep(case, paint)
        if path is None:
            return
        sha256 = sha256_of_file(path)
        if (paint.label > 0).any():
            aside = self.root / "annotate" / "taken_over" / f"{sha256[:8]}_{path.name}"
            with atomic_path(aside) as temporary:
                shutil.copyfile(path, temporary)
        if path == self.label(case):
            self._write(case, replace(self.records[case], label_sha256=sha256))
        else:
            path.unlink()

    def is_exported(self, case: str) -> bool:
        """Whether the label map holds all that the record does; a killed run may have come between the two."""
        record = self.records.get(case)
        if record is None or not record.done:
            return not self.label(case).is_file()
        return self.label(case).is_file() and record.exported == record.content()

    def is_mine(self, case: str) -> bool:
        """Whether the label map, if there is one, is what this tool wrote last."""
        record, path = self.records.get(case), self.label(case)
        return not path.is_file() or (record is not None and sha256_of_file(path) == record.label_sha256)

    def check_mine(self, case: str) -> None:
        """Refuse to replace a label map that somebody else has written in the meantime.

        Raises:
            UserError: see above.
        """
        if not self.is_mine(case):
            raise UserError(
                f"{self.label(case)} was changed by another program while this page was open; "
                "stop rada-annotate and start it again: it goes on from that file"
            )

    def listed(self) -> dict[str, list[tuple[str, int, bool]]]:
        """Return (view, index, merely suggested) of each plane of an existing planes.csv, by case.

        Raises:
            UserError: the file cannot be understood.
        """
        from sparse_annotation_tools.slices.planes import read_planes_file

        if not self.planes_file.is_file():
            return {}
        planes = read_planes_file(self.planes_file)
        with self.planes_file.open(newline="", encoding="utf-8-sig") as file:
            suggested = {
                (row["case"].strip(), row["view"].strip().lower(), int(row["index"]))
                for row in csv.DictReader(file, skipinitialspace=True)
                if (row.get("state") or "").strip() == SUGGESTED
            }
        return {
            case: [(view, index, (case, view, index) in suggested) for view, index in found]
            for case, found in planes.items()
        }

    def write_planes(self) -> None:
        """Write the list of the finished planes of all scans."""
        rows = [
            (case, each.view, str(each.index)) for case, record in sorted(self.records.items()) for each in record.done
        ]
        _write_csv(self.planes_file, ("case", "view", "index"), rows)

    def write_cases(self, scans: Mapping[str, CaseFiles]) -> None:
        """Write the list of all scans: those with finished slices are labelled."""
        rows = []
        for case, files in sorted(scans.items()):
            labelled = case in self.records and bool(self.records[case].done)
            images = ";".join(os.path.relpath(image, self.root) for image in files.images)
            label = os.path.relpath(self.label(case), self.root) if labelled else ""
            rows.append((case, "labelled" if labelled else "unlabelled", images, label))
        _write_csv(self.cases_file, ("case", "role", "image", "label"), rows)

    def _write(self, case: str, record: Record) -> None:
        content = {
            "shape": list(record.shape),
            "label_sha256": record.label_sha256,
            "exported": record.exported,
            "slices": [slice_to_json(each) for each in record.slices],
        }
        write_text(self._record_file(case), json.dumps(content) + "\n")
        self.records[case] = record

    @property
    def _settings_file(self) -> Path:
        return self.root / "annotate" / "settings.json"

    def _record_file(self, case: str) -> Path:
        return self.root / "annotate" / "paint" / f"{case}.json"


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
