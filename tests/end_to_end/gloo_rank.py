"""One process of a training over several devices, on CPUs: `python gloo_rank.py RANK WORLD_SIZE RENDEZVOUS OUTPUT`.

What nnU-Net's own launcher does but for NCCL and GPUs: the group speaks gloo, BatchNorm is not synchronised, and the
wrapper holds no device. With a WORLD_SIZE of 0 there is no group: one process takes the batches of ranks 0 and 1, one
after the other, for the same weights. OUTPUT gets the gradients of the first iteration, what this process saw, which
side volumes it made, and the weights at the end.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as host
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_rada.data import side_volumes

CPU = torch.device("cpu")
Gradients = dict[str, list[torch.Tensor]]


def main(rank: int, world_size: int, rendezvous: str, output: str) -> None:
    """Train as one of several processes, or compute for all of them what the first iteration should give."""
    torch.nn.SyncBatchNorm.convert_sync_batchnorm = staticmethod(lambda module: module)
    host.DDP = lambda network, device_ids: DistributedDataParallel(network)
    made: list[str] = []
    make = side_volumes.make
    side_volumes.make = lambda case, *arguments: (made.append(case), make(case, *arguments))[1]
    if world_size:
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world_size)
        found = train()
        dist.destroy_process_group()
    else:
        found = in_one_process(ranks=2)
    torch.save({**found, "made": made}, output)


def make_trainer() -> Any:
    """Return the trainer, which believes in several GPUs where there is a group."""
    trainer = get_trainer_from_args("901", "3d_fullres", 0, "nnUNetTrainerRADA", device=CPU)
    trainer.device, trainer.grad_scaler = CPU, None
    return trainer


def train() -> dict[str, Any]:
    """Train to the end, validation included."""
    trainer = make_trainer()
    iteration, gradients, cases, images = trainer._iteration, [], [], []

    def watched(loaded: dict[str, Any]) -> dict[str, float]:
        cases.extend(loaded["keys"])
        images.append(loaded["image"].clone())
        result, taken = with_gradients(trainer, lambda: iteration(loaded))
        gradients.append(taken)
        return result

    trainer._iteration = watched
    trainer.run_training()
    trainer.perform_actual_validation(False)
    weights = trainer.method_network.state_dict()
    return {"gradients": gradients[0], "cases": cases, "images": images, "weights": weights}


def in_one_process(ranks: int) -> dict[str, Any]:
    """Return the mean gradients that the first batches of all ranks give, each with BatchNorm of its own."""
    trainer = make_trainer()
    trainer.on_train_start()
    start = copy.deepcopy(trainer.method_network.state_dict())
    of_ranks = []
    for trainer.local_rank in range(ranks):
        trainer.method_network.load_state_dict(start)
        batches, _ = trainer.get_dataloaders()
        loaded = next(iter(batches))
        of_ranks.append(with_gradients(trainer, lambda loaded=loaded: trainer._iteration(loaded), step=False)[1])
    names = of_ranks[0].keys()
    mean = {
        name: [torch.stack(each).mean(0) for each in zip(*(taken[name] for taken in of_ranks), strict=True)]
        for name in names
    }
    return {"gradients": mean}


def with_gradients(trainer: Any, run: Callable[[], Any], *, step: bool = True) -> tuple[Any, Gradients]:
    """Run an iteration; return its result and the gradients that each optimizer is about to apply."""
    taken: Gradients = {}
    optimizers = trainer.optimizer.optimizers
    hooks = []
    for name, optimizer in optimizers.items():

        def take(optimizer: torch.optim.Optimizer, *_: Any, name: str = name) -> None:
            parameters = list(itertools.chain.from_iterable(group["params"] for group in optimizer.param_groups))
            taken[name] = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
            if not step:
                optimizer.zero_grad()  # without gradients, a step changes nothing

        hooks.append(optimizer.register_step_pre_hook(take))
    result = run()
    for hook in hooks:
        hook.remove()
    return result, taken


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], str(Path(sys.argv[4])))
