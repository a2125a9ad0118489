"""Tests of loading ANTs without the parts that registration does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
def test_all_that_ants_has_is_there_when_it_is_asked_for() -> None:
    """Every public name of a whole import, of the module and of its images, with the same kind of thing behind it."""
    names = """
kinds = {name: type(getattr(ants, name)).__name__ for name in PUBLIC}
methods = {name: callable(getattr(image, name)) for name in METHODS}
print(json.dumps([kinds, methods, type(ants.math.quantile).__name__]))
"""
    whole = """
import json
import ants
image = ants.from_numpy(__import__("numpy").ones((4, 4), "float32"))
PUBLIC = sorted(name for name in dir(ants) if not name.startswith("_"))
METHODS = sorted(name for name in dir(image) if not name.startswith("_"))
"""
    expected: Any = in_a_fresh_process(whole + names)
    assert len(expected[0]) > 100
    assert {"plot", "quantile"} <= expected[1].keys()
    light = _LIGHT + f"PUBLIC, METHODS = {list(expected[0])}, {list(expected[1])}\n"
    image = 'image = ants.from_numpy(__import__("numpy").ones((4, 4), "float32"))\n'
    assert in_a_fresh_process(light + image + names) == expected
    backwards = "PUBLIC, METHODS = PUBLIC[::-1], METHODS[::-1]\n"
    assert in_a_fresh_process(light + image + backwards + names) == expected


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("float(ants.quantile(image, 0.5))", 8.5),
        ("float(image.quantile(0.5))", 8.5),
        ("ants.plotting.__name__", "ants.plotting"),
        ("len(ants.label_stats(image, image > 8))", 2),
        ("hasattr(image, 'no_such_method')", False),
    ],
    ids=["statistics", "a method", "a part", "pandas", "nothing"],
)
def test_what_was_left_out_works_at_once(asked: str, answer: object) -> None:
    """The first thing that is asked of ANTs, whatever it is."""
    image = "image = ants.from_numpy(__import__('numpy').arange(1, 17, dtype='float32').reshape(4, 4))\n"
    assert in_a_fresh_process(f"{_LIGHT}{image}print(json.dumps({asked}))") == answer


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
