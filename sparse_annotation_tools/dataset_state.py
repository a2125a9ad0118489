"""How far a raw dataset has come, so that a killed run goes on and a different one is refused.

While a dataset is made, `.incomplete/` in its folder holds what is planned (`cases.json`), a record of each finished
case, and the labels propagated so far, named by the content they were made from. It goes last.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sparse_annotation_tools.atomic import write_text
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import CasesFile, RadaFolder

_SETTINGS = ("modality", "classes", "merge", "strategy", "seed", "propagation")
_OVERWRITE = "give --overwrite to make it anew, or another -d or -n"


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

    def open(self, plan: CasesFile, *, overwrite: bool) -> bool:
        """Make the folder ready for `plan`; return False if it already holds exactly that, complete.

        Raises:
            UserError: the folder holds something else, and `overwrite` is not given or it was not made by this tool.
        """
        shutil.rmtree(self._replaced, ignore_errors=True)
        if self._plan_folder.cases_file.is_file():
            conflict = _conflict(CasesFile.load(self._plan_folder), plan)
            if conflict and not overwrite:
                raise UserError(f"{self.folder} was begun by another command: {conflict}; {_OVERWRITE}")
            if conflict:
                self._remove()
        elif self.rada.cases_file.is_file():
            if overwrite:
                self._remove()
            else:
                difference = _difference(CasesFile.load(self.rada), plan)
                if difference:
                    raise UserError(
                        f"{self.folder} exists and is not what this command makes: {difference}; {_OVERWRITE}"
                    )
                shutil.rmtree(self.workspace, ignore_errors=True)
                return False
        elif self.folder.exists() and any(path != self.workspace for path in self.folder.iterdir()):
            raise UserError(
                f"{self.folder} exists and was not made by rada-make-sparse-dataset; "
                "remove it by hand, or give another -d or -n"
            )
        self.begin(plan)
        return True

    def begin(self, plan: CasesFile) -> None:
        """Note what is planned; from here on the dataset is incomplete until `close`."""
        plan.save(self._plan_folder)

    def is_done(self, case: str, record: dict[str, Any]) -> bool:
        """Tell whether a case was finished from exactly this record."""
        try:
            return self._record_file(case).read_text(encoding="utf-8") == _record_text(record)
        except OSError:
            return False

    def mark_done(self, case: str, record: dict[str, Any]) -> None:
        """Note that every file of a case is in place."""
        write_text(self._record_file(case), _record_text(record))

    def propagated(
        self, image_sha256: str, axis: int, index: int, drawn: NDArray[Any], settings: dict[str, Any], seed: int
    ) -> Path:
        """Return where a propagated label is kept, named by everything that it is made from."""
        made_from = json.dumps([image_sha256, axis, index, settings, seed, drawn.shape], sort_keys=True)
        return self.workspace / "propagated" / f"{sha256(made_from.encode() + drawn.tobytes()).hexdigest()}.nii.gz"

    def close(self) -> None:
        """Drop the workspace and what killed runs left half-written: the dataset is complete."""
        for leftover in self.folder.rglob(".partial-*"):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(self.workspace)

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


def _record_text(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _conflict(begun: CasesFile, plan: CasesFile) -> str | None:
    """Say why a begun dataset cannot go on as `plan`. New and changed cases are no reason: they are made anew."""
    lost = sorted({*begun.cases, *begun.test} - {*plan.cases, *plan.test})
    return _settings_difference(begun, plan, (*_SETTINGS, "versions")) or (
        f"case {lost[0]} is there and not here" if lost else None
    )


def _difference(existing: CasesFile, plan: CasesFile) -> str | None:
    """Say how a complete dataset is another than `plan`."""
    there, here = _records(existing), _records(plan)
    case = next((case for case in sorted({*there, *here}) if there.get(case) != here.get(case)), None)
    reason = _settings_difference(existing, plan, _SETTINGS)
    if reason or case is None:
        return reason
    if case not in there or case not in here:
        return f"case {case} is {'there and not here' if case in there else 'here and not there'}"
    return f"the image or the annotation of case {case} is another"


def _settings_difference(there: CasesFile, here: CasesFile, names: tuple[str, ...]) -> str | None:
    for name in names:
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
