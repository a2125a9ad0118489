"""ANTs in a sixth of the time that `import ants` takes: plots and statistics are loaded when somebody uses them.

Every process of a command loads ANTs before it can register anything. Most of that goes into matplotlib, statsmodels,
scikit-learn and pandas, of which registration needs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_NAME = "ants"
_PARTS = ("ants.deeplearn", "ants.learn", "ants.math.quantile", "ants.plotting")
_LIBRARIES = ("pandas", "requests")


def load_ants() -> Any:
    """Return the module `ants`; what it defines in its parts for plots and statistics loads at first use."""
    if _NAME not in sys.modules:
        try:
            with _placeholders():
                vars(importlib.import_module(_NAME))["__getattr__"] = _from_parts
        except (AttributeError, ImportError, TypeError):  # a release that needs one of them at once
            for name in [each for each in sys.modules if each.partition(".")[0] == _NAME]:
                del sys.modules[name]
    return importlib.import_module(_NAME)


@contextlib.contextmanager
def _placeholders() -> Iterator[None]:
    """Let imports of what is not needed find something that loads nothing."""
    placeholders = {name: _Placeholder(name) for name in (*_PARTS, *_LIBRARIES) if name not in sys.modules}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name in placeholders:
            del sys.modules[name]


class _Placeholder(ModuleType):
    """Stands for a module that has not been loaded, and stays where a module of ANTs has it by name."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is not self:  # ANTs is loaded
            return getattr(importlib.import_module(self.__name__), name)
        if name.startswith("__"):  # it has no __all__, so `import *` takes nothing
            raise AttributeError(name)

        def function(*arguments: Any, **options: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*arguments, **options)

        return function


def _from_parts(name: str) -> Any:
    """Return what `ants` would have, had it been imported as a whole (PEP 562)."""
    if not name.startswith("__"):
        there = filter(importlib.util.find_spec, _PARTS)  # older ANTs has fewer
        for part in map(importlib.import_module, there):
            if hasattr(part, name):
                return getattr(part, name)
    raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
