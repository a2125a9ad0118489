"""Time a training step against the published structure: run `python benchmarks/training_step.py`.

The published structure (settings `updates: sequential`, `stochastic_norm: batch`) draws three batches and updates one
network after the other. For each update, both peers run on that network's unlabelled half without gradients but with
BatchNorm in training mode: once for their argmax, and T stochastic passes, two at a time. With T = 8 that is 33 network
calls a step. Ours shares one batch, takes the argmax from the training forward, runs each network's stochastic passes
once for both peers, folds BatchNorm into the convolutions there, and lets those passes share the noise on their input,
and so an encoder run; with the setting `stochastic_noise: each` they do not. The steps are timed in turns, with the
same weights, patch and losses.

`--scaling` times our step and measures its peak memory for patches of 32 to 112 voxels a side and 1, 2 and 4 classes
instead. What data costs, `benchmarks/data_loading.py` measures by itself.
"""

from __future__ import annotations

import os

# Waiting threads sleep instead of spinning, so that CPU-seconds count work alone. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import math
import multiprocessing
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from nnunetv2_rada.config import Config
from nnunetv2_rada.host_memory import keep_freed_memory
from nnunetv2_rada.method import co_training, make_method
from nnunetv2_rada.method.base import UNKNOWN, Batch

VIEWS = ("sagittal", "coronal", "axial")
EMBEDDING_DIM = 512
ITERATION = 3000  # the middle of training; no cost depends on it
SMALL = (16, 16, 16)
SIDES = (32, 48, 64, 80, 96, 112)  # of --scaling
WAITING_STEPS = 2
ROUNDS_S = 75  # no further round is begun that would end later than this

Clock = Callable[[], float]


def main() -> None:
    """Time both structures in turns, print a table and one JSON line."""
    arguments = _parse()
    if arguments.scaling:
        measure_scaling(arguments)
        return
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = _device(arguments.device)
    clock = _clock(device)
    config = Config(base_filters=arguments.base_filters, stochastic_passes=arguments.passes)
    each = replace(config, stochastic_noise="each")
    published = Subject(replace(each, updates="sequential", stochastic_norm="batch"), device)
    ours, unshared = Subject(config, device), Subject(each, device)
    three, one = draw_batch(arguments.patch, device, batches=len(VIEWS)), draw_batch(arguments.patch, device)
    runs: dict[str, Callable[[], None]] = {
        "published fp32": lambda: published.step(three),
        "ours fp32": lambda: ours.step(one),
        "noise not shared fp32": lambda: unshared.step(one),
    }
    if _has_bf16(device):
        runs["ours bf16"] = lambda: ours.step(one, autocast=torch.bfloat16)
        runs["noise not shared bf16"] = lambda: unshared.step(one, autocast=torch.bfloat16)

    for subject, batches in ((published, len(VIEWS)), (ours, 1), (unshared, 1)):  # allocates momentum, loads kernels
        subject.step(draw_batch(SMALL, device, batches=batches))
    seconds = time_in_turns(runs, clock, rounds=arguments.rounds)
    parts = time_parts(ours, one, clock)
    waited = share_of_waiting(ours, arguments.patch)

    unit = "CPU-s" if device.type == "cpu" else "s"
    best = {name: min(values) for name, values in seconds.items()}
    print(
        f"{arguments.base_filters} base filters, patch {'x'.join(map(str, arguments.patch))}, 2 + 2 samples, "
        f"T = {arguments.passes}, {len(seconds['ours fp32'])} rounds in turns"
    )
    print(f"{'step':<28}{unit + ' (best)':>14}{'of published':>14}")
    for name, value in best.items():
        print(f"{name:<28}{value:>14.2f}{value / best['published fp32']:>14.2f}")
    print(f"\n{'of ours, fp32':<28}{unit:>14}{'share':>14}")
    for name, value in parts.items():
        print(f"{name:<28}{value:>14.2f}{value / sum(parts.values()):>14.2f}")
    print(f"waiting for data, with one loader process: {waited:.3f} of the time")

    def ratio(name: str) -> float | None:
        """Median over rounds: both steps of a round ran under the same load."""
        if name not in seconds:
            return None
        pairs = zip(seconds[name], seconds["published fp32"], strict=True)
        return round(median(own / reference for own, reference in pairs), 3)

    figures = {
        "ratio_fp32": ratio("ours fp32"),
        "ratio_bf16": ratio("ours bf16"),
        "ratio_noise_not_shared_fp32": ratio("noise not shared fp32"),
        "ratio_noise_not_shared_bf16": ratio("noise not shared bf16"),
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "seconds_are": unit,
        "parts": {name: round(value, 3) for name, value in parts.items()},
        "data_wait_share": round(waited, 4),
        "base_filters": arguments.base_filters,
        "patch": arguments.patch,
        "passes": arguments.passes,
        "machine": machine(device, arguments.threads),
    }
    print(json.dumps(figures))


