"""What holds for every command of the distribution."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
SCRIPTS = dict(re.findall(r'^(rada-[a-z-]+) = "([\w.:]+)"$', PYPROJECT.read_text(), flags=re.MULTILINE))
HEAVY = {"numpy", "scipy", "SimpleITK", "torch", "ants", "open_clip", "nnunetv2", "matplotlib"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_comes_at_once(name: str) -> None:
    """--help names the command, ends with status 0, and imports nothing heavy."""
    module, function = SCRIPTS[name].split(":")
    code = (
        f"import sys\nfrom {module} import {function} as main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"usage: {name}")
    assert finished.stderr.strip() == "[]"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_ends_with_what_to_type_next(name: str) -> None:
    """Each has a last line that begins with `next: `; what stands there is for its own tests."""
    module = PYPROJECT.parent / (SCRIPTS[name].partition(":")[0].replace(".", "/") + ".py")
    assert "next: " in module.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_unknown_option_ends_with_status_2(name: str) -> None:
    """A mistyped option is refused with the usage, not with a traceback."""
    module, function = SCRIPTS[name].split(":")
    code = f"from {module} import {function} as main\nraise SystemExit(main(['--no-such-option']))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
