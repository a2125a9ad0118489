"""What several processes of one training must not do at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed as dist


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Let rank 0 run the block first and the others after it: they find its files made and make none.

    Without a process group it is a plain block.
    """
    several = dist.is_available() and dist.is_initialized()
    if several and dist.get_rank() != 0:
        dist.barrier()
    yield
    if several and dist.get_rank() == 0:
        dist.barrier()
