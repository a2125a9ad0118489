"""Grad-CAM for segmentation networks, over a whole scan.

Selvaraju et al., ICCV 2017 (arXiv:1610.02391), with the sum over the voxels where the network predicts the class of
Seg-Grad-CAM (Vinogradova et al., AAAI 2020, arXiv:2002.11434).

Departure from both: what is summed is not the class's logit but its log-odds, the logit minus the logsumexp of the
others. A softmax network is free to add the same map to all logits, and some do: the logit's heat then lies beside an
organ that is predicted well. The log-odds decide the prediction and do not change.

Written here and not taken from a library. MONAI's (1.6) agrees with it where both work, but its hooks refuse networks
with in-place layers, such as the guided ones here, and it explains one forward pass, scaled by its own maximum: a scan
is predicted in overlapping windows, whose maps have to share one scale. pytorch-grad-cam works by the same kind of
hooks and brings OpenCV and scikit-learn.

Shape suffixes: C image channels, F features, N outputs, XYZ space.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch import Tensor, nn
from torch.nn import functional as F

from nnunetv2_rada.method.guidance import GuidedNetwork

LAYERS = ("decoder", "bottleneck")
_STEP = 0.5  # of a window's side, as nnU-Net predicts

Window = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class Heat:
    """What one network made of one scan, on the preprocessed grid.

    Attributes:
        heat: [X, Y, Z], 0 to 1; 0 everywhere where the network predicts none of the class.
        logits: [N, X, Y, Z], without mirroring.
    """

    heat: Tensor
    logits: Tensor


def grad_cam(network: nn.Module, image: Tensor, *, value: int, patch: Sequence[int], layer: str = "decoder") -> Heat:
    """Return where the features lie that make a network predict a class.

    Each feature weighs as much as the mean gradient of the score with respect to it, over all windows; the heat is the
    positive part of the weighted sum of the features, divided by its maximum over the scan.

    Args:
        network: maps image [1, C, X, Y, Z] to logits; has a `backbone`.
        image: [C, X, Y, Z], preprocessed, on the network's device.
        value: of the class.
        patch: window that the network was trained on.
        layer: `decoder`, the features that the output convolution sees, at full resolution; or `bottleneck`, the
            deepest ones, coarse.
    """
    network.eval()
    padded, inside = pad_nd_image(image, patch, "constant", {"value": 0}, True, None)
    windows = list(_windows(padded.shape[1:], patch))
    with tapped(network, layer) as latest:
        weights = _feature_weights(network, padded, windows, value, latest)
        heat, logits = _blended(network, padded, windows, weights, latest)
    heat, logits = heat[inside[1:]], logits[(slice(None), *inside[1:])]
    return Heat(heat=heat / heat.max() if heat.max() > 0 else heat, logits=logits)


@contextmanager
def tapped(network: nn.Module, layer: str) -> Iterator[Callable[[], Tensor]]:
    """Yield a function that returns a layer's map [1, F, x, y, z] of the latest forward pass.

    The decoder's map is taken behind the guided network's GroupNorm: a gradient through a norm of single channels sums
    to zero over space, so in front of it every weight would be exactly 0.
    """
    if layer not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)}; got {layer!r}")
    taken: list[Tensor] = []
    if layer == "decoder" and isinstance(network, GuidedNetwork):  # its ReLU works in place on what is taken here
        hook = network.head_norm.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    else:
        index = LAYERS[::-1].index(layer)  # a backbone returns (bottleneck, decoder)
        backbone = cast("nn.Module", network.backbone)
        hook = backbone.register_forward_hook(lambda _module, _inputs, output: taken.append(output[index]))

    def latest() -> Tensor:
        newest = taken.pop()
        taken.clear()
        return newest

    try:
        yield latest
    finally:
        hook.remove()


def _feature_weights(
    network: nn.Module, image: Tensor, windows: Sequence[Window], value: int, latest: Callable[[], Tensor]
) -> Tensor | None:
    """[F]: mean gradient of the score; None where the class is predicted nowhere."""
    total: Tensor | None = None
    for window in windows:
        with torch.enable_grad():
            logits = network(image[window][None])[0]
            features = latest()
            region = logits.argmax(0) == value
            if region.any():
                (gradient,) = torch.autograd.grad(_log_odds(logits, value)[region].sum(), features)
                mean = gradient[0].mean(dim=(1, 2, 3))
                total = mean if total is None else total + mean
    return total


def _log_odds(logits: Tensor, value: int) -> Tensor:
    """[X, Y, Z]: log of a class's probability against all others', from logits [N, X, Y, Z]."""
    return logits[value] - torch.cat([logits[:value], logits[value + 1 :]]).logsumexp(0)


@torch.no_grad()
def _blended(
    network: nn.Module, image: Tensor, windows: Sequence[Window], weights: Tensor | None, latest: Callable[[], Tensor]
) -> tuple[Tensor, Tensor]:
    """Heat [X, Y, Z] and logits [N, X, Y, Z] of all windows, weighted towards each window's centre."""
    patch = image[windows[0]].shape[1:]
    centre = compute_gaussian(tuple(patch), value_scaling_factor=10, dtype=torch.float32, device=image.device)
    heat, times = torch.zeros_like(image[0]), torch.zeros_like(image[0])
    logits: Tensor | None = None
    for window in windows:
        output = network(image[window][None])[0].float()
        features = latest()
        if logits is None:
            logits = output.new_zeros((len(output), *image.shape[1:]))
        logits[window] += output * centre
        times[window[1:]] += centre
        if weights is not None:
            local = F.relu(torch.einsum("f,fxyz->xyz", weights, features[0].float()))
            if local.shape != patch:
                local = F.interpolate(local[None, None], size=tuple(patch), mode="trilinear")[0, 0]
            heat[window[1:]] += local * centre
    assert logits is not None  # there is at least one window
    return heat / times, logits / times


def _windows(shape: Sequence[int], patch: Sequence[int]) -> Iterator[Window]:
    """The overlapping windows that nnU-Net predicts a scan in."""
    for corner in itertools.product(*compute_steps_for_sliding_window(tuple(shape), tuple(patch), _STEP)):
        yield slice(None), *(slice(first, first + side) for first, side in zip(corner, patch, strict=True))