class Subject:
    """Three guided networks with their optimizers."""

    def __init__(self, config: Config, device: torch.device, *, classes: int = 1) -> None:
        torch.manual_seed(config.seed)
        method = make_method(
            config, in_channels=1, num_classes=classes + 1, text_dim=EMBEDDING_DIM, image_dim=EMBEDDING_DIM, views=VIEWS
        )
        assert isinstance(method, co_training.CoTraining)
        assert method.prompts is not None
        text, image = (functional.normalize(torch.randn(classes, EMBEDDING_DIM)) for _ in range(2))
        method.prompts.assign(text=text, image=image)
        self.method = method.to(device)
        self.device = device
        self.optimizers: dict[str, Optimizer] = method.optimizers()

    def step(self, batch: Batch, *, autocast: torch.dtype | None = None) -> None:
        """One iteration, as the trainer runs it: every network is updated once."""
        with torch.autocast(self.device.type, dtype=autocast, enabled=autocast is not None):
            for view, loss in self.method.step(batch, ITERATION):
                self.update(view, loss)

    def update(self, view: str, loss: Tensor) -> None:
        """Zero, backward, clip, step, as the trainer does."""
        optimizer, parameters = self.optimizers[view], list(self.method.networks[view].parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 12.0)
        optimizer.step()


