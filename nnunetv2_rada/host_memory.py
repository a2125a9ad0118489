"""Memory of a training on the CPU: what one iteration frees is kept for the next one."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = -1
_LARGEST_ON_HEAP = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let this process keep the memory of large arrays that it frees; return whether the C library can be told so.

    By default glibc returns every freed block of more than 32 MiB to the system at once, and smaller ones as soon as
    they lie at the heap's end. A training step allocates the same maps again and again, so the kernel hands out, and
    fills with zeros, gigabytes of pages a step: a fifth to two fifths of the CPU time (docs/speed.md). Kept memory
    costs an eighth more at a step's peak. It changes no result. Only glibc on Linux is told; PyTorch keeps the memory
    of GPUs by itself.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    told = (libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ON_HEAP), libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))
    return all(told)
