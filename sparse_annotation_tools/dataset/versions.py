"""The versions of the packages that decide what a dataset holds."""

from __future__ import annotations

import importlib.metadata

_PACKAGES = ("nnunetv2-rada", "antspyx", "SimpleITK", "numpy", "scipy")


def package_versions() -> dict[str, str]:
    """Return the version of each package, by its name on PyPI."""
    return {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
