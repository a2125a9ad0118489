"""Which slices an annotator would have drawn on a dense label, and which network learns from which slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import VIEWS
from sparse_annotation_tools.slices.planes import Plane

_VIEW_OF_LETTER = {view[0].upper(): view for view in VIEWS}


def views_of_strategy(strategy: str) -> tuple[str, ...]:
    """Return one view per letter of a slice strategy.

    Raises:
        UserError: empty, or a letter other than S, C, A.

    >>> views_of_strategy("SCA")
    ('sagittal', 'coronal', 'axial')
    """
    letters = strategy.upper()
    if not letters or set(letters) - set(_VIEW_OF_LETTER):
        raise UserError(f"--simulate {strategy!r} is no slice strategy; expected letters of S, C and A, such as SCA")
    return tuple(_VIEW_OF_LETTER[letter] for letter in letters)


def select_slices(foreground: NDArray[np.bool_], axes: Mapping[str, int], views: Sequence[str]) -> list[Plane]:
    """Choose one plane per entry of `views`: largest foreground first, ties to the lowest index.

    Repeated views take distinct slices: the next best that keeps a gap to those taken already. Decision: with m slices
    of one view the gap is 1/(2m) of the object's extent along it, so that m slices always fit.

    Args:
        foreground: (z, y, x), True where any class is.
        axes: array axis of each view.
        views: for example ("sagittal", "coronal", "axial").

    Raises:
        UserError: there is no foreground, or a view has too few slices with foreground.
    """
    ranked = {view: _best_slices(foreground, axes[view], views.count(view), view) for view in set(views)}
    return [(axes[view], ranked[view].pop(0)) for view in views]


def networks_of_slices(views: Sequence[str], *, simulated: bool) -> dict[str, tuple[int, ...]]:
    """Tie each network to positions in the list of annotated slices.

    A network takes the slices of its own view. A simulated strategy of three letters with repeats (SSS, ASA, ...) gives
    slice k to network k instead, so that each network has one.

    Args:
        views: view of each annotated slice, in order.
        simulated: the slices come from a strategy, not from an annotator's own choice.

    >>> networks_of_slices(("axial", "sagittal", "axial"), simulated=False)
    {'sagittal': (1,), 'coronal': (), 'axial': (0, 2)}
    """
    if simulated and len(views) == len(VIEWS) and len(set(views)) < len(VIEWS):
        return {network: (k,) for k, network in enumerate(VIEWS)}
    return {network: tuple(k for k, view in enumerate(views) if view == network) for network in VIEWS}


def _best_slices(foreground: NDArray[np.bool_], axis: int, count: int, view: str) -> list[int]:
    area = foreground.sum(axis=tuple(other for other in range(3) if other != axis))
    occupied = np.flatnonzero(area)
    if not len(occupied):
        raise UserError("the label holds no foreground; expected a dense label, or move the image to --unlabelled")
    gap = max(1, int(occupied[-1] - occupied[0] + 1) // (2 * count))
    taken: list[int] = []
    for _ in range(count):
        if not area.any():
            raise UserError(f"the label has foreground on too few {view} slices; expected {count} slices {gap} apart")
        best = int(area.argmax())
        taken.append(best)
        area[max(0, best - gap + 1) : best + gap] = 0
    return taken
