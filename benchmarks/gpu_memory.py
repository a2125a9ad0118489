"""Estimate the GPU memory of a training step: run `python benchmarks/gpu_memory.py`. It needs no GPU and takes seconds.

One step is carried out with torch's fake tensors, which have shapes and no content, up to its first update: by then the
graphs of all networks are held at once, which is the step's peak. What autograd keeps for the backward pass is added,
each storage once, and so are weights, gradients and momenta.

The result is an estimate, not a measurement. `single precision` is exact for what it counts. nnU-Net trains in mixed
precision on a GPU, where convolutions, BatchNorm and ReLU keep their maps in half precision: `mixed precision` halves
every kept map, although those of GroupNorm and the losses stay whole, so it is a little low. Not counted: work space of
cuDNN, gradients of single maps during the backward pass, memory that the allocator holds without use, and the CUDA
context (about 0.5 GiB).
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import Batch, Method
from nnunetv2_rada.plan_section import training_patch

VIEWS = ("sagittal", "coronal", "axial")
EMBEDDING_DIM = 512
DEFAULT_PATCH = (112, 112, 80)
GIB = 2**30
CASES = (
    ("default", {}, DEFAULT_PATCH),
    ("half the filters", {"base_filters": 8}, DEFAULT_PATCH),
    ("half the batch", {"batch_labelled": 1, "batch_unlabelled": 1}, DEFAULT_PATCH),
    ("half the patch", {"max_patch_voxels": 500_000}, tuple(training_patch(DEFAULT_PATCH, 500_000))),
)


def main() -> None:
    """Print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print("estimates for three V-Nets, one image channel, one class; GiB of GPU memory")
    print(f"{'settings':<18} {'patch':<12} {'batch':>5} {'single precision':>17} {'mixed precision':>16}")
    figures = {}
    for name, changes, patch in CASES:
        config = replace(Config(), **changes)
        kept, fixed = step_bytes(config, patch)
        single, mixed = (kept + fixed) / GIB, (kept / 2 + fixed) / GIB
        batch = config.batch_labelled + config.batch_unlabelled
        sides = "x".join(map(str, patch))
        print(f"{name:<18} {sides:<12} {batch:>5} {single:>17.1f} {mixed:>16.1f}")
        figures[name] = {"patch": patch, "batch": batch, "single_gib": round(single, 2), "mixed_gib": round(mixed, 2)}
    print(json.dumps({"gpu_memory_estimate": figures, "torch": torch.__version__, "machine": platform.platform()}))


def step_bytes(config: Config, patch: Sequence[int]) -> tuple[int, int]:
    """Return bytes of maps that are kept for the backward pass, and of weights, gradients and momenta; in fp32."""
    with FakeTensorMode():
        method = make_method(
            config, in_channels=1, num_classes=2, text_dim=EMBEDDING_DIM, image_dim=EMBEDDING_DIM, views=VIEWS
        )
        maps = _kept_bytes(method, _batch(config, patch), config.num_iterations // 2)
    return maps, 3 * sum(4 * parameter.numel() for parameter in method.networks.parameters())


def _kept_bytes(method: Method, batch: Batch, iteration: int) -> int:
    weights = {tensor.untyped_storage()._cdata for tensor in method.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            kept[storage] = tensor  # held, so that no other storage takes its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next(method.step(batch, iteration))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _batch(config: Config, patch: Sequence[int]) -> Batch:
    labelled = config.batch_labelled
    total = labelled + config.batch_unlabelled
    views = len(VIEWS)
    return Batch(
        image=torch.empty(total, 1, *patch),
        label=torch.empty(labelled, views, *patch, dtype=torch.int16),
        distance=torch.empty(labelled, views, *patch),
        annotation=torch.empty(labelled, *patch, dtype=torch.int16),
    )


if __name__ == "__main__":
    main()
