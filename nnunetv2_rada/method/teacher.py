"""A teacher that follows a student: the exponential moving average of its parameters."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

CEILING = 0.99  # largest share of itself that the teacher keeps at an update

Network = TypeVar("Network", bound=nn.Module)


def make_teacher(student: Network) -> Network:
    """Return a copy that takes no gradient."""
    teacher = deepcopy(student)
    return teacher.requires_grad_(False)


def warm_decay(iteration: int) -> float:
    """Return a = min(1 - 1/(t+1), .99): the teacher is the student after the first update, then follows slower."""
    return min(1 - 1 / (iteration + 1), CEILING)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Set each parameter of the teacher to `decay` * itself + (1 - `decay`) * the student's.

    Buffers are left alone: as published, BatchNorm's statistics are those of the teacher's own passes.
    """
    for mean, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)
