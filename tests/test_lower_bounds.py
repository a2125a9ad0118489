"""The releases that `make test-lower-bounds` installs are those that pyproject.toml promises to work with."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.version import Version

# As Python 3.10 reads no TOML: every text of the form "name>=version", with or without an upper bound.
REQUIREMENT = re.compile(r'"([A-Za-z0-9_.-]+)>=([0-9.]+)(?:,<[0-9.]+)?"')


def test_every_lower_bound_is_the_release_that_is_tested(repository: Path) -> None:
    """None is missing, and none is lower or higher than what is run."""
    promised = dict(REQUIREMENT.findall((repository / "pyproject.toml").read_text(encoding="utf-8")))
    lines = (repository / "tests" / "lower_bounds.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert len(promised) > 20
    assert {name: Version(text) for name, text in promised.items()} == {
        name: Version(text) for name, text in tested.items()
    }
