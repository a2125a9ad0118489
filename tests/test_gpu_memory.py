"""The estimate of GPU memory: it counts what a real step keeps, and the README quotes it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method


@pytest.fixture(scope="module")
def benchmark(repository: Path) -> ModuleType:
    """benchmarks/gpu_memory.py."""
    spec = importlib.util.spec_from_file_location("gpu_memory", repository / "benchmarks" / "gpu_memory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tensors_without_content_are_counted_like_real_ones(benchmark: ModuleType) -> None:
    """A small step with real tensors keeps as many bytes."""
    config, patch = Config(base_filters=4, stochastic_passes=2), (16, 16, 16)
    method = make_method(
        config, in_channels=1, num_classes=2, text_dim=512, image_dim=512, views=("sagittal", "coronal", "axial")
    )
    method.prompts.assign(text=torch.randn(1, 512), image=torch.randn(1, 512))
    batch = benchmark._batch(config, patch)
    for tensor in (batch.image, batch.label, batch.distance, batch.annotation):
        tensor.zero_()
    real = benchmark._kept_bytes(method, batch, 3000)
    counted, _ = benchmark.step_bytes(config, patch)
    assert counted == pytest.approx(real, rel=0.01)


def test_the_readme_quotes_the_estimate(benchmark: ModuleType, repository: Path) -> None:
    """The row of the defaults; half of what is kept in mixed precision."""
    row = re.search(r"default: 16 filters.*\| ([\d.]+) GiB \| ([\d.]+) GiB", (repository / "README.md").read_text())
    assert row is not None
    kept, fixed = benchmark.step_bytes(Config(), benchmark.DEFAULT_PATCH)
    figures = [(kept / 2 + fixed) / benchmark.GIB, (kept + fixed) / benchmark.GIB]
    assert [f"{figure:.1f}" for figure in figures] == list(row.groups())
