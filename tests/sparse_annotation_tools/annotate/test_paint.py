"""Paint on crossing slices is one label, and comes back from its record as it was."""

from __future__ import annotations

import json

import numpy as np

from sparse_annotation_tools.annotate.paint import ChosenSlice, Paint, slice_from_json, slice_to_json
from sparse_annotation_tools.slices.planes import on_plane

SHAPE = (4, 5, 6)
AXIAL, OTHER_AXIAL, CORONAL = (0, 2), (0, 3), (1, 3)


def paint_with(*done: tuple[int, int]) -> Paint:
    """An empty scan with three chosen slices, of which some are finished."""
    views = {0: "axial", 1: "coronal"}
    slices = {
        plane: ChosenSlice(view=views[plane[0]], plane=plane, done=plane in done)
        for plane in (AXIAL, OTHER_AXIAL, CORONAL)
    }
    return Paint(label=np.zeros(SHAPE, np.uint8), slices=slices)


def drawn(plane: tuple[int, int], value: int = 1) -> np.ndarray:
    """A slice that is painted all over."""
    return np.full_like(np.zeros(SHAPE, np.uint8)[on_plane(plane)], value)


def test_only_finished_slices_count() -> None:
    """The label map holds finished slices, background included, and 255 everywhere else."""
    paint = paint_with(AXIAL)
    paint.draw(AXIAL, np.eye(5, 6, dtype=np.uint8))
    paint.draw(OTHER_AXIAL, drawn(OTHER_AXIAL))
    label_map = paint.label_map()
    np.testing.assert_array_equal(label_map[2], np.eye(5, 6))
    assert (np.delete(label_map, 2, axis=0) == 255).all()


def test_crossing_slices_share_their_line() -> None:
    """Painting over the line of a finished slice changes it, and is told; beside that line it is not."""
    paint = paint_with(CORONAL)
    beside = drawn(AXIAL, 0)
    beside[0] = 1
    assert not paint.draw(AXIAL, beside)
    assert paint.draw(AXIAL, drawn(AXIAL))
    assert (paint.label[2, 3] == 1).all()
    assert not paint.draw(AXIAL, drawn(AXIAL))  # the same again


def test_a_line_of_another_slice_is_no_paint_of_this_one() -> None:
    """A slice counts as painted by its own voxels, not by those of a slice that crosses it."""
    paint = paint_with()
    paint.draw(AXIAL, drawn(AXIAL))
    assert paint.is_painted(AXIAL)
    assert not paint.is_painted(CORONAL)
    assert not paint.is_painted(OTHER_AXIAL)


def test_erasing_leaves_lines_of_finished_slices() -> None:
    """What is finished elsewhere stands."""
    paint = paint_with(CORONAL)
    paint.draw(AXIAL, drawn(AXIAL))
    paint.erase(AXIAL)
    assert (paint.label[2, 3] == 1).all()
    assert paint.label.sum() == SHAPE[2]
    assert not paint.is_painted(AXIAL)


def test_a_finished_slice_that_shows_the_organ_across_is_named() -> None:
    """A slice cannot be empty where a finished one shows a class on their common line."""
    paint = paint_with(CORONAL)
    assert paint.shown_across(AXIAL) is None
    paint.draw(CORONAL, drawn(CORONAL))
    across = paint.shown_across(AXIAL)
    assert across is not None
    assert across.plane == CORONAL


def test_records_hold_everything() -> None:
    """Slices written as JSON and read again make the same paint."""
    paint = paint_with(CORONAL)
    paint.draw(AXIAL, np.arange(30, dtype=np.uint8).reshape(5, 6) % 3)
    paint.draw(CORONAL, drawn(CORONAL, 2))
    texts = [json.dumps(slice_to_json(each)) for each in paint.with_drawn()]
    again = Paint.of(SHAPE, [slice_from_json(json.loads(text)) for text in texts])
    np.testing.assert_array_equal(again.label, paint.label)
    assert again.done == paint.done
    assert {plane: each.view for plane, each in again.slices.items()} == {
        plane: each.view for plane, each in paint.slices.items()
    }
