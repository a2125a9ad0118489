"""Tests of what each view may learn from a case."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.schema import AnnotatedSlice, Case
from sparse_annotation_tools.slices.planes import annotation_volume, on_plane
from sparse_annotation_tools.slices.views import UNKNOWN, nearest_plane, paste_annotation, view_label

SHAPE = (8, 9, 10)
VIEW_OF_AXIS = ("axial", "coronal", "sagittal")


def case_with(slices: list[tuple[int, int, tuple[int, ...]]], networks: dict[str, tuple[int, ...]]) -> Case:
    """Return a case with slices given as (axis, index, classes)."""
    annotated = tuple(
        AnnotatedSlice(view=VIEW_OF_AXIS[axis], axis=axis, index=index, area=1, classes=classes)
        for axis, index, classes in slices
    )
    return Case(labelled=True, shape=SHAPE, sagittal_axis=2, slices=annotated, networks=networks)


def annotation_of(case: Case, value: int = 7) -> NDArray[np.int16]:
    """Return an annotation that shows `value` on every plane."""
    planes = case.planes
    drawn = [np.full(np.zeros(SHAPE)[on_plane(plane)].shape, value) for plane in planes]
    return annotation_volume(SHAPE, planes, drawn)


def constant(value: int) -> NDArray[np.uint8]:
    """Return a volume of one value."""
    return np.full(SHAPE, value, np.uint8)


def test_annotated_voxels_replace_propagated_ones() -> None:
    """Drawn background counts as much as drawn foreground."""
    annotation = np.full(SHAPE, -1, np.int16)
    annotation[2] = 0
    pasted = paste_annotation(constant(1), annotation)
    assert (pasted[2] == 0).all()
    assert (np.delete(pasted, 2, axis=0) == 1).all()


def test_distances_count_slices_along_the_plane_axis() -> None:
    """Zero on the plane, growing by one per slice on either side, blind to the other two axes."""
    _, distance = nearest_plane(SHAPE, [(1, 3)])
    np.testing.assert_array_equal(distance[0, :, 0], [3, 2, 1, 0, 1, 2, 3, 4, 5])
    assert (distance == distance[:1, :, :1]).all()


def test_the_nearest_of_several_planes_wins_and_ties_go_to_the_first() -> None:
    """Also where the planes have different orientations."""
    position, distance = nearest_plane(SHAPE, [(0, 2), (0, 6), (2, 0)])
    assert position[4, 0, 9] == 0  # two slices from either axial plane
    assert distance[4, 0, 9] == 2
    assert position[5, 0, 9] == 1
    assert position[4, 0, 1] == 2
    assert distance[4, 0, 1] == 1


def test_distance_needs_a_plane() -> None:
    """A case without slices has no distance."""
    with pytest.raises(ValueError, match="no plane"):
        nearest_plane(SHAPE, [])


def test_a_view_learns_its_own_slice_with_the_others_pasted_in() -> None:
    """Off the planes the network's own propagated label, on them the annotator's."""
    case = case_with([(2, 5, (7,)), (1, 4, (7,)), (0, 3, (7,))], {"sagittal": (0,), "coronal": (1,), "axial": (2,)})
    annotation = annotation_of(case)
    for k, network in enumerate(("sagittal", "coronal", "axial")):
        label = view_label(case, [constant(1), constant(2), constant(3)], annotation, network)
        np.testing.assert_array_equal(label[annotation >= 0], 7)
        np.testing.assert_array_equal(label[annotation < 0], k + 1)


def test_a_view_with_several_slices_learns_from_the_nearest_one() -> None:
    """Ties go to the slice of lower index, in whatever order the slices are listed."""
    case = case_with([(0, 6, (7,)), (0, 2, (7,))], {"axial": (0, 1)})
    label = view_label(case, [constant(1), constant(2)], annotation_of(case), "axial")
    np.testing.assert_array_equal(label[:, 0, 0], [2, 2, 7, 2, 2, 1, 7, 1])


def test_a_view_without_a_slice_learns_the_fused_label() -> None:
    """With the annotation pasted in; without a fused label it cannot be told."""
    case = case_with([(0, 3, (7,))], {"sagittal": (), "axial": (0,)})
    annotation = annotation_of(case)
    label = view_label(case, [constant(1)], annotation, "sagittal", fused=constant(4))
    np.testing.assert_array_equal(label, np.where(annotation >= 0, 7, 4))
    with pytest.raises(ValueError, match="give the fused label"):
        view_label(case, [constant(1)], annotation, "sagittal")


def test_a_view_knows_nothing_off_the_planes_where_others_show_a_class_that_it_does_not() -> None:
    """Propagation from its slices would have painted over that class; the drawn voxels still count."""
    networks = {"sagittal": (0,), "coronal": (1,), "axial": (2, 3)}
    case = case_with([(2, 5, (1, 2)), (1, 4, (1,)), (0, 3, (1,)), (0, 6, (2,))], networks)
    annotation = annotation_of(case, value=1)
    propagated = [constant(1)] * 4
    coronal = view_label(case, propagated, annotation, "coronal")
    np.testing.assert_array_equal(coronal, np.where(annotation >= 0, 1, UNKNOWN))
    for knowing in ("sagittal", "axial"):
        assert (view_label(case, propagated, annotation, knowing) != UNKNOWN).all()


def test_inputs_are_left_alone() -> None:
    """The annotation that comes in is not the label that goes out."""
    case = case_with([(2, 5, (1, 2)), (1, 4, (1,))], {"sagittal": (0,), "coronal": (1,)})
    annotation = annotation_of(case)
    before = annotation.copy()
    for network in case.networks:
        view_label(case, [constant(1)] * 2, annotation, network)[:] = 9
    np.testing.assert_array_equal(annotation, before)
