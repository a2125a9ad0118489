"""The module that nnU-Net sees as its network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nnunetv2_rada.method.base import Method


class MethodNetwork(nn.Module):
    """A training method behind nnU-Net's idea of a network: logits out, and the weights that prediction needs.

    Its state dict is that of the method's `networks` alone: teachers and discriminators are not saved as weights, and
    prediction rebuilds the module from plans.json.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.has_loaded_weights = False
        """Whether its weights came from a checkpoint, of this run or (-pretrained_weights) of another."""

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [B, N, X, Y, Z], a fresh tensor (nnU-Net writes into it)."""
        return self.method.predict(image)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the weights and buffers of the method's networks."""
        return self.method.networks.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned."""
        self.has_loaded_weights = True
        return self.method.networks.load_state_dict(state_dict, strict=strict, assign=assign)
