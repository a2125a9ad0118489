"""Find the planes that an annotator painted on, from the painted voxels alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, binary_opening
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.slices.planes import Plane, on_plane

_DENSE_SHARE = 0.2  # of painted voxels deep inside a solid; slices have none
_MAX_OPEN_VOXELS = 20_000  # beyond this the exact search takes minutes, and the labels are not slices anyway
_WAY_OUT = (
    "give --planes FILE (CSV: case,view,index) or mark the voxels that nobody annotated with the value of "
    "--not-annotated; for dense labels give --simulate SCA"
)


def find_planes(painted: NDArray[np.bool_], name: str) -> list[Plane]:
    """Return the smallest set of axis-aligned planes that holds every painted voxel, by axis and index.

    Args:
        painted: (z, y, x), at least one voxel.
        name: of the label map, for the error.

    Raises:
        UserError: nothing is painted, the labels are dense, several smallest sets exist, or the smallest one holds a
            plane that was not drawn as a slice.
    """
    if not painted.any():
        raise UserError(f"{name} has no painted voxel; {_WAY_OUT}, or move the image to --unlabelled")
    if looks_dense(painted):
        raise UserError(f"{name} looks densely labelled, expected painted slices; {_WAY_OUT}")
    voxels = np.argwhere(painted)
    forced = _forced_planes(voxels)
    open_voxels = _uncovered(voxels, forced)
    if len(open_voxels) > _MAX_OPEN_VOXELS:
        raise UserError(f"{name} is not painted on a few planes; {_WAY_OUT}")
    chosen = _smallest_cover(open_voxels) or []
    other = _smallest_cover(open_voxels, forbidden=chosen)
    if other is not None and len(other) == len(chosen):
        raise UserError(
            f"{name} does not say which planes were annotated: {_text(forced + chosen)} hold every painted voxel, "
            f"and so do {_text(forced + other)}; {_WAY_OUT}"
        )
    hatched = [plane for plane in forced + chosen if not _is_solid(painted[on_plane(plane)])]
    if hatched:
        raise UserError(
            f"{name} does not say which planes were annotated: {_text(forced + chosen)} hold every painted voxel, but "
            f"{_text(hatched[:1])} shows thin lines, as if other planes were painted across it; {_WAY_OUT}"
        )
    return sorted(forced + chosen)


def looks_dense(painted: NDArray[np.bool_]) -> bool:
    """Tell a dense label from painted slices (z, y, x): slices have no voxel deep inside a solid."""
    return bool(binary_erosion(painted, np.ones((3, 3, 3))).sum() > _DENSE_SHARE * painted.sum())


def _forced_planes(voxels: NDArray[np.intp]) -> list[Plane]:
    """Return planes that every smallest cover contains.

    Without plane P its voxels need at least as many other planes as the largest matching of P's rows and columns
    (König). More than an upper bound of the whole cover: P is in it. Slices of an organ are nearly always decided here.
    """
    forced: list[Plane] = []
    while True:
        bound = _greedy_cover_size(voxels)
        found = [plane for plane in _planes_through(voxels) if _matching_size(voxels, plane) > bound]
        if not found:
            return forced
        forced += found
        voxels = _uncovered(voxels, found)


def _smallest_cover(voxels: NDArray[np.intp], forbidden: list[Plane] | None = None) -> list[Plane] | None:
    """Solve the set cover exactly as an integer programme; `forbidden` is one cover that must not come out."""
    planes = _planes_through(voxels)
    column = {plane: number for number, plane in enumerate(planes)}
    if not len(voxels):
        return [] if forbidden is None else None
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes time to load, and slices seldom need it

    columns = [column[axis, int(voxel[axis])] for voxel in voxels for axis in range(3)]
    rows = np.repeat(np.arange(len(voxels)), 3)
    holds = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(voxels), len(planes)))
    constraints = [LinearConstraint(holds, lb=1)]
    if forbidden is not None:
        cut = np.isin(np.arange(len(planes)), [column[plane] for plane in forbidden]).astype(float)
        constraints.append(LinearConstraint(cut, ub=len(forbidden) - 1))
    result = milp(np.ones(len(planes)), integrality=np.ones(len(planes)), bounds=Bounds(0, 1), constraints=constraints)
    if result.x is None:
        return None
    return [plane for plane, value in zip(planes, result.x, strict=True) if value > 0.5]


def _is_solid(painted: NDArray[np.bool_]) -> bool:
    """Tell a drawn slice from one that is only crossed by drawn slices: most of its pixels lie in 2x2 blocks.

    Many planes painted across a thin object are covered by fewer planes along it, on which nobody drew. Taking those
    would turn everything between the painted lines into background.
    """
    return bool(2 * binary_opening(painted, np.ones((2, 2))).sum() >= painted.sum())


def _greedy_cover_size(voxels: NDArray[np.intp]) -> int:
    size = 0
    while len(voxels):
        counts = [(np.bincount(voxels[:, axis]), axis) for axis in range(3)]
        _, axis, index = max((int(count.max()), axis, int(count.argmax())) for count, axis in counts)
        voxels = voxels[voxels[:, axis] != index]
        size += 1
    return size


def _matching_size(voxels: NDArray[np.intp], plane: Plane) -> int:
    axis, index = plane
    pixels = np.delete(voxels[voxels[:, axis] == index], axis, axis=1)
    graph = csr_matrix((np.ones(len(pixels)), (pixels[:, 0], pixels[:, 1])))
    return int((maximum_bipartite_matching(graph) >= 0).sum())


def _planes_through(voxels: NDArray[np.intp]) -> list[Plane]:
    return [(axis, int(index)) for axis in range(3) for index in np.unique(voxels[:, axis])]


def _uncovered(voxels: NDArray[np.intp], planes: list[Plane]) -> NDArray[np.intp]:
    covered = np.zeros(len(voxels), dtype=bool)
    for axis, index in planes:
        covered |= voxels[:, axis] == index
    rest: NDArray[np.intp] = voxels[~covered]
    return rest


def _text(planes: list[Plane]) -> str:
    return ", ".join(f"{'zyx'[axis]}={index}" for axis, index in sorted(planes))
