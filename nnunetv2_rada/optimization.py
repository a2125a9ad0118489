"""A method's optimizers behind the one optimizer and the one scheduler that nnU-Net's trainer knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import GradScaler, Tensor
from torch import distributed as dist
from torch.optim import Optimizer


class OptimizerSet:
    """Named optimizers that are saved and loaded as one."""

    def __init__(self, optimizers: Mapping[str, Optimizer], *, gradient_clip: float | None) -> None:
        self.optimizers = dict(optimizers)
        self.gradient_clip = gradient_clip

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Every optimizer's parameter groups; nnU-Net logs the first one's learning rate."""
        return [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rate of each optimizer by name."""
        for name, rate in rates.items():
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate

    def update(self, name: str, loss: Tensor, scaler: GradScaler | None) -> None:
        """Take one step of optimizer `name` along `loss`, with nnU-Net's clipping and loss scaling.

        Raises:
            FloatingPointError: the gradient is not finite; nothing has changed then. With loss scaling, which such a
                gradient makes smaller, the step is left out instead.
        """
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        if scaler is None:
            loss.backward()
            _average_over_ranks(optimizer)
            norm = self._clip(optimizer)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"the gradient of {name} is {float(norm)}")
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            _average_over_ranks(optimizer)
            scaler.unscale_(optimizer)
            self._clip(optimizer)
            scaler.step(optimizer)

    def _clip(self, optimizer: Optimizer) -> Tensor:
        """Clip, where that is wanted; return the norm before."""
        longest = math.inf if self.gradient_clip is None else self.gradient_clip
        return torch.nn.utils.clip_grad_norm_(_parameters(optimizer), longest)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every optimizer by name."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _average_over_ranks(optimizer: Optimizer) -> None:
    """Average gradients over the processes of a distributed run.

    A method calls its networks one by one, not through the wrapper that nnU-Net puts around them all, so nothing else
    does this. It also holds for several updates per iteration, and for parameters that one of them does not touch.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    for parameter in _parameters(optimizer):
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


class RatePerIteration:
    """Stands where nnU-Net steps its scheduler once per epoch: here the method sets the rate at every iteration."""

    def step(self, epoch: int) -> None:
        """Do nothing."""
