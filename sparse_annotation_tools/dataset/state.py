"""How far a raw dataset has come, so that a killed run goes on and a different one is refused.

While a dataset is made or updated, `.incomplete/` in its folder holds what is planned (`cases.json`) and a record of
each finished case. It goes last. `.propagated/` stays: the labels as they were propagated from each slice, before
other slices had a say in them, named by the content they were made from. An update finds there what did not change.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sparse_annotation_tools.dataset.files import expected_files, files_of_case
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import clear_leftovers, write_text
from sparse_annotation_tools.schema import CasesFile, RadaFolder
from sparse_annotation_tools.slices.planes import Plane

_SETTINGS = ("modality", "classes", "merge", "strategy", "seed", "propagation")
_OVERWRITE = "give --overwrite to make it anew, or another -d or -n"
_UPDATE = "give --update to make only what changed, --overwrite to make all of it anew, or another -d or -n"


@dataclass(frozen=True, kw_only=True)
class DatasetState:
    """The state of the raw dataset in `folder`."""

    folder: Path

    @property
    def rada(self) -> RadaFolder:
        """The dataset's `rada/` folder."""
        return RadaFolder(root=self.folder / "rada")

    @property
    def workspace(self) -> Path:
        """What exists only while the dataset is made."""
        return self.folder / ".incomplete"

    @property
    def store(self) -> Path:
        """The labels as they were propagated from each slice."""
        return self.folder / ".propagated"

    def open(self, plan: CasesFile, *, overwrite: bool, update: bool = False) -> bool:
        """Make the folder ready for `plan`; return False if it already holds exactly that, complete.

        Args:
            plan: what the folder is to hold.
            overwrite: replace a dataset of this tool that is another.
            update: turn a dataset of the same settings into the planned one, and keep what both have in common.

        Raises:
            UserError: the folder holds something else, and neither `overwrite` nor `update` is given and fits, or it
                was not made by this tool.
        """
        shutil.rmtree(self._replaced, ignore_errors=True)
        begun, complete = _load(self._plan_folder), _load(self.rada)
        if begun is None and complete is None:
            self._check_unused()
        elif overwrite:
            if begun is None or _settings_difference(begun, plan) or _lost_case(begun, plan):
                self._remove()
        elif begun is not None:
            settings = _settings_difference(begun, plan)
            if settings or (not update and _lost_case(begun, plan)):
                reason = f"{settings}; {_OVERWRITE}" if settings else f"{_lost_case(begun, plan)}; {_UPDATE}"
                raise UserError(f"{self.folder} was begun by another command: {reason}")
        elif complete is not None:
            settings, records = _settings_difference(complete, plan), _records_difference(complete, plan)
            if settings or (records and not update):
                reason = f"{settings}; {_OVERWRITE}" if settings else f"{records}; {_UPDATE}"
                raise UserError(f"{self.folder} exists and is not what this command makes: {reason}")
            if not records:
                shutil.rmtree(self.workspace, ignore_errors=True)
                return False
        self.begin(plan)
        return True

    def begin(self, plan: CasesFile) -> None:
        """Note what is planned; from here on the dataset is incomplete until `close`.

        What the folder holds and the plan does not is dropped; what both hold counts as done. Killed in between, it
        finds the same to do again.
        """
        begun, complete = _load(self._plan_folder), _load(self.rada)
        if begun is None and complete is not None:
            shutil.rmtree(self.workspace, ignore_errors=True)
            for case, record in _kept(complete, plan).items():
                if all(path.is_file() for path in files_of_case(self.folder, complete, case)):
                    self.mark_done(case, record)
        elif begun is not None:
            self._drop(begun, plan)
        plan.save(self._plan_folder)
        if complete is not None:
            self._drop(complete, plan)
            self.rada.cases_file.unlink()  # nobody is to take the dataset for complete

    def is_done(self, case: str, record: Mapping[str, Any]) -> bool:
        """Tell whether a case was finished from exactly this record."""
        try:
            return self._record_file(case).read_text(encoding="utf-8") == _record_text(record)
        except OSError:
            return False

    def mark_done(self, case: str, record: Mapping[str, Any]) -> None:
        """Note that every file of a case is in place."""
        write_text(self._record_file(case), _record_text(record))

    def propagated(self, image_sha256: str, plane: Plane, drawn: NDArray[Any], plan: CasesFile) -> tuple[Path, Path]:
        """Return where a propagated label is kept, below and above its slice; named by all that it is made from."""
        origin = [image_sha256, *plane, drawn.shape, plan.propagation, plan.seed, plan.versions]
        name = sha256(json.dumps(origin, sort_keys=True).encode() + drawn.tobytes()).hexdigest()
        return self.store / f"{name}_below.nii.gz", self.store / f"{name}_above.nii.gz"

    def close(self, propagated: Iterable[Path]) -> None:
        """Drop the workspace, what killed runs left half-written and all but these propagated labels: all is done."""
        clear_leftovers(self.folder)
        for old in {*self.store.glob("*")} - {*propagated}:
            old.unlink(missing_ok=True)
        shutil.rmtree(self.workspace)

    def _check_unused(self) -> None:
        ours = (self.workspace, self.store)
        if self.folder.exists() and any(path not in ours for path in self.folder.iterdir()):
            raise UserError(
                f"{self.folder} exists and was not made by rada-make-sparse-dataset; "
                "remove it by hand, or give another -d or -n"
            )

    def _drop(self, before: CasesFile, plan: CasesFile) -> None:
        """Remove the files and the records of `before` that `plan` does not have."""
        for case in _records(before).keys() - _kept(before, plan).keys():
            self._record_file(case).unlink(missing_ok=True)
        for path in {*expected_files(self.folder, before)} - {*expected_files(self.folder, plan)}:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or gone already
                path.parent.rmdir()

    @property
    def _replaced(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.replaced")

    @property
    def _plan_folder(self) -> RadaFolder:
        return RadaFolder(root=self.workspace)

    def _record_file(self, case: str) -> Path:
        return self.workspace / "done" / f"{case}.json"

    def _remove(self) -> None:
        self.folder.rename(self._replaced)  # at once, so that a kill leaves no half-deleted dataset behind
        shutil.rmtree(self._replaced)


def _record_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _lost_case(begun: CasesFile, plan: CasesFile) -> str | None:
    """Say which case of a begun dataset is gone. New and changed cases are no conflict: they are made anew."""
    lost = sorted(_records(begun).keys() - _records(plan).keys())
    return f"case {lost[0]} is there and not here" if lost else None


def _load(folder: RadaFolder) -> CasesFile | None:
    return CasesFile.load(folder) if folder.cases_file.is_file() else None


def _kept(before: CasesFile, plan: CasesFile) -> dict[str, Any]:
    """Return the records of the cases that `plan` has unchanged; other versions may make other files of them."""
    planned = _records(plan)
    same = before.versions == plan.versions
    return {case: record for case, record in _records(before).items() if same and planned.get(case) == record}


def _records_difference(existing: CasesFile, plan: CasesFile) -> str | None:
    """Say how the cases of a complete dataset are others than those of `plan`."""
    there, here = _records(existing), _records(plan)
    case = next((case for case in sorted({*there, *here}) if there.get(case) != here.get(case)), None)
    if case is None:
        return None
    if case not in there or case not in here:
        return f"case {case} is {'there and not here' if case in there else 'here and not there'}"
    return f"the image or the annotation of case {case} is another"


def _settings_difference(there: CasesFile, here: CasesFile) -> str | None:
    for name in _SETTINGS:
        one, other = getattr(there, name), getattr(here, name)
        if one == other:
            continue
        if isinstance(one, dict) and one.keys() == other.keys():
            key = next(key for key in one if one[key] != other[key])
            return f"{name} {key} is {one[key]} there and {other[key]} here"
        return f"{name} is {one} there and {other} here"
    return None


def _records(cases_file: CasesFile) -> dict[str, Any]:
    return {**{name: asdict(case) for name, case in cases_file.cases.items()}, **cases_file.test}
