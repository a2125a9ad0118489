"""Time a training step against the published structure: run `python benchmarks/training_step.py`.

The published structure draws three batches and updates one network after the other. For each update, both peers run on
that network's unlabelled half without gradients but with BatchNorm in training mode: once for their argmax, and T
stochastic passes, two at a time. With T = 8 that is 33 network calls a step. Ours shares one batch, takes the argmax
from the training forward, runs each network's stochastic passes once for both peers, and folds BatchNorm into the
convolutions there. Both steps are timed in turns, with the same weights, patch and losses.
"""

from __future__ import annotations

import os

# Waiting threads sleep instead of spinning, so that CPU-seconds count work alone. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import co_training, make_method, schedules
from nnunetv2_rada.method.base import UNKNOWN, Batch
from nnunetv2_rada.method.losses import peer_loss, supervised_loss
from nnunetv2_rada.method.uncertainty import NOISE_LIMIT, NOISE_SD

VIEWS = ("sagittal", "coronal", "axial")
EMBEDDING_DIM = 512
ITERATION = 3000  # the middle of training; no cost depends on it
ROUNDS_S = 75  # no further round is begun that would end later than this

Update = Callable[[str, Tensor], None]
Clock = Callable[[], float]


def main() -> None:
    """Time both structures in turns, print a table and one JSON line."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    clock = _clock(device)
    config = Config(base_filters=arguments.base_filters, stochastic_passes=arguments.passes)
    published, ours = Subject(config, device, published_step), Subject(config, device, our_step)
    batches = [draw_batch(tuple(arguments.patch), device) for _ in VIEWS]
    runs: dict[str, Callable[[], None]] = {
        "published fp32": lambda: published.step(batches, autocast=None),
        "ours fp32": lambda: ours.step(batches, autocast=None),
    }
    if _has_bf16(device):
        runs["ours bf16"] = lambda: ours.step(batches, autocast=torch.bfloat16)

    small = [draw_batch((16, 16, 16), device) for _ in VIEWS]  # allocates momentum, loads kernels
    for subject in (published, ours):
        subject.step(small, autocast=None)
    seconds = time_in_turns(runs, clock, rounds=arguments.rounds)
    parts = time_parts(ours, batches, clock)

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

    def ratio(name: str) -> float | None:
        """Median over rounds: both steps of a round ran under the same load."""
        if name not in seconds:
            return None
        pairs = zip(seconds[name], seconds["published fp32"], strict=True)
        return round(median(own / reference for own, reference in pairs), 3)

    figures = {
        "ratio_fp32": ratio("ours fp32"),
        "ratio_bf16": ratio("ours bf16"),
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "seconds_are": unit,
        "parts": {name: round(value, 3) for name, value in parts.items()},
        "base_filters": arguments.base_filters,
        "patch": arguments.patch,
        "passes": arguments.passes,
        "machine": machine(device, arguments.threads),
    }
    print(json.dumps(figures))


class Subject:
    """Three guided networks with their optimizers, and one way to train them."""

    def __init__(self, config: Config, device: torch.device, structure: Callable[..., None]) -> None:
        torch.manual_seed(config.seed)
        method = make_method(
            config, in_channels=1, num_classes=2, text_dim=EMBEDDING_DIM, image_dim=EMBEDDING_DIM, views=VIEWS
        )
        assert isinstance(method, co_training.CoTraining)
        assert method.prompts is not None
        text, image = functional.normalize(torch.randn(2, 1, EMBEDDING_DIM), dim=2)
        method.prompts.assign(text=text, image=image)
        self.method = method.to(device)
        self.device = device
        self.optimizers: dict[str, Optimizer] = method.optimizers()
        self.structure = structure
        self.parts: dict[str, float] | None = None  # filled while parts are timed

    def step(self, batches: list[Batch], *, autocast: torch.dtype | None) -> None:
        """One iteration: every network is updated once."""
        with torch.autocast(self.device.type, dtype=autocast, enabled=autocast is not None):
            self.structure(self.method, batches, self.update)

    def update(self, view: str, loss: Tensor) -> None:
        """Zero, backward, clip, step, as the trainer does."""
        optimizer, parameters = self.optimizers[view], list(self.method.networks[view].parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 12.0)
        optimizer.step()


def our_step(method: co_training.CoTraining, batches: list[Batch], update: Update) -> None:
    """The step as it is trained with; one batch serves all networks."""
    for view, loss in method.step(batches[0], ITERATION):
        update(view, loss)


def published_step(method: co_training.CoTraining, batches: list[Batch], update: Update) -> None:
    """The published structure: a batch and an update per network, one after the other."""
    config = method.config
    b = schedules.peer_weight(ITERATION, config.num_iterations, config.beta_schedule)
    alpha = schedules.distance_decay(ITERATION, config.num_iterations, config.alpha)
    threshold = schedules.entropy_threshold(ITERATION, config.num_iterations, method.num_classes)
    for v, (view, batch) in enumerate(zip(method.views, batches, strict=True)):
        labelled = batch.num_labelled
        logits = method.networks[view](batch.image)
        label, weight = co_training.supervision(batch, v, alpha=alpha, pseudo_labels=config.pseudo_labels)
        loss = (1 - 2 * b) * supervised_loss(logits[:labelled], label, weight)
        for peer in method.views:
            if peer != view:
                pseudo, entropy = published_peer(
                    method.networks[peer], batch.image_unlabelled, config.stochastic_passes
                )
                loss = loss + b * peer_loss(logits[labelled:], pseudo, entropy < threshold)
        update(view, loss)


@torch.no_grad()
def published_peer(network: nn.Module, image: Tensor, passes: int) -> tuple[Tensor, Tensor]:
    """A peer's argmax and predictive entropy, every module in training mode; the passes run two at a time."""
    pseudo = network(image).max(dim=1).indices
    probabilities = []
    for start in range(0, passes, 2):
        noisy = image.repeat(min(2, passes - start), 1, 1, 1, 1)
        noisy = noisy + (torch.randn_like(noisy) * NOISE_SD).clamp_(-NOISE_LIMIT, NOISE_LIMIT)
        probabilities.append(network(noisy).float().softmax(dim=1))
    mean = torch.cat(probabilities).unflatten(0, (passes, len(image))).mean(dim=0)
    return pseudo, torch.special.entr(mean).sum(dim=1)


def draw_batch(patch: tuple[int, ...], device: torch.device) -> Batch:
    """Two labelled and two unlabelled samples of noise; the cost does not depend on what they show."""
    label = torch.randint(0, 2, (2, len(VIEWS), *patch), dtype=torch.int16)
    annotation = torch.full((2, *patch), UNKNOWN, dtype=torch.int16)
    annotation[:, patch[0] // 2] = label[:, 0, patch[0] // 2]
    return Batch(
        image=torch.randn(4, 1, *patch).to(device),
        label=label.to(device),
        distance=(torch.rand(2, len(VIEWS), *patch) * 20).to(device),
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


def time_parts(subject: Subject, batches: list[Batch], clock: Clock) -> dict[str, float]:
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
        our_step(subject.method, batches, update)
        total = clock() - start
    finally:
        co_training.predictive_entropy = entropy
        for hook in hooks:
            hook.remove()
    parts["losses and the rest"] = total - sum(parts.values())
    return dict(parts)


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
    parser.add_argument("-device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


if __name__ == "__main__":
    main()
