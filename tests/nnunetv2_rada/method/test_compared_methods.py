"""What holds for every compared method: each learns from annotated planes and unlabelled scans, nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import UNKNOWN, Batch, Method
from nnunetv2_rada.method.co_training import CoTraining
from sparse_annotation_tools.errors import UserError

VIEWS = ("sagittal", "coronal", "axial")
SPARSE: dict[str, Any] = {"text_prompt": False, "image_prompt": False, "pseudo_labels": "none"}
TINY: dict[str, Any] = {"base_filters": 4, "stochastic_passes": 2, "num_iterations": 150}
METHODS: dict[str, dict[str, Any]] = {
    "supervised": {"method": "supervised", **SPARSE},
    "sgtc": {"method": "co_training", "image_prompt": False, "pseudo_labels": "none", "planes": "pair"},
    "mt": {"method": "mt", **SPARSE},
    "ua_mt": {"method": "ua_mt", **SPARSE},
    "cps": {"method": "cps", "inference": "a", **SPARSE},
    "desco": {**SPARSE, "method": "desco", "networks": ("axial", "coronal"), "pseudo_labels": "per_view"},
    "dtc": {"method": "dtc", **SPARSE},
    "bcp": {"method": "bcp", **SPARSE},
    "sassnet": {"method": "sassnet", **SPARSE},
}
SINGLE = [name for name in METHODS if name not in ("sgtc", "desco")]
each_method = pytest.mark.parametrize("name", METHODS)

MakeBatch = Callable[..., Batch]


def make(name: str, *, seed: int = 0, num_classes: int = 2, **settings: Any) -> Method:
    """A method of 4 base filters."""
    torch.manual_seed(seed)
    config = Config(**{**TINY, **METHODS[name], **settings})
    text_dim = 12 if config.text_prompt else 0
    method = make_method(config, in_channels=1, num_classes=num_classes, text_dim=text_dim, image_dim=0, views=VIEWS)
    if isinstance(method, CoTraining) and method.prompts is not None:
        method.prompts.assign(text=torch.randn(num_classes - 1, text_dim, generator=torch.Generator().manual_seed(1)))
    return method


def train(method: Method, batch: Batch, iterations: range, optimizers: Any = None) -> list[Tensor]:
    """Train as the trainer does; return the losses. The random state depends on the iteration alone."""
    optimizers = optimizers or method.optimizers()
    losses = []
    for iteration in iterations:
        torch.manual_seed(iteration)
        for optimizer, rate in method.learning_rate(iteration).items():
            for group in optimizers[optimizer].param_groups:
                group["lr"] = rate
        for optimizer, loss in method.step(batch, iteration):
            optimizers[optimizer].zero_grad()
            loss.backward()
            optimizers[optimizer].step()
            losses.append(loss.detach())
    return losses


@each_method
@pytest.mark.parametrize("num_classes", [2, 4])
def test_one_step_gives_every_trainable_parameter_a_gradient_and_teachers_none(
    name: str, num_classes: int, make_batch: MakeBatch
) -> None:
    """Every loss is finite; each optimizer's parameters get a finite gradient; together they hold all but teachers."""
    method, batch = make(name, num_classes=num_classes), make_batch()
    batch = replace(batch, annotation=several_classes(batch, num_classes))
    optimizers = method.optimizers()
    held = {id(p) for optimizer in optimizers.values() for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in method.parameters() if p.requires_grad}
    updated = []
    for optimizer, loss in method.step(batch, 100):
        optimizers[optimizer].zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        parameters = [p for group in optimizers[optimizer].param_groups for p in group["params"]]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)
        updated.append(optimizer)
    assert updated == list(optimizers) == list(method.learning_rate(0))
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)


def several_classes(batch: Batch, num_classes: int) -> Tensor:
    """The annotation with the second blob as class 2 and a bit of class 3."""
    annotation = batch.annotation.clone()
    if num_classes > 2:
        upper = torch.zeros_like(annotation, dtype=torch.bool)
        upper[:, 8:] = True
        annotation[(annotation == 1) & upper] = 2
        annotation[:, 4, 4, 3:5] = 3
    return annotation


@pytest.mark.parametrize("name", [name for name in METHODS if name != "desco"])
def test_labels_off_the_annotated_planes_change_no_loss_by_a_bit(name: str, make_batch: MakeBatch) -> None:
    """Neither labels nor distances nor confidences there are read, in two steps with an update between."""
    batch = make_batch(confidence=True)
    off = (batch.annotation < 0)[:, None].expand_as(batch.label)
    expected = train(make(name), batch, range(100, 102))
    for value in (0, 1, UNKNOWN):
        changed = replace(
            batch,
            label=batch.label.masked_fill(off, value),
            distance=torch.full_like(batch.distance, torch.nan),
            confidence=torch.zeros_like(batch.confidence),
        )
        found = train(make(name), changed, range(100, 102))
        assert [float(loss) for loss in found] == [float(loss) for loss in expected]


