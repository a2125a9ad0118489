"""Build hook: put `nnunetv2_rada_autoload.pth` at the top of site-packages, in plain and in editable installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

AUTOLOAD = "nnunetv2_rada_autoload.pth"


class AutoloadHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the .pth file; hatchling's own `force-include` setting would miss editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build; `version` is "standard" or "editable" for a wheel."""
        if self.target_name != "wheel":
            return
        included = "force_include_editable" if version == "editable" else "force_include"
        build_data[included][str(Path(self.root) / AUTOLOAD)] = AUTOLOAD
