"""Measure how long a training step waits for its batch: run `python benchmarks/data_loading.py [--data PREPROCESSED]`.

One loader process draws, augments and labels batches while this process trains on them, as `nnUNetv2_train` does with
`nnUNet_n_proc_DA=1`. Without --data the scans are noise of 88 x 120 x 120 voxels with a ball for an organ; with it,
they are those of a preprocessed configuration that an nnUNetTrainerRADA has trained on (its side volumes are there).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from training_step import Subject, machine

from nnunetv2_rada.config import Config
from nnunetv2_rada.data.loader import Stream, TwoStreamLoader, start_loader
from nnunetv2_rada.data.randomness import TRAINING_BATCH
from nnunetv2_rada.data.side_volumes import NUM_CHANNELS, SIDE_FOLDER, Plane, save_side_volumes
from nnunetv2_rada.data.transforms import follow_augmentation
from nnunetv2_rada.epoch_progress import EpochProgress
from nnunetv2_rada.method.base import Batch

SHAPE = (88, 120, 120)
ROTATION = (-30 / 360 * 2 * np.pi, 30 / 360 * 2 * np.pi)  # nnU-Net's, as is the range of scales below
TENSORS = ("image", "label", "distance", "annotation", "plane", "confidence")


def main() -> None:
    """Train for some steps, print the waits and one JSON line."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    config = Config(base_filters=arguments.base_filters, stochastic_passes=arguments.passes)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(arguments.data) if arguments.data else make_scans(Path(made))
        drawing = time_batches(make_loader(folder, arguments.patch), arguments.steps)
        waited, seconds = time_waiting(Subject(config, torch.device("cpu")), folder, arguments.patch, arguments.steps)
    print(f"{'a batch, in its own process':<36}{mean(drawing):>10.2f} CPU-s")
    print(f"{'a training step':<36}{mean(seconds):>10.2f} s")
    print(f"{'waited for data':<36}{100 * waited:>10.1f} %")
    figures = {
        "wait_share": round(waited, 4),
        "batch_cpu_seconds": round(mean(drawing), 3),
        "step_seconds": round(mean(seconds), 3),
        "steps": arguments.steps,
        "patch": arguments.patch,
        "base_filters": arguments.base_filters,
        "passes": arguments.passes,
        "data": Path(arguments.data).name if arguments.data else "generated",
        "machine": machine(torch.device("cpu"), arguments.threads),
    }
    print(json.dumps(figures))


def time_waiting(subject: Subject, folder: Path, patch: list[int], steps: int) -> tuple[float, list[float]]:
    """Train on what one loader process draws; return the share of time spent waiting, and each step's seconds."""
    loader, progress = start_loader(make_loader(folder, patch), pin_memory=False), EpochProgress(0)
    next(loader)  # starts the process; its queue fills while the first step runs
    seconds = []
    progress.begin()
    for _ in range(steps):
        loaded = next(loader)
        with progress.iteration():
            start = time.perf_counter()
            subject.step(Batch(**{name: loaded[name].to(subject.device) for name in TENSORS}))
            seconds.append(time.perf_counter() - start)
    _, waited = progress.end()
    loader._finish()
    return waited, seconds


def make_scans(folder: Path) -> Path:
    """Write two labelled and two unlabelled cases as nnU-Net and `prepare` would."""
    rng = np.random.default_rng(0)
    centred = np.stack(np.meshgrid(*(np.arange(side) - side / 2 for side in SHAPE), indexing="ij"))
    ball = (np.square(centred).sum(axis=0) < 30**2).astype(np.int8)
    planes = tuple(Plane(axis=axis, index=side // 2, networks=(2 - axis,)) for axis, side in enumerate(SHAPE))
    for number in range(4):
        image = (ball + rng.normal(size=(1, *SHAPE))).astype(np.float32)
        nnUNetDatasetBlosc2.save_case(
            image, np.zeros((1, *SHAPE), np.int8), {"class_locations": {}}, str(folder / f"case{number}")
        )
        if number < 2:
            save_side_volumes(
                folder / SIDE_FOLDER, f"case{number}", np.broadcast_to(ball, (NUM_CHANNELS, *SHAPE)),
                np.full((1, *SHAPE), 200, np.uint8), origin=(0.0,) * 3, step=(1.0,) * 3, planes=planes, fingerprint="",
            )  # fmt: skip
    return folder


def make_loader(folder: Path, patch: list[int]) -> TwoStreamLoader:
    """Build the training loader, with nnU-Net's whole augmentation."""
    dataset = nnUNetDatasetBlosc2(str(folder))
    labelled = sorted(path.stem for path in (folder / SIDE_FOLDER).glob("*.safetensors"))
    stream = Stream(
        labelled=labelled, unlabelled=[case for case in dataset.identifiers if case not in labelled], batch_labelled=2,
        batch_unlabelled=2, views=(0, 1, 2), fused=False, foreground_fraction=1.0, seed=0, stream=TRAINING_BATCH,
    )  # fmt: skip
    stock = nnUNetTrainer.get_training_transforms(patch, ROTATION, None, (0, 1, 2), False, use_mask_for_norm=[False])
    return TwoStreamLoader(
        dataset, folder / SIDE_FOLDER, stream,
        initial_patch_size=get_patch_size(patch, ROTATION, ROTATION, ROTATION, (0.85, 1.25)), patch_size=patch,
        label_manager=LabelManager({"background": 0, "organ": 1, "ignore": 2}, None),
        transforms=follow_augmentation(stock), first_iteration=0, num_workers=1,
    )  # fmt: skip


def time_batches(loader: TwoStreamLoader, number: int) -> list[float]:
    """CPU-seconds of each batch, made in this process."""
    seconds = []
    for _ in range(number):
        start = time.process_time()
        loader.generate_train_batch()
        seconds.append(time.process_time() - start)
    return seconds


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of a preprocessed configuration with its side volumes")
    parser.add_argument("--base-filters", type=int, default=8, help="channels of the V-Net's first stage")
    parser.add_argument("--patch", type=int, nargs=3, default=[32, 48, 64], help="three multiples of 16")
    parser.add_argument("--passes", type=int, default=2, help="stochastic passes T; few leave little time to draw in")
    parser.add_argument("--steps", type=int, default=10)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--threads", type=int, default=max(1, cores - 1), help="threads of the training process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
