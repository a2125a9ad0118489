"""ANTs in less than a tenth of the time of `import ants`: plots and statistics are loaded when somebody uses them.

Every process of a command loads ANTs before it can register anything. Most of that goes into matplotlib, statsmodels,
scikit-learn and pandas, of which registration needs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_NAME = "ants"
_PARTS = ("ants.deeplearn", "ants.learn", "ants.math.quantile", "ants.plotting")
_LIBRARIES = ("pandas", "requests")
_LOCK = threading.Lock()


def load_ants() -> Any:
    """Return the module `ants`; its parts for plots and statistics are loaded when something of them is asked for.

    While it is imported, other threads must not import what `_LIBRARIES` names.
    """
    with _LOCK:
        if _NAME not in sys.modules:
            try:
                with _placeholders():
                    ants = importlib.import_module(_NAME)
                vars(ants)["__getattr__"] = _from_parts
                vars(sys.modules[f"{_NAME}.core.ants_image"])["ANTsImage"].__getattr__ = _method_from_parts
            except (AttributeError, ImportError, KeyError, TypeError):  # a release that is made in another way
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
            sys.modules.pop(name, None)


class _Placeholder(ModuleType):
    """Stands for a module that has not been loaded, and stays where a module of ANTs has it by name."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is not self:  # ANTs is loaded
            return getattr(_load(self.__name__), name)
        if name.startswith("__"):  # it has no __all__, so `import *` takes nothing
            raise AttributeError(name)

        def function(*arguments: Any, **options: Any) -> Any:
            return getattr(_load(self.__name__), name)(*arguments, **options)

        return function


def _load(name: str) -> ModuleType:
    """Load a module that a placeholder stood for; a function of its name, in the package above, stays that."""
    module = importlib.import_module(name)
    package, _, last = name.rpartition(".")
    if package and hasattr(module, last):
        setattr(sys.modules[package], last, getattr(module, last))
    return module


def _load_parts() -> list[ModuleType]:
    return [_load(part) for part in _PARTS if importlib.util.find_spec(part)]  # older ANTs has fewer


def _from_parts(name: str) -> Any:
    """Return what `ants` would have, had it been imported as a whole (PEP 562)."""
    if not name.startswith("__"):
        for part in _load_parts():
            if part.__name__ == f"{_NAME}.{name}":
                return part
            if hasattr(part, name):
                return getattr(part, name)
    raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")


def _method_from_parts(image: Any, name: str) -> Any:
    """Return a method that images would have: the parts add some of theirs to the class."""
    if not name.startswith("__"):
        _load_parts()
        if name in vars(type(image)):
            return getattr(image, name)
    raise AttributeError(f"{type(image).__name__!r} object has no attribute {name!r}")
