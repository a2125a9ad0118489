"""A small co-training method and a batch of two-blob volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.method.base import UNKNOWN, Batch
from nnunetv2_rada.method.co_training import CoTraining

VIEWS = ("sagittal", "coronal", "axial")
TEXT_DIM, IMAGE_DIM, SIDE = 12, 8, 16

MakeSmall = Callable[..., CoTraining]
MakeBatch = Callable[..., Batch]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small are slower on several threads, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_small() -> MakeSmall:
    """Return a function that builds a method of 4 base filters; keywords go to Config."""

    def make(*, num_classes: int = 2, seed: int = 0, assign: bool = True, **settings: Any) -> CoTraining:
        torch.manual_seed(seed)
        config = Config(**{"base_filters": 4, "stochastic_passes": 2, "num_iterations": 150, **settings})
        method = make_method(
            config, in_channels=1, num_classes=num_classes, text_dim=TEXT_DIM, image_dim=IMAGE_DIM, views=VIEWS
        )
        assert isinstance(method, CoTraining)
        if assign and method.prompts is not None:
            generator = torch.Generator().manual_seed(1)
            method.prompts.assign(
                text=torch.randn(num_classes - 1, TEXT_DIM, generator=generator),
                image=torch.randn(num_classes - 1, IMAGE_DIM, generator=generator),
            )
        return method

    return make


@pytest.fixture
def make_batch() -> MakeBatch:
    """Return a function that draws 2 labelled and 2 unlabelled volumes of two bright blobs; three planes are drawn."""

    def make(*, seed: int = 0, confidence: bool = False) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        grid = torch.stack(torch.meshgrid(*[torch.arange(SIDE)] * 3, indexing="ij"))
        truth = torch.zeros(4, SIDE, SIDE, SIDE, dtype=torch.bool)
        for sample in range(4):
            for centre in (4.0, 11.0):
                shift = torch.rand(3, 1, 1, 1, generator=generator)
                truth[sample] |= (grid - centre - shift).square().sum(dim=0) < 12
        image = 2 * truth[:, None].float() + 0.3 * torch.randn(4, 1, SIDE, SIDE, SIDE, generator=generator)
        label = truth[:2].to(torch.int16)
        annotation = torch.full_like(label, UNKNOWN)
        plane = SIDE // 4
        for drawn in (
            (slice(None), plane),
            (slice(None), slice(None), plane),
            (slice(None), slice(None), slice(None), plane),
        ):
            annotation[drawn] = label[drawn]
        distance = (grid - plane).abs().float().expand(2, 3, SIDE, SIDE, SIDE).clone()
        number = torch.arange(1, 4, dtype=torch.int16)[:, None, None, None]  # each view owns one plane
        return Batch(
            image=image,
            label=label[:, None].expand(-1, 3, -1, -1, -1).clone(),
            distance=distance,
            annotation=annotation,
            plane=(distance == 0) * number,
            confidence=torch.rand(label.shape, generator=generator) if confidence else None,
        )

    return make
