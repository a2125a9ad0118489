"""Tests of loading ANTs without the parts that registration does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_LIGHT = """
import json, sys
from sparse_annotation_tools.propagation.ants_library import load_ants
ants = load_ants()
heavy = [name for name in ("matplotlib", "pandas", "statsmodels", "sklearn", "scipy.stats") if name in sys.modules]
"""


def in_a_fresh_process(program: str, *first: Path) -> object:
    """Return what a program prints as JSON; ANTs can be loaded only once in a process, from `first` if it is there."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*first, os.environ.get("PYTHONPATH", "")]))}
    done = subprocess.run([sys.executable, "-c", program], env=variables, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def test_plots_and_statistics_are_not_loaded() -> None:
    """Registration needs nothing of what they need."""
    assert in_a_fresh_process(f"{_LIGHT}print(json.dumps(heavy))") == []


@pytest.mark.slow
def test_all_that_ants_has_is_there_when_it_is_used() -> None:
    """Every public name of a whole import; functions that were left out, and one that uses pandas, work."""
    program = """
import numpy
image = ants.from_numpy(numpy.arange(1, 17, dtype=numpy.float32).reshape(4, 4))
results = [float(ants.quantile(image, 0.5)), callable(ants.plot), len(ants.label_stats(image, image > 8))]
light = ants
for name in [name for name in sys.modules if name.partition(".")[0] == "ants"]:
    del sys.modules[name]
import ants
names = [name for name in dir(ants) if not name.startswith("_")]
print(json.dumps([len(names) > 100, [name for name in names if not hasattr(light, name)], *results]))
"""
    assert in_a_fresh_process(_LIGHT + program) == [True, [], 8.5, True, 2]


def test_a_name_that_ants_does_not_have_is_missing_as_ever() -> None:
    """With the error of any module."""
    program = "print(json.dumps([hasattr(ants, name) for name in ('no_such_name', '__no_such_name__')]))"
    assert in_a_fresh_process(_LIGHT + program) == [False, False]


def test_a_release_that_needs_everything_at_once_is_loaded_as_a_whole(tmp_path: Path) -> None:
    """What a newer ANTs does while it is imported is not known."""
    (tmp_path / "ants").mkdir()
    (tmp_path / "ants" / "__init__.py").write_text(
        "import pandas\nnames = [kind.__name__ for kind in pandas.Index.mro()]\n"
    )
    program = "print(json.dumps([ants.__file__, ants.names[0], 'pandas' in sys.modules]))"
    assert in_a_fresh_process(_LIGHT + program, tmp_path) == [str(tmp_path / "ants" / "__init__.py"), "Index", True]


def test_what_cannot_be_loaded_raises_its_own_error(tmp_path: Path) -> None:
    """ANTs that is broken, or not there, is not hidden."""
    (tmp_path / "ants.py").write_text("import no_such_library\n")
    program = """
import json
from sparse_annotation_tools.propagation.ants_library import load_ants
try:
    load_ants()
except ImportError as error:
    print(json.dumps(str(error)))
"""
    assert in_a_fresh_process(program, tmp_path) == "No module named 'no_such_library'"
