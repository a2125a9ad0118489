"""Random state from (seed, stream, iteration) alone, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Streams keep the random numbers of one iteration's uses apart.
INITIALISATION, TRAINING_STEP, TRAINING_BATCH, VALIDATION_BATCH = range(4)


def seed_all(seed: int, stream: int, iteration: int, rank: int = 0) -> None:
    """Seed Python, numpy and torch (every device) from (seed, stream, iteration, rank)."""
    for_random, for_numpy, for_torch = np.random.SeedSequence([seed, stream, iteration, rank]).generate_state(3)
    random.seed(int(for_random))
    np.random.seed(for_numpy)
    torch.manual_seed(int(for_torch))


@contextmanager
def seeded(seed: int, stream: int, iteration: int, rank: int = 0) -> Iterator[None]:
    """Run a block under `seed_all`; put the previous CPU random states back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    # Not torch.manual_seed: a loader that runs in the training process must leave the GPU's generator alone.
    for_random, for_numpy, for_torch = np.random.SeedSequence([seed, stream, iteration, rank]).generate_state(3)
    random.seed(int(for_random))
    np.random.seed(for_numpy)
    torch.default_generator.manual_seed(int(for_torch))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])