@each_method
def test_annotated_planes_are_what_it_learns_from(name: str, make_batch: MakeBatch) -> None:
    """Another drawing gives another loss."""
    batch = make_batch()
    drawn = batch.annotation.clone()
    drawn[0, 4] = 1 - drawn[0, 4]
    before, after = (train(make(name), b, range(100, 101)) for b in (batch, replace(batch, annotation=drawn)))
    assert float(before[0]) != float(after[0])


@pytest.mark.slow
@each_method
def test_it_learns_a_phantom(name: str, make_batch: MakeBatch) -> None:
    """Three planes of two volumes are enough to find the bright blobs in volumes never seen."""
    iterations = 80 if name in ("dtc", "sassnet") else 40  # Dice alone, without cross-entropy, starts slowly
    method = make(name, num_iterations=iterations, iterations_per_epoch=10)
    train(method, make_batch(seed=1), range(iterations))
    unseen = make_batch(seed=2)
    method.eval()
    with torch.no_grad():
        found = method.predict(unseen.image_labelled).argmax(dim=1) == 1
    truth = unseen.label[:, 0] == 1
    dice = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
    assert dice > 0.7


@each_method
def test_it_resumes_to_the_same_next_loss(name: str, make_batch: MakeBatch) -> None:
    """Weights, method state and optimizers are all that a checkpoint needs."""
    batch = make_batch()
    method = make(name)
    optimizers = method.optimizers()
    train(method, batch, range(70, 73), optimizers)
    stored = copy.deepcopy(
        (
            method.networks.state_dict(),
            method.method_state(),
            {optimizer: optimizers[optimizer].state_dict() for optimizer in optimizers},
        )
    )
    expected = train(method, batch, range(73, 75), optimizers)
    resumed = make(name, seed=5)
    resumed.networks.load_state_dict(stored[0])
    resumed.load_method_state(stored[1])
    again = resumed.optimizers()
    for optimizer, state in stored[2].items():
        again[optimizer].load_state_dict(state)
    assert [float(loss) for loss in train(resumed, batch, range(73, 75), again)] == [float(loss) for loss in expected]


@each_method
def test_prediction_and_every_network_give_logits(name: str, make_batch: MakeBatch) -> None:
    """nnU-Net asks for the prediction, the curves for each network; both are fresh fp32 tensors without a gradient."""
    method, image = make(name, num_classes=4).eval(), make_batch().image
    with torch.no_grad():
        for predicted in (method.predict(image), *(network(image) for network in method.networks.values())):
            assert predicted.shape == (4, 4, 16, 16, 16)
            assert predicted.dtype == torch.float32
            assert torch.isfinite(predicted).all()


@each_method
def test_half_precision_gives_fp32_losses_near_the_fp32_ones(name: str, make_batch: MakeBatch) -> None:
    """Networks may run in half precision, losses never do."""
    exact = train(make(name), make_batch(), range(100, 101))
    method = make(name)
    torch.manual_seed(100)
    with torch.autocast("cpu", torch.bfloat16):
        found = [loss.detach() for _, loss in method.step(make_batch(), 100)]
    for loss, reference in zip(found, exact, strict=False):
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(float(reference), rel=0.1)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "sgtc"])
def test_prompts_are_refused(name: str) -> None:
    """A method that takes none says which settings to change."""
    with pytest.raises(UserError, match="set text_prompt and image_prompt to false"):
        make(name, text_prompt=True)


@pytest.mark.parametrize("name", SINGLE)
def test_registered_labels_are_an_option(name: str, make_batch: MakeBatch) -> None:
    """With `fused`, confident labels off the planes change the loss; one label per view is refused."""
    batch = make_batch(confidence=True)
    losses = [
        float(train(make(name, pseudo_labels="fused"), b, range(100, 101))[0])
        for b in (batch, replace(batch, label=1 - batch.label))
    ]
    assert losses[0] != losses[1]
    with pytest.raises(UserError, match=r"set pseudo_labels to none .* or fused"):
        make(name, pseudo_labels="per_view")


@each_method
def test_networks_begin_with_the_shares_of_the_classes(name: str, make_batch: MakeBatch) -> None:
    """Mean predicted probability of each class; PyTorch's own bias predicts all classes alike."""
    shares = torch.tensor([0.9, 0.07, 0.03])
    method, image = make(name, num_classes=3), make_batch().image

    def predicted() -> Tensor:
        with torch.no_grad():
            return method.predict(image).softmax(dim=1).mean(dim=(0, 2, 3, 4))

    before = predicted()
    method.assign_class_shares(shares)
    assert (predicted() - shares).abs().max() < 0.15
    assert (before - shares).abs().max() > 0.3
