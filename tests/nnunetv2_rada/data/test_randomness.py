"""Random states by (seed, stream, iteration)."""

import random

import numpy as np
import torch

from nnunetv2_rada.data.randomness import TRAINING_BATCH, TRAINING_STEP, seeded


def draw(*key):
    """Draw from all three generators."""
    with seeded(*key):
        return random.random(), np.random.rand(), torch.rand(1).item()


def test_the_same_key_draws_the_same_numbers():
    """A block depends on its key alone, not on what was drawn before."""
    first = draw(0, TRAINING_BATCH, 5)
    torch.rand(3), np.random.rand(7)
    assert draw(0, TRAINING_BATCH, 5) == first


def test_seed_stream_iteration_and_rank_each_change_the_numbers():
    """No two keys share their numbers."""
    keys = [(0, TRAINING_BATCH, 5), (1, TRAINING_BATCH, 5), (0, TRAINING_STEP, 5), (0, TRAINING_BATCH, 6)]
    drawn = {draw(*key) for key in keys} | {draw(0, TRAINING_BATCH, 5, 1)}
    assert len(drawn) == 5


def test_the_states_outside_are_put_back():
    """What follows the block is what would have followed without it."""
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    draw(0, TRAINING_BATCH, 5)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
