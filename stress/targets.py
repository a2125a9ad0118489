"""What the fuzz run reads.

Each target has one or more whole files, the changes made to them, and a check that reads the changed file with the
package.
"""

from __future__ import annotations

from pathlib import Path

from list_targets import list_targets
from record_targets import record_targets
from target import Target
from volume_targets import volume_targets


def all_targets(folder: Path) -> list[Target]:
    """Return every target; files that whole ones name, and whole files themselves, are written to `folder`."""
    return [*volume_targets(folder), *list_targets(folder), *record_targets(folder)]
