"""The phantom: deterministic, varied, and the same anatomy on every grid."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import CLASS_NAMES, Phantom, make_phantom, write_phantom_set

SHAPE = (20, 28, 24)
SPACING_MM = (3.0, 2.0, 2.5)


def _small(seed: int = 3, **changes: object) -> Phantom:
    return make_phantom(seed, **{"shape": SHAPE, "spacing_mm": SPACING_MM, "classes": 2, **changes})  # type: ignore[arg-type]


def _on_grid_of(moving: SimpleITK.Image, reference: SimpleITK.Image, *, interpolator: int) -> np.ndarray:
    outside = -1.0
    float_image = SimpleITK.Cast(moving, SimpleITK.sitkFloat64)
    resampled = SimpleITK.Resample(float_image, reference, SimpleITK.Transform(), interpolator, outside)
    return np.asarray(SimpleITK.GetArrayFromImage(resampled))


def test_the_same_seed_gives_the_same_voxels() -> None:
    """Two calls with one seed agree to the bit."""
    first, second = _small(), _small()
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.label, second.label)
    assert first.origin_mm == second.origin_mm


def test_another_seed_gives_another_patient() -> None:
    """Anatomy differs between seeds, but the organ stays at about the same place."""
    labels = [_small(seed).label == 1 for seed in range(4)]
    for one, other in pairwise(labels):
        dice = 2 * (one & other).sum() / (one.sum() + other.sum())
        assert 0.4 < dice < 0.95


def test_every_class_is_drawn_and_takes_a_plausible_share() -> None:
    """Each organ fills between 0.3 and 15 % of the field of view in every case."""
    for seed in range(8):
        label = _small(seed).label
        shares = [(label == value).mean() for value in (1, 2)]
        assert all(0.003 < share < 0.15 for share in shares), (seed, shares)
        assert set(np.unique(label)) == {0, 1, 2}


def test_one_class_leaves_the_scan_unchanged() -> None:
    """With one class the second organ is still in the image, only not labelled."""
    one, two = _small(classes=1), _small(classes=2)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.label, np.where(two.label == 1, 1, 0))


@pytest.mark.parametrize("directions", ["permuted", "flipped"])
def test_reordered_grids_hold_the_same_voxels_at_the_same_place(directions: str) -> None:
    """Resampling a permuted or flipped phantom on to the identity grid gives the identity phantom."""
    reference_image, reference_label = _small().to_sitk()
    phantom = _small(directions=directions)
    image, label = phantom.to_sitk()
    assert phantom.image.shape != SHAPE or not np.array_equal(phantom.image, _small().image)
    np.testing.assert_allclose(
        _on_grid_of(image, reference_image, interpolator=SimpleITK.sitkNearestNeighbor),
        SimpleITK.GetArrayFromImage(reference_image),
        rtol=1e-6,
    )
    np.testing.assert_array_equal(
        _on_grid_of(label, reference_label, interpolator=SimpleITK.sitkNearestNeighbor),
        SimpleITK.GetArrayFromImage(reference_label),
    )


def test_an_oblique_grid_samples_the_same_anatomy() -> None:
    """The oblique label, put on the identity grid, overlaps the identity label up to interpolation."""
    _, reference = _small(shape=(40, 56, 48), spacing_mm=(1.5, 1.0, 1.25)).to_sitk()
    phantom = _small(shape=(40, 56, 48), spacing_mm=(1.5, 1.0, 1.25), directions="oblique")
    assert abs(phantom.direction - np.eye(3)).max() > 0.2
    moved = _on_grid_of(phantom.to_sitk()[1], reference, interpolator=SimpleITK.sitkNearestNeighbor)
    truth = SimpleITK.GetArrayFromImage(reference)
    dice = 2 * ((moved == 1) & (truth == 1)).sum() / ((moved == 1).sum() + (truth == 1).sum())
    assert dice > 0.93


def test_spacing_does_not_change_the_anatomy() -> None:
    """Half the voxels along z over the same field of view shows the same organ volume."""
    fine = _small(shape=(40, 28, 24), spacing_mm=(1.5, 2.0, 2.5)).label
    coarse = _small(shape=(20, 28, 24), spacing_mm=(3.0, 2.0, 2.5)).label
    assert (fine == 1).mean() == pytest.approx((coarse == 1).mean(), rel=0.05)


def test_the_directions_are_proper_orthonormal_matrices() -> None:
    """Every direction matrix is orthonormal, so that NIfTI can store it."""
    for directions in ("identity", "permuted", "flipped", "oblique"):
        matrix = _small(directions=directions).direction
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


def test_brightness_alone_does_not_segment_it() -> None:
    """The best threshold on the image, chosen with the truth, stays far below a useful Dice."""
    phantom = _small(shape=(32, 48, 48), spacing_mm=(2.0, 1.5, 1.5))
    truth = phantom.label == 1
    dices = [
        2 * ((phantom.image > threshold) & truth).sum() / ((phantom.image > threshold).sum() + truth.sum())
        for threshold in np.percentile(phantom.image, range(50, 100))
    ]
    assert max(dices) < 0.75


def test_the_set_has_the_documented_layout_and_readable_geometry(tmp_path: Path) -> None:
    """Folders, names and headers are those that the other commands expect; no label for unlabelled scans."""
    write_phantom_set(
        tmp_path, labelled=2, unlabelled=1, test=1, shape=(12, 16, 14), spacing_mm=SPACING_MM, directions="permuted"
    )
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "labelled/images/phantom_labelled_00_0000.nii.gz",
        "labelled/images/phantom_labelled_01_0000.nii.gz",
        "labelled/labels/phantom_labelled_00.nii.gz",
        "labelled/labels/phantom_labelled_01.nii.gz",
        "test/images/phantom_test_00_0000.nii.gz",
        "test/labels/phantom_test_00.nii.gz",
        "unlabelled/images/phantom_unlabelled_00_0000.nii.gz",
    ]
    read = SimpleITK.ReadImage(str(tmp_path / files[0]))
    expected = make_phantom(0, shape=(12, 16, 14), spacing_mm=SPACING_MM, directions="permuted")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read), expected.image)
    np.testing.assert_allclose(read.GetDirection(), expected.direction.ravel(), atol=1e-5)
    np.testing.assert_allclose(read.GetSpacing(), expected.spacing_mm[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"directions": "sideways"}, "sideways"),
        ({"classes": len(CLASS_NAMES) + 1}, "classes is 3"),
        ({"shape": (4, 16, 16)}, "8 voxels"),
    ],
)
def test_impossible_requests_are_refused(changes: dict[str, object], found: str) -> None:
    """A wrong argument is a one-line error that says what was found."""
    with pytest.raises(UserError, match=found):
        _small(**changes)
