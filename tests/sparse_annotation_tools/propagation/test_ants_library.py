"""Tests of loading ANTs without the parts that registration does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_LIGHT = """
import json, sys
from sparse_annotation_tools.propagation.ants_library import load_ants
ants = load_ants()
heavy = [name for name in ("matplotlib", "pandas", "statsmodels", "sklearn", "scipy.stats") if name in sys.modules]
"""


def in_a_fresh_process(program: str) -> object:
    """Return what a program prints as JSON; ANTs can be loaded only once in a process."""
    return json.loads(subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout)


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
