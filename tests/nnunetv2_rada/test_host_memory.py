"""Tests of keeping freed memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PAGES_OF_A_SECOND_ARRAY = """
import resource, sys
import numpy as np
from nnunetv2_rada.host_memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(64 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(64 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_was_freed_is_used_again() -> None:
    """A second array of 64 MiB takes no new pages from the system; by default it takes all of them."""

    def new_pages(mode: str) -> int:
        command = [sys.executable, "-c", _PAGES_OF_A_SECOND_ARRAY, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    kept, by_default = new_pages("keep"), new_pages("default")
    assert kept < by_default / 4


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is called that it may not have."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    from nnunetv2_rada.host_memory import keep_freed_memory

    assert keep_freed_memory() is False
