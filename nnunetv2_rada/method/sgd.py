"""The optimizer of every method, and its learning rate."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import schedules

# momentum, weight decay, Nesterov
_SETTINGS = {"paper": (0.9, 1e-4, False), "nnunet": (0.99, 3e-5, True)}


def make_sgd(parameters: Iterable[nn.Parameter], config: Config) -> SGD:
    """Return SGD as the paper has it, or as nnU-Net does: with Nesterov's momentum of .99."""
    momentum, weight_decay, nesterov = _SETTINGS[config.optimizer]
    rate = config.learning_rate
    return SGD(parameters, lr=rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


def learning_rate(iteration: int, config: Config) -> float:
    """Return the rate at an iteration: the paper's steps, or nnU-Net's polynomial."""
    schedule = schedules.learning_rate if config.optimizer == "paper" else schedules.polynomial_learning_rate
    return schedule(iteration, config.num_iterations, config.learning_rate)
