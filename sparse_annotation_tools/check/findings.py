"""What a check found: one line each, with how bad it is and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

LEVELS = ("error", "warning", "note", "ok")
"""`error`: training or its evaluation would go wrong; `warning`: it runs, but not as one may expect; `note`: good to
know; `ok`: looked at and right."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a check.

    Attributes:
        level: one of `LEVELS`.
        check: short name of what was looked at.
        text: what was found.
        mend: what to type next; empty where there is nothing to do.
        case: identifier of the case, where it is about one.
    """

    level: str
    check: str
    text: str
    mend: str = ""
    case: str = ""

    def __str__(self) -> str:
        """The line as printed."""
        about = f"{self.case}: " if self.case else ""
        return f"{self.level:7}  {self.check:12}  {about}{self.text}" + (f"; type: {self.mend}" if self.mend else "")


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each level."""
    levels = [finding.level for finding in findings]
    return {level: levels.count(level) for level in LEVELS}


def to_json(dataset: str, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the findings as `rada-check-dataset -o` writes them."""
    found = list(findings)
    return {"dataset": dataset, "counts": counts(found), "findings": [asdict(finding) for finding in found]}