def draw_batch(patch: Sequence[int], device: torch.device, *, batches: int = 1, classes: int = 1) -> Batch:
    """Noise: two labelled and two unlabelled samples per batch; the cost does not depend on what they show."""
    labelled = 2 * batches
    label = torch.randint(0, classes + 1, (labelled, len(VIEWS), *patch), dtype=torch.int16)
    annotation = torch.full((labelled, *patch), UNKNOWN, dtype=torch.int16)
    annotation[:, patch[0] // 2] = label[:, 0, patch[0] // 2]
    return Batch(
        image=torch.randn(2 * labelled, 1, *patch).to(device),
        label=label.to(device),
        distance=(torch.rand(labelled, len(VIEWS), *patch) * 20).to(device),
        annotation=annotation.to(device),
    )


def time_in_turns(runs: dict[str, Callable[[], None]], clock: Clock, *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round; rounds end early where another would take too long."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    began = time.monotonic()
    for done in range(1, rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
        elapsed = time.monotonic() - began
        if elapsed * (done + 1) / done > ROUNDS_S:
            break
    return seconds


def time_parts(subject: Subject, batch: Batch, clock: Clock) -> dict[str, float]:
    """Seconds of one of our steps by part. Losses are what remains: they and the step's own bookkeeping."""
    parts: dict[str, float] = defaultdict(float)

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        start = clock()
        yield
        parts[name] += clock() - start

    def update(view: str, loss: Tensor) -> None:
        optimizer, parameters = subject.optimizers[view], list(subject.method.networks[view].parameters())
        with counted("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with counted("optimiser"):
            nn.utils.clip_grad_norm_(parameters, 12.0)
            optimizer.step()

    entropy, forwards = co_training.predictive_entropy, {}

    def timed_entropy(*arguments: object, **keywords: object) -> Tensor:
        with counted("peer passes"):
            return entropy(*arguments, **keywords)  # type: ignore[arg-type]

    def begin(network: nn.Module, _: object) -> None:
        forwards[network] = clock()

    def end(network: nn.Module, _: object, __: object) -> None:
        if torch.is_grad_enabled():
            parts["training forward"] += clock() - forwards[network]

    hooks = [network.register_forward_pre_hook(begin) for network in subject.method.networks.values()]
    hooks += [network.register_forward_hook(end) for network in subject.method.networks.values()]
    co_training.predictive_entropy = timed_entropy
    try:
        start = clock()
        for view, loss in subject.method.step(batch, ITERATION):
            update(view, loss)
        total = clock() - start
    finally:
        co_training.predictive_entropy = entropy
        for hook in hooks:
            hook.remove()
    parts["losses and the rest"] = total - sum(parts.values())
    return dict(parts)


def share_of_waiting(subject: Subject, patch: list[int]) -> float:
    """Return which share of some steps is spent waiting for batches, as the training log's `data_wait`."""
    from data_loading import make_scans, time_waiting  # the benchmark beside this one, which imports this one

    with tempfile.TemporaryDirectory() as folder:
        return time_waiting(subject, make_scans(Path(folder)), patch, WAITING_STEPS)[0]


def measure_scaling(arguments: argparse.Namespace) -> None:
    """Time one step and its memory, each in a process of its own, over patch sides and classes."""
    sizes = [(side, 1) for side in SIDES] + [(64, 2), (64, 4)]
    config = Config(base_filters=arguments.base_filters, stochastic_passes=arguments.passes)
    unit = "CPU-s" if arguments.device == "cpu" else "s"
    print(f"{arguments.base_filters} base filters, 2 + 2 samples, T = {arguments.passes}")
    print(f"{'side':>6}{'classes':>9}{unit:>10}{unit + '/Mvoxel':>16}{'peak MB':>10}{'MB/Mvoxel':>12}")
    rows = []
    context = multiprocessing.get_context("spawn")
    for side, classes in sizes:
        with context.Pool(1) as pool:
            seconds, peak_mb = pool.apply(measure_one, (config, side, classes, arguments.device, arguments.threads))
        million = side**3 / 1e6
        per_voxel = f"{seconds / million:>16.1f}{peak_mb:>10.0f}{peak_mb / million:>12.0f}"
        print(f"{side:>6}{classes:>9}{seconds:>10.2f}{per_voxel}", flush=True)
        rows.append({"side": side, "classes": classes, "seconds": round(seconds, 3), "peak_mb": round(peak_mb)})
    middle, largest = rows[SIDES.index(64)], rows[len(SIDES) - 1]
    voxels = math.log((largest["side"] / middle["side"]) ** 3)
    exponents = {name: round(math.log(largest[name] / middle[name]) / voxels, 2) for name in ("seconds", "peak_mb")}
    print(
        f"from 64 to {SIDES[-1]} voxels a side: time grows as voxels^{exponents['seconds']}, memory as voxels^", end=""
    )
    print(exponents["peak_mb"])
    print(
        json.dumps(
            {
                "scaling": rows,
                "exponents": exponents,
                "seconds_are": unit,
                "base_filters": arguments.base_filters,
                "passes": arguments.passes,
                "machine": machine(torch.device(arguments.device), arguments.threads),
            }
        )
    )


def measure_one(config: Config, side: int, classes: int, device_name: str, threads: int) -> tuple[float, float]:
    """Seconds of one step and the MB by which it raises this process's peak memory."""
    torch.set_num_threads(threads)
    device = _device(device_name)
    clock, subject = _clock(device), Subject(config, device, classes=classes)
    subject.step(draw_batch(SMALL, device, classes=classes))
    batch = draw_batch((side,) * 3, device, classes=classes)
    before = _peak_mb(device)
    subject.step(batch)  # as in training, the timed one finds the memory that this one freed
    start = clock()
    subject.step(batch)
    return clock() - start, _peak_mb(device) - before


def _peak_mb(device: torch.device) -> float:
    """Peak memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource

    in_kb = 1e3 if platform.system() == "Darwin" else 1.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / in_kb / 1e3


def machine(device: torch.device, threads: int) -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name where Linux tells it, else the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _device(name: str) -> torch.device:
    """The device, with its memory handled as a trainer does."""
    device = torch.device(name)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def _clock(device: torch.device) -> Clock:
    """CPU-seconds of this process, or wall time of a device that has finished its work."""
    if device.type == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised


def _has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-filters", type=int, default=16, help="channels of the V-Net's first stage")
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 32], help="three multiples of 16")
    parser.add_argument("--passes", type=int, default=8, help="stochastic passes T")
    parser.add_argument("--rounds", type=int, default=5, help=f"at most this many, begun within {ROUNDS_S} s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch on the CPU")
    parser.add_argument("--scaling", action="store_true", help="time and memory over patch sides and classes instead")
    parser.add_argument("-device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


if __name__ == "__main__":
    main()
