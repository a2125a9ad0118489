"""Tests that any annotation of any scan gives sensible labels, with real registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.phantom import make_phantom, write_phantom_set
from sparse_annotation_tools.propagation.chain import PropagationSettings, propagate
from sparse_annotation_tools.propagation.fusion import fuse
from sparse_annotation_tools.schema import CasesFile, RadaFolder
from sparse_annotation_tools.slices.annotation import Annotation, simulate_annotation
from sparse_annotation_tools.slices.planes import off_planes
from sparse_annotation_tools.slices.selection import views_of_strategy

TABLE_VIII = ("SSS", "CCC", "AAA", "ACA", "ASA", "CAC", "CSC", "SAS", "SCS", "SCA")
AXES = {"sagittal": 2, "coronal": 1, "axial": 0}
Spacing = tuple[float, float, float]


def annotate(label: NDArray[np.uint8], strategy: str) -> Annotation:
    """Cut slices out of a dense label."""
    return simulate_annotation(label, AXES, views_of_strategy(strategy))


def label_from(image: NDArray[Any], annotation: Annotation, spacing_mm: Spacing) -> tuple[Any, Any]:
    """Return the fused label and its confidence."""
    slices = zip(annotation.planes, annotation.drawn, strict=True)
    propagated = [
        propagate(image, spacing_mm, axis, index, drawn, PropagationSettings()) for (axis, index), drawn in slices
    ]
    classes = sorted({value for annotated in annotation.slices for value in annotated.classes})
    return fuse(np.stack(propagated), annotation.planes, annotation.volume(), classes, spacing_mm)


def dice(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Overlap of two masks."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def scan_with(parts: Sequence[tuple[tuple[float, ...], float]], shape: tuple[int, ...], spacing_mm: Spacing) -> Any:
    """Return an image and its label: bright balls (centre in mm, radius in mm) on a dark, noisy ground."""
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * step for n, step in zip(shape, spacing_mm, strict=True)), indexing="ij"), -1
    )
    label = np.zeros(shape, np.uint8)
    for centre, radius in parts:
        label[np.linalg.norm(grid - np.asarray(centre), axis=-1) < radius] = 1
    noise = np.random.default_rng(0).normal(0, 10, shape)
    return (label * 150.0 + noise).astype(np.float32), label


@pytest.mark.parametrize("strategy", [*TABLE_VIII, "S", "SA", "SCASC"])
def test_every_strategy_of_slices_makes_a_dataset(
    tmp_path: Path, request_for: Any, make_quickly: Callable[..., CasesFile], read_array: Any, strategy: str
) -> None:
    """All ten of Table VIII, fewer and more slices: a propagated label each, and a fused one that shows the organ."""
    write_phantom_set(tmp_path / "phantoms", labelled=2, unlabelled=1, test=1, shape=(12, 16, 20))
    request = request_for(tmp_path / "phantoms", simulate=strategy, label_names=("organ",))
    made = make_quickly(request)
    rada = RadaFolder(root=request.folder / "rada")
    assert made.strategy == strategy
    for case in made.labelled:
        slices = made.cases[case].slices
        planes = [annotated.plane for annotated in slices]
        assert sorted(annotated.view[0].upper() for annotated in slices) == sorted(strategy)
        assert len(set(planes)) == len(strategy)
        assert all(rada.propagated(case, k).is_file() for k in range(len(strategy)))
        dense = read_array(request.labels / f"{case}.nii.gz")
        fused, confidence = read_array(rada.fused(case)), read_array(rada.confidence(case))
        drawn = off_planes(np.ones(dense.shape, dtype=bool), planes) == 0
        np.testing.assert_array_equal(fused[drawn], dense[drawn])
        assert (confidence[drawn] == 255).all()
        assert dice(fused > 0, dense > 0) > 0.3  # copies, not registered
    if strategy in TABLE_VIII:
        assert all(len(own) == 1 for own in made.cases[made.labelled[0]].networks.values())


@pytest.mark.slow
def test_a_further_slice_makes_the_label_better() -> None:
    """From one slice to five."""
    phantom = make_phantom(3, shape=(16, 24, 24), spacing_mm=(2.0, 2.0, 2.0))
    quality = [
        dice(label_from(phantom.image, annotate(phantom.label, strategy), (2.0, 2.0, 2.0))[0] > 0, phantom.label > 0)
        for strategy in ("A", "SCA", "SCASC")
    ]
    assert quality[0] < quality[1] < quality[2]
    assert quality[1] > 0.8


def test_both_parts_of_an_object_are_found() -> None:
    """Two balls, one of which two of the three annotated slices never meet."""
    large, small = ((24.0, 24.0, 20.0), 12.0), ((24.0, 24.0, 50.0), 8.0)
    image, label = scan_with([large, small], (24, 24, 36), (2.0, 2.0, 2.0))
    annotation = annotate(label, "SCA")
    assert annotation.slices[0].index < 17  # the sagittal plane is one through the large ball
    fused, _ = label_from(image, annotation, (2.0, 2.0, 2.0))
    for half in (np.s_[:, :, :17], np.s_[:, :, 20:]):
        assert dice(fused[half] > 0, label[half] > 0) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("spacing_mm", [(5.0, 0.7, 0.7), (0.7, 5.0, 0.7), (2.0, 2.0, 2.0), (3.0, 3.0, 0.5)])
def test_thick_slices_are_no_hindrance(spacing_mm: Spacing) -> None:
    """0.7 x 0.7 x 5 mm, whichever axis the thick one is."""
    shape = tuple(round(40 / step) for step in spacing_mm)
    image, label = scan_with([((20.0, 19.0, 21.0), 13.0)], shape, spacing_mm)
    fused, _ = label_from(image, annotate(label, "SCA"), spacing_mm)
    assert dice(fused > 0, label > 0) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int16", "float64", "ct", "dark"])
def test_the_type_and_the_scale_of_intensities_do_not_matter(kind: str) -> None:
    """Integers, CT's negative values, and a scan whose intensities are tiny."""
    image, label = scan_with([((20.0, 19.0, 21.0), 13.0)], (20, 20, 20), (2.0, 2.0, 2.0))
    image = np.clip(np.rint(image + 50), 0, 255)
    other = {"ct": image.astype(np.int16) - 1024, "dark": image * 1e-4}.get(kind)
    other = image.astype(kind) if other is None else other
    annotation = annotate(label, "SCA")
    expected, _ = label_from(image, annotation, (2.0, 2.0, 2.0))
    found, _ = label_from(other, annotation, (2.0, 2.0, 2.0))
    assert dice(found > 0, expected > 0) > 0.99


def test_holes_in_a_scan_do_not_spread() -> None:
    """NaN and infinity, as some converters leave outside the field of view."""
    image, label = scan_with([((20.0, 19.0, 21.0), 13.0)], (20, 20, 20), (2.0, 2.0, 2.0))
    image[:, :3], image[:, :, -2:] = np.nan, np.inf
    fused, confidence = label_from(image, annotate(label, "SCA"), (2.0, 2.0, 2.0))
    assert dice(fused > 0, label > 0) > 0.85
    assert confidence.max() == 255


def test_a_class_that_one_slice_misses_is_kept_by_the_others() -> None:
    """The coronal slice shows one class alone; propagation from it would paint over the other."""
    image, label = scan_with([((20.0, 12.0, 20.0), 9.0), ((20.0, 30.0, 20.0), 7.0)], (20, 22, 20), (2.0, 2.0, 2.0))
    label[:, 11:][label[:, 11:] > 0] = 2
    annotation = annotate(label, "SCA")
    assert [set(annotated.classes) for annotated in annotation.slices] == [{1, 2}, {1}, {1, 2}]
    fused, _ = label_from(image, annotation, (2.0, 2.0, 2.0))
    for value in (1, 2):
        assert dice(fused == value, label == value) > 0.8
