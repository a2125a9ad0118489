"""Tests of nnU-Net's dataset fingerprint on sparse labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from sparse_annotation_tools.dataset.fingerprint import make_fingerprint, measure_case

SPACING_MM = (3.0, 2.0, 1.0)
STATISTICS = ("mean", "median", "std", "min", "max", "percentile_99_5", "percentile_00_5")


def ct_like(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return air around a body around an organ of 120 HU, and the organ's dense label."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:12, :20, :24]
    body = (y - 10) ** 2 + (x - 12) ** 2 < 80
    organ = (z - 5) ** 2 + (y - 9) ** 2 + (x - 11 - seed) ** 2 < 14
    image = np.where(organ, 120, np.where(body, 0, -1000)) + rng.normal(0, 10, body.shape)
    image[:, :2] = 0  # a border that nnU-Net crops
    return image.astype(np.float32), organ.astype(np.int16)


def test_on_dense_labels_it_is_what_nnunet_extracts(tmp_path: Path, write_volume: Callable[..., Path]) -> None:
    """Spacings, cropped shapes and intensity statistics; nnU-Net's own are of drawn samples, so nearly equal."""
    ours, theirs, intensities = [], [], []
    for seed in range(3):
        image, label = ct_like(seed)
        files = [
            str(write_volume(tmp_path / f"{seed}{name}.nii.gz", array, spacing=SPACING_MM[::-1]))
            for name, array in (("image", image), ("label", label))
        ]
        ours.append(measure_case([image], SPACING_MM, label))
        shape, spacing, drawn, _, relative = DatasetFingerprintExtractor.analyze_case(
            [files[0]], files[1], SimpleITKIO, num_samples=200_000
        )
        theirs.append((tuple(shape), tuple(spacing), relative))
        intensities.append(drawn[0])
    found = make_fingerprint(ours)
    assert [tuple(each) for each in found["shapes_after_crop"]] == [shape for shape, _, _ in theirs]
    assert [tuple(each) for each in found["spacings"]] == [spacing for _, spacing, _ in theirs]
    assert found["median_relative_size_after_cropping"] == pytest.approx(np.median([each[2] for each in theirs]))
    pooled = np.concatenate(intensities)
    expected = (pooled.mean(), np.median(pooled), pooled.std(), pooled.min(), pooled.max())
    expected = (*expected, *np.percentile(pooled, [99.5, 0.5]))
    for name, value in zip(STATISTICS, expected, strict=True):
        statistic = found["foreground_intensity_properties_per_channel"]["0"][name]
        assert statistic == pytest.approx(value, abs=0.5), name


def test_only_drawn_foreground_counts() -> None:
    """Voxels that nobody annotated and unlabelled cases change no intensity."""
    image, label = ct_like(0)
    annotation = np.full(label.shape, -1, np.int16)
    annotation[5] = label[5]
    sparse = measure_case([image], SPACING_MM, annotation)
    assert sparse.intensities.shape == (1, label[5].sum())
    unlabelled = measure_case([image - 500], SPACING_MM, None)
    alone, together = make_fingerprint([sparse]), make_fingerprint([sparse, unlabelled])
    key = "foreground_intensity_properties_per_channel"
    assert alone[key] == together[key]
    assert alone[key]["0"]["mean"] == pytest.approx(120, abs=3)
    assert len(together["spacings"]) == 2


def test_every_case_has_the_same_weight() -> None:
    """A large organ must not drown a small one."""
    image, _ = ct_like(0)
    small, large = np.full(image.shape, -1, np.int16), np.full(image.shape, -1, np.int16)
    small[0, 5, 5:7], large[0, 5:15, 5:20] = 1, 1
    measures = [
        measure_case([np.full_like(image, value)], SPACING_MM, each) for value, each in ((10, small), (20, large))
    ]
    statistics: dict[str, Any] = make_fingerprint(measures)["foreground_intensity_properties_per_channel"]["0"]
    assert statistics["mean"] == pytest.approx(15)
    assert statistics["std"] == pytest.approx(5)
