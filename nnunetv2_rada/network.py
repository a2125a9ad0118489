"""The module that nnU-Net sees as its network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nnunetv2_rada.clean_exit import ends_cleanly
from nnunetv2_rada.method.base import Method
from sparse_annotation_tools.errors import UserError


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

    @ends_cleanly
    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned.

        Weights of other networks, such as for another number of classes, end the command with one line: prediction
        calls this without any of our code around it.
        """
        if strict and (difference := weights_difference(state_dict, self.state_dict())):
            raise UserError(
                f"the checkpoint is of other networks ({difference}): of another number of classes or channels, or of "
                "another trainer or settings; give a checkpoint of this dataset and trainer"
            )
        self.has_loaded_weights = True
        return self.method.networks.load_state_dict(state_dict, strict=strict, assign=assign)


def weights_difference(loaded: Any, own: dict[str, Any]) -> str:
    """Return in words where weights are of other networks; empty if they are not."""
    for name in own:
        if name not in loaded:
            return f"{name} is not in it"
        if loaded[name].shape != own[name].shape:
            return f"{name} is {_sides(loaded[name])} there, {_sides(own[name])} here"
    return next((f"{name} is only in it" for name in loaded if name not in own), "")


def _sides(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "one number"
