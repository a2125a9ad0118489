"""Side volumes: what `rada/` knows of a labelled case, on its preprocessed grid.

They are made once, at the start of training, in a sub-folder of the preprocessed data folder, which nnU-Net deletes
when it preprocesses anew. Per case: `{case}.b2nd` (int8 labels, memory-mapped by the loader), `{case}_confidence.b2nd`
(uint8) and `{case}.safetensors` (grid, planes, foreground voxels).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nnunetv2_rada.data.grid import Grid, covered_by_plane
from nnunetv2_rada.method.base import UNKNOWN
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.processes.parallel import run_in_processes
from sparse_annotation_tools.processes.progress import progress
from sparse_annotation_tools.schema import VIEWS, AnnotatedSlice, Case, CasesFile, RadaFolder
from sparse_annotation_tools.slices.views import view_label

SIDE_FOLDER = "rada_side_volumes"
FORMAT_VERSION = 2

# Channels of the label volume.
ANNOTATION = 0  # drawn labels, extruded over SLAB voxels so that interpolation never mixes them with UNKNOWN
FIRST_VIEW = 1  # one channel per network, in the order of schema.VIEWS
FUSED = FIRST_VIEW + len(VIEWS)
NUM_CHANNELS = FUSED + 1

SLAB = 3.0  # thickness of the extruded annotation, in voxels
_WORTH_PROCESSES = 10_000_000  # voxels in all; below, starting processes costs more than the work (some 10 s)
_MAX_LOCATIONS = 10_000  # foreground voxels kept per class, as in nnU-Net


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An annotated plane on the preprocessed grid: grid axis, raw index, positions of the networks that own it."""

    axis: int
    index: int
    networks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SideVolumes:
    """One labelled case on its preprocessed grid.

    Attributes:
        labels: [NUM_CHANNELS, X, Y, Z] int8, memory-mapped; `UNKNOWN` where nothing is known.
        confidence: [1, X, Y, Z] uint8, memory-mapped; confidence of the fused label, 0 to 255.
        origin: raw index at voxel 0, per grid axis.
        step: raw slices per voxel, per grid axis.
        planes: the annotated planes.
        foreground: class -> [n, 3] voxels drawn or propagated as that class.
        fingerprint: of all that they were made from.
    """

    labels: blosc2.NDArray
    confidence: blosc2.NDArray
    origin: tuple[float, ...]
    step: tuple[float, ...]
    planes: tuple[Plane, ...]
    foreground: dict[int, NDArray[np.int32]]
    fingerprint: str

    @classmethod
    def load(cls, folder: Path, case: str) -> SideVolumes:
        """Open the side volumes of a case.

        Raises:
            UserError: a file has vanished or cannot be read.
        """
        try:
            labels = _open(folder / f"{case}.b2nd")
            confidence = _open(folder / f"{case}_confidence.b2nd")
            with safe_open(folder / f"{case}.safetensors", framework="numpy") as file:
                record = json.loads(file.metadata()["record"])
                foreground = {int(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, RuntimeError, KeyError, ValueError, SafetensorError) as error:
            raise UserError(
                f"side volumes of case {case} in {folder} cannot be read ({error}); "
                "run the same nnUNetv2_train command again with --c, which makes them anew"
            ) from None
        planes = tuple(Plane(**{**plane, "networks": tuple(plane["networks"])}) for plane in record["planes"])
        return cls(
            labels=labels,
            confidence=confidence,
            origin=tuple(record["origin"]),
            step=tuple(record["step"]),
            planes=planes,
            foreground=foreground,
            fingerprint=record["fingerprint"],
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the side volumes of a case are made from.

    Attributes:
        case: case identifier.
        record: its entry in `cases.json`.
        rada: the `rada/` folder.
        annotation_file: nnU-Net's ground truth: drawn labels, `ignore` elsewhere.
        grid: the preprocessed grid.
    """

    case: str
    record: Case
    rada: RadaFolder
    annotation_file: Path
    grid: Grid

    def files(self) -> list[Path]:
        """Return every file that the side volumes depend on."""
        propagated = [self.rada.propagated(self.case, k) for k in range(len(self.record.slices))]
        return [self.annotation_file, *propagated, self.rada.fused(self.case), self.rada.confidence(self.case)]

    def fingerprint(self) -> str:
        """Return a hash of everything the side volumes depend on; a stale set is made anew."""
        digest = sha256(json.dumps([FORMAT_VERSION, asdict(self.record), asdict(self.grid)]).encode())
        for path in self.files():
            try:
                digest.update(sha256(path.read_bytes()).digest())
            except FileNotFoundError:
                raise UserError(
                    f"{path} is missing, but cases.json lists it for case {self.case}; "
                    "run rada-make-sparse-dataset again"
                ) from None
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """nnU-Net's own reading and resampling, as picklable callables, and the label that means `ignore`."""

    read: Callable[[str], tuple[NDArray[Any], dict[str, Any]]]
    resample_labels: Callable[..., NDArray[Any]]
    resample_probabilities: Callable[..., NDArray[Any]]
    ignore: int

    @classmethod
    def of_plans(cls, plans: PlansManager, configuration: ConfigurationManager, ignore: int) -> Tools:
        """Take reader and resampling functions from the plans."""
        return cls(
            read=plans.image_reader_writer_class().read_seg,
            resample_labels=configuration.resampling_fn_seg,
            resample_probabilities=configuration.resampling_fn_probabilities,
            ignore=ignore,
        )


def labelled_sources(
    cases: CasesFile, rada: RadaFolder, dataset: nnUNetBaseDataset, gt_folder: Path, plans: PlansManager, spacing: Any
) -> list[Source]:
    """Return the source of every labelled case that has been preprocessed.

    Args:
        cases: the content of `cases.json`.
        rada: its folder.
        dataset: nnU-Net's preprocessed dataset.
        gt_folder: nnU-Net's `gt_segmentations`.
        plans: the plans of the dataset.
        spacing: the configuration's spacing.
    """
    sources = []
    for case in cases.labelled:
        if case not in dataset.identifiers:
            raise UserError(
                f"case {case} of cases.json has not been preprocessed; "
                "run nnUNetv2_plan_and_preprocess on this dataset again"
            )
        image, _, _, properties = dataset.load_case(case)
        grid = Grid.from_properties(
            properties, transpose_forward=plans.transpose_forward, shape=image.shape[1:], target_spacing_mm=spacing
        )
        sources.append(
            Source(
                case=case,
                record=cases.cases[case],
                rada=rada,
                annotation_file=gt_folder / f"{case}.nii.gz",
                grid=grid,
            )
        )
    return sources


def prepare(sources: Sequence[Source], folder: Path, tools: Tools, *, num_processes: int) -> None:
    """Make the side volumes that are missing or stale, in processes, with a progress bar.

    A killed run goes on: each case's record is written last and atomically.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stale = [source for source in sources if _stored_fingerprint(folder, source.case) != source.fingerprint()]
    if not stale:
        return
    voxels = sum(math.prod(source.grid.shape) for source in stale)
    tasks: list[tuple[object, ...]] = [(source, folder, tools) for source in stale]
    if num_processes > 1 and voxels > _WORTH_PROCESSES:
        names = [source.case for source in stale]
        run_in_processes(make, tasks, names=names, processes=num_processes, description="RADA side volumes")
        return
    with progress(len(tasks), "RADA side volumes") as shown:
        for task in tasks:
            make(*task)
            shown.update()


def make(source: Source, folder: Path, tools: Tools) -> None:
    """Make the side volumes of one case."""
    slices, grid = source.record.slices, source.grid

    def read(path: Path) -> NDArray[np.uint8]:
        return np.asarray(tools.read(str(path))[0][0]).astype(np.uint8)

    drawn = read(source.annotation_file).astype(np.int16)
    drawn[drawn == tools.ignore] = UNKNOWN
    propagated = [read(source.rada.propagated(source.case, k)) for k in range(len(slices))]
    fused = read(source.rada.fused(source.case))

    labels = np.full((NUM_CHANNELS, *grid.shape), UNKNOWN, dtype=np.int8)
    labels[ANNOTATION] = extruded_annotation(drawn, slices, grid)
    for channel, network in enumerate(VIEWS, start=FIRST_VIEW):
        view = view_label(source.record, propagated, drawn, network, fused)
        labels[channel] = grid.resampled(view, tools.resample_labels)
    labels[FUSED] = grid.resampled(fused, tools.resample_labels)

    confidence = read(source.rada.confidence(source.case)).astype(np.float32)
    confidence = np.asarray(grid.resampled(confidence, tools.resample_probabilities))[None]
    save_side_volumes(
        folder,
        source.case,
        labels,
        np.clip(np.rint(confidence), 0, 255).astype(np.uint8),
        origin=grid.origin,
        step=grid.step,
        planes=planes_on_grid(source.record, grid),
        fingerprint=source.fingerprint(),
    )


def save_side_volumes(
    folder: Path,
    case: str,
    labels: NDArray[np.int8],
    confidence: NDArray[np.uint8],
    *,
    origin: tuple[float, ...],
    step: tuple[float, ...],
    planes: tuple[Plane, ...],
    fingerprint: str,
) -> None:
    """Write what `SideVolumes.load` reads; the record, which vouches for the rest, last."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / f"{case}.b2nd", labels)
    _save(folder / f"{case}_confidence.b2nd", confidence)
    record = {"fingerprint": fingerprint, "origin": origin, "step": step, "planes": [asdict(p) for p in planes]}
    with atomic_path(folder / f"{case}.safetensors") as temporary:
        save_file(_foreground_locations(labels), temporary, metadata={"record": json.dumps(record)})


def planes_on_grid(record: Case, grid: Grid) -> tuple[Plane, ...]:
    """Return the annotated planes of a case on its grid; planes that nnU-Net cropped away are left out."""
    owners = {
        k: tuple(position for position, name in enumerate(VIEWS) if k in record.networks.get(name, ()))
        for k in range(len(record.slices))
    }
    return tuple(
        Plane(axis=grid.axis_of(annotated.axis), index=annotated.index, networks=owners[k])
        for k, annotated in enumerate(record.slices)
        if grid.contains(annotated.axis, annotated.index)
    )


def extruded_annotation(
    drawn: NDArray[np.int16], slices: Sequence[AnnotatedSlice], grid: Grid, *, width: float = SLAB
) -> NDArray[np.int8]:
    """Draw every annotated plane on the grid, `width` voxels thick; where slabs meet, the nearest plane wins.

    Returns:
        [X, Y, Z] int8, `UNKNOWN` off the slabs. Labels are resampled in-plane from the drawn slice.
    """
    labels = np.full(grid.shape, UNKNOWN, dtype=np.int8)
    nearest = np.full(grid.shape, np.inf)
    for annotated in slices:
        if not grid.contains(annotated.axis, annotated.index):
            continue
        axis = grid.axis_of(annotated.axis)
        step = grid.step[axis]
        distance = grid.origin[axis] + step * np.arange(grid.shape[axis]) - annotated.index
        slab = np.flatnonzero(covered_by_plane(distance, step, width=width))
        drawn_slice = grid.resampled_slice(drawn, annotated.axis, annotated.index)
        for position in slab:
            where = (slice(None),) * axis + (position,)
            # On the plane itself (true for exactly one plane's own voxels) distance counts as 0.
            own = 0.0 if covered_by_plane(distance[position], step) else abs(distance[position]) / max(1.0, step)
            closer = (own < nearest[where]) & (drawn_slice >= 0)
            labels[where] = np.where(closer, drawn_slice, labels[where])
            nearest[where] = np.where(closer, own, nearest[where])
    return labels


def _foreground_locations(labels: NDArray[np.int8]) -> dict[str, NDArray[np.int32]]:
    """Pick voxels of each class that are drawn or in the fused label."""
    rng = np.random.default_rng(0)
    known = np.where(labels[ANNOTATION] >= 0, labels[ANNOTATION], labels[FUSED])
    locations = {}
    for value in np.unique(known[known > 0]):
        voxels = np.ascontiguousarray(np.argwhere(known == value), np.int32)  # safetensors writes memory as it lies
        if len(voxels) > _MAX_LOCATIONS:
            voxels = voxels[np.sort(rng.choice(len(voxels), _MAX_LOCATIONS, replace=False))]
        locations[str(value)] = voxels
    return locations


def _stored_fingerprint(folder: Path, case: str) -> str | None:
    """Return what side volumes were made from; None where a file of theirs is missing or cut off."""
    try:
        return SideVolumes.load(folder, case).fingerprint
    except (UserError, KeyError, TypeError):  # the record is of another version
        return None


def _save(path: Path, array: NDArray[Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.unlink()  # blosc2 refuses to write over an existing file
        blosc2.asarray(np.ascontiguousarray(array), urlpath=str(temporary), cparams={"clevel": 5, "nthreads": 1})


def _open(path: Path) -> blosc2.NDArray:
    return blosc2.open(urlpath=str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
