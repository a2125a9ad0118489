"""Tests of what an annotator drew: cut from a dense label, or found in a sparse one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.slices.annotation import Annotation, read_annotation, simulate_annotation
from sparse_annotation_tools.slices.planes import on_plane

AXES = {"sagittal": 2, "coronal": 1, "axial": 0}
VIEWS = ("sagittal", "coronal", "axial")
DENSE = make_phantom(5, shape=(20, 28, 32), classes=2).label
SIMULATED = simulate_annotation(DENSE, AXES, VIEWS)


def sparse(background: int) -> NDArray[np.uint8]:
    """Return the label map of an annotator who drew on the simulated planes; `background` is off them."""
    label = np.full(DENSE.shape, background, np.uint8)
    for plane in SIMULATED.planes:
        label[on_plane(plane)] = DENSE[on_plane(plane)]
    return label


def read(label: NDArray[np.uint8], planes: list[tuple[str, int]] | None = None) -> Annotation:
    """Read a sparse label with the usual options."""
    return read_annotation(label, AXES, not_annotated=255, planes=planes, name="labels")


def listed() -> list[tuple[str, int]]:
    """Return the simulated planes as a user lists them."""
    return [(annotated.view, annotated.index) for annotated in SIMULATED.slices]


def test_a_simulated_annotation_is_the_dense_label_on_its_planes_only() -> None:
    """-1 everywhere else, and the record counts what is drawn."""
    volume = SIMULATED.volume()
    drawn = volume >= 0
    np.testing.assert_array_equal(volume[drawn], DENSE[drawn])
    assert drawn.sum() == sum(pixels.size for pixels in SIMULATED.drawn) - 20 - 28 - 32 + 1  # crossings count once
    for annotated, pixels in zip(SIMULATED.slices, SIMULATED.drawn, strict=True):
        assert annotated.area == (pixels > 0).sum()
        assert set(annotated.classes) == set(np.unique(pixels)) - {0}
    assert [annotated.view for annotated in SIMULATED.slices] == list(VIEWS)


def test_the_three_ways_to_say_which_planes_were_drawn_agree() -> None:
    """Painted voxels alone, a value for the rest, and a list give the same annotation."""
    searched, marked, told = read(sparse(0)), read(sparse(255)), read(sparse(0), listed())
    np.testing.assert_array_equal(searched.volume(), SIMULATED.volume())
    assert searched.sha256() == marked.sha256() == told.sha256()
    assert searched.networks == {"sagittal": (2,), "coronal": (1,), "axial": (0,)}


def test_an_empty_annotated_slice_counts_where_it_is_declared() -> None:
    """Its background is information; only painted voxels cannot tell of it."""
    marked = sparse(255)
    marked[0] = 0
    for annotation in (read(marked), read(sparse(0), [*listed(), ("axial", 0)])):
        assert annotation.planes[0] == (0, 0)
        assert annotation.slices[0].area == 0
        assert annotation.slices[0].classes == ()
    assert (0, 0) not in read(sparse(0)).planes


def test_listing_a_plane_declares_its_unpainted_pixels_to_be_background() -> None:
    """Also where the file has the value of voxels that nobody annotated there."""
    label = sparse(255)
    label[label == 0] = 255
    np.testing.assert_array_equal(read(label, listed()).volume(), SIMULATED.volume())


def test_the_hash_changes_with_every_pixel_and_plane() -> None:
    """And with nothing else."""
    label = sparse(0)
    label[on_plane(SIMULATED.planes[0])][3, 3] ^= 1
    assert read(label, listed()).sha256() != read(sparse(0), listed()).sha256()
    assert read(sparse(0), [*listed(), ("axial", 0)]).sha256() != read(sparse(0), listed()).sha256()


def test_painted_voxels_off_the_listed_planes_are_an_error() -> None:
    """The first one is named by its (x, y, z)."""
    label = sparse(0)
    label[0, 1, 2] = 1
    with pytest.raises(UserError, match=r"1 painted voxels off the planes listed.*\(x, y, z\) = \(2, 1, 0\)"):
        read(label, listed())


def test_half_annotated_planes_are_an_error() -> None:
    """With a value for voxels that nobody annotated, an annotated plane has none of it."""
    label = sparse(255)
    label[label == 0] = 255
    with pytest.raises(UserError, match=r"255 .* on every plane.*background of annotated planes as 0"):
        read(label)
    label = sparse(255)
    label[on_plane(SIMULATED.planes[2])][0, 0] = 255
    with pytest.raises(UserError, match="painted voxels off the whole planes without value 255"):
        read(label)


@pytest.mark.parametrize(
    "where",
    [(3, 4, 5), (slice(None), 4, 5), (3,), (slice(2, 8), slice(2, 8), slice(2, 8))],
    ids=["voxel", "line", "plane", "block"],
)
def test_a_dense_label_with_some_voxels_that_nobody_annotated_is_an_error(where: tuple[int | slice, ...]) -> None:
    """It is not dozens of annotated slices, unless they are listed."""
    label = DENSE.copy()
    label[where] = 255
    with pytest.raises(UserError, match=r"looks densely labelled.* have value 255.*--simulate SCA, or .*--planes FILE"):
        read(label)
    every_plane = [("axial", index) for index in range(20)]
    assert len(read(label, every_plane).planes) == 20


@pytest.mark.parametrize("drawn", [{0: range(8, 13)}, {0: range(0, 20, 2), 1: (9, 10)}, {0: range(13)}])
def test_many_annotated_slices_are_no_dense_label(drawn: dict[int, Iterable[int]]) -> None:
    """Neither neighbours, nor every second slice, nor more than half of them."""
    planes = [(axis, index) for axis, indices in drawn.items() for index in indices]
    label = np.full(DENSE.shape, 255, np.uint8)
    for plane in planes:
        label[on_plane(plane)] = DENSE[on_plane(plane)]
    assert read(label).planes == planes


def test_a_listed_plane_outside_the_scan_is_an_error() -> None:
    """The error says which indices exist."""
    with pytest.raises(UserError, match=r"axial 20 .* axial slices 0 to 19"):
        read(sparse(0), [("axial", 20)])


def test_a_case_without_a_listed_plane_is_an_error() -> None:
    """A list of planes must cover every labelled case."""
    with pytest.raises(UserError, match="lists no plane"):
        read(sparse(0), [])
