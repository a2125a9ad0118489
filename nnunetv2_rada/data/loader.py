"""Two-stream batches: labelled samples with planes, propagated labels and distances; unlabelled samples behind.

Shape suffixes as in `nnunetv2_rada.method.base`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from threadpoolctl import threadpool_limits
from torch import Tensor

from nnunetv2_rada.data.grid import covered_by_plane
from nnunetv2_rada.data.randomness import seeded
from nnunetv2_rada.data.side_volumes import ANNOTATION, FIRST_VIEW, FUSED, Plane, SideVolumes
from nnunetv2_rada.data.transforms import NUM_COORDINATES
from nnunetv2_rada.method.base import UNKNOWN
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.processes.parallel import end_forks_with_this_process

# Segmentation channels on their way through the augmentation. nnU-Net's masking reads channel 0 (negative: outside).
_ANNOTATION, _VIEWS = 1, 2


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What a loader draws: how many samples of which cases, and from which random stream.

    `views` are positions in `schema.VIEWS`, one per label channel of the batch; `fused` gives every one of them the
    fused label instead.
    """

    labelled: Sequence[str]
    unlabelled: Sequence[str]
    batch_labelled: int
    batch_unlabelled: int
    views: Sequence[int]
    fused: bool
    foreground_fraction: float
    seed: int
    stream: int
    rank: int = 0


class TwoStreamLoader(nnUNetDataLoader):
    """nnU-Net's loader, with an own choice of cases and patches and with side volumes.

    Batch `iteration` depends on (seed, stream, rank, iteration) alone: worker t of n makes the batches first + t,
    first + t + n, ..., which `MultiThreadedAugmenter` hands out in turn.

    Args:
        dataset: nnU-Net's dataset with every case of the streams.
        side_folder: folder of the side volumes.
        stream: what to draw.
        initial_patch_size: shape cut out before augmentation.
        patch_size: shape of the batch.
        label_manager: nnU-Net's label manager.
        transforms: augmentation adapted by `follow_augmentation`, or None.
        first_iteration: iteration of the first batch.
        num_workers: processes that share the work; 0 for none.
    """

    def __init__(
        self,
        dataset: nnUNetBaseDataset,
        side_folder: Path,
        stream: Stream,
        *,
        initial_patch_size: Sequence[int],
        patch_size: Sequence[int],
        label_manager: LabelManager,
        transforms: BasicTransform | None,
        first_iteration: int,
        num_workers: int,
    ) -> None:
        super().__init__(
            dataset,
            stream.batch_labelled + stream.batch_unlabelled,
            initial_patch_size,
            patch_size,
            label_manager,
            transforms=transforms,
        )
        self.has_ignore = False  # else get_bbox centres unlabelled patches on annotated voxels, of which there are none
        self.side_folder = side_folder
        self.stream = stream
        self.first_iteration = first_iteration
        self.num_workers = num_workers
        self.batches_made = 0
        self.thread_id = 0

    def set_thread_id(self, thread_id: int) -> None:
        """Start as a forked worker: compute with one thread, for the parent's OpenMP threads do not exist here.

        `threadpool_limits` below does not reach the MKL inside torch, whose matrix products would wait for them for
        ever.
        """
        super().set_thread_id(thread_id)
        torch.set_num_threads(1)

    def generate_train_batch(self) -> dict[str, Any]:
        """Make this worker's next batch: the arguments of `method.base.Batch` (without embeddings), and `keys`.

        A scan or side volume that cannot be read comes as `{"error": line}`: of an exception in a worker, nothing but
        its traceback would reach the user.
        """
        iteration = self.first_iteration + self.thread_id + self.batches_made * max(1, self.num_workers)
        self.batches_made += 1
        try:
            return {**self._batch(iteration), "iteration": iteration}
        except UserError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"a preprocessed scan cannot be read ({error}); run nnUNetv2_plan_and_preprocess again"}

    def _batch(self, iteration: int) -> dict[str, Any]:
        stream = self.stream
        with (
            seeded(stream.seed, stream.stream, iteration, stream.rank),
            torch.no_grad(),
            threadpool_limits(limits=1, user_api=None),
        ):
            labelled = _draw(stream.labelled, stream.batch_labelled)
            unlabelled = _draw(stream.unlabelled, stream.batch_unlabelled)
            samples = [self._labelled_sample(case) for case in labelled]
            images = [sample.pop("image") for sample in samples]
            images += [self._unlabelled_sample(case) for case in unlabelled]
            batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
            batch["image"] = torch.stack(images)
        return {**batch, "keys": [*labelled, *unlabelled]}

    def _labelled_sample(self, case: str) -> dict[str, Tensor]:
        image, segmentation, _, _ = self._data.load_case(case)
        side = SideVolumes.load(self.side_folder, case)
        box = self._box(image.shape[1:], side.foreground)
        inside = crop_and_pad_nd(segmentation, box, -1)[:1] >= 0
        channels = (
            [FUSED] * len(self.stream.views) if self.stream.fused else [FIRST_VIEW + v for v in self.stream.views]
        )
        labels = crop_and_pad_nd(side.labels, box, UNKNOWN)
        sample = {
            "image": _tensor(crop_and_pad_nd(image, box, 0)).float(),
            "segmentation": _tensor(np.concatenate([inside - 1, labels[[ANNOTATION, *channels]]])).to(torch.int16),
            "regression_target": torch.cat(
                [_coordinates(side, box), _tensor(crop_and_pad_nd(side.confidence, box, 0)).float() / 255]
            ),
        }
        if self.transforms is not None:
            sample = self.transforms(**sample)
        return _supervision(sample, side.planes, self.stream)

    def _unlabelled_sample(self, case: str) -> Tensor:
        image, segmentation, _, _ = self._data.load_case(case)
        box = self._box(image.shape[1:], None)
        sample = {"image": _tensor(crop_and_pad_nd(image, box, 0)).float()}
        if self.transforms is not None:
            inside = crop_and_pad_nd(segmentation, box, -1)[:1] >= 0
            sample = self.transforms(**sample, segmentation=_tensor(inside - 1).to(torch.int16))
        return sample["image"]

    def _box(self, shape: Sequence[int], foreground: dict[int, np.ndarray] | None) -> list[list[int]]:
        """Place a patch: centred on a foreground voxel of a random class, or anywhere."""
        centred = bool(foreground) and np.random.uniform() < self.stream.foreground_fraction
        # get_bbox expects a leading channel index in each location.
        locations = {value: np.pad(voxels, ((0, 0), (1, 0))) for value, voxels in (foreground or {}).items()}
        lower, upper = self.get_bbox(np.asarray(shape), centred, locations if centred else None)
        return [[int(low), int(high)] for low, high in zip(lower, upper, strict=True)]


def _draw(cases: Sequence[str], size: int) -> list[str]:
    """Draw cases, without replacement where there are enough."""
    if size == 0:
        return []
    return [str(case) for case in np.random.choice(cases, size, replace=len(cases) < size)]


def _coordinates(side: SideVolumes, box: list[list[int]]) -> Tensor:
    """[3, *patch] float32: the raw index of every voxel of a patch along each grid axis, beyond the scan as well."""
    ramps = [
        torch.arange(low, high, dtype=torch.float32) * step + origin
        for (low, high), step, origin in zip(box, side.step, side.origin, strict=True)
    ]
    return torch.stack(torch.meshgrid(*ramps, indexing="ij"))


def _supervision(sample: dict[str, Tensor], planes: Sequence[Plane], stream: Stream) -> dict[str, Tensor]:
    """Draw planes and distances on an augmented patch, and paste the annotation into every network's label."""
    coordinates, confidence = (
        sample["regression_target"][:NUM_COORDINATES],
        sample["regression_target"][NUM_COORDINATES],
    )
    labels = sample["segmentation"]
    drawn = torch.zeros(coordinates.shape[1:], dtype=torch.bool)
    nearest = torch.full((len(stream.views), *coordinates.shape[1:]), torch.inf)
    nearest_any = torch.full(coordinates.shape[1:], torch.inf)
    numbers = torch.zeros(nearest.shape, dtype=torch.int16)
    for number, plane in enumerate(planes, start=1):
        signed = coordinates[plane.axis] - plane.index
        covered = covered_by_plane(signed, _step(coordinates[plane.axis]))
        drawn |= covered
        distance = signed.abs()
        nearest_any = torch.minimum(nearest_any, distance)
        for position, view in enumerate(stream.views):
            if view in plane.networks:
                nearest[position] = torch.minimum(nearest[position], distance)
                numbers[position][covered] = number
    # A network without a slice of its own learns the fused label, weighted by the distance to any slice.
    nearest = torch.where(torch.isinf(nearest), nearest_any, nearest)
    annotation = torch.where(drawn, labels[_ANNOTATION], UNKNOWN)
    return {
        "image": sample["image"],
        "label": torch.where(annotation >= 0, annotation, labels[_VIEWS:]),
        "distance": torch.nan_to_num(nearest, posinf=0.0),
        "annotation": annotation,
        "plane": torch.where(annotation >= 0, numbers, 0),
        "confidence": confidence.clamp(0, 1),
    }


def _step(coordinate: Tensor) -> float:
    """Raw slices per voxel across a plane after augmentation: the steepest slope of the coordinate.

    The coordinate is linear, so one corner tells all of it. With the steepest (not the Euclidean) slope, a rotated
    plane stays one voxel thick and without holes.
    """
    corner = coordinate[(0,) * coordinate.ndim]
    slopes = [coordinate.movedim(axis, 0)[1].flatten()[0] - corner for axis in range(coordinate.ndim)]
    return float(torch.stack(slopes).abs().max())


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def start_loader(loader: TwoStreamLoader, *, pin_memory: bool) -> MultiThreadedAugmenter | SingleThreadedAugmenter:
    """Run a loader in its `num_workers` processes, or in this one where that is 0.

    Not nnU-Net's own NonDetMultiThreadedAugmenter: the order of batches is part of an exact resume.
    """
    if loader.num_workers == 0:
        return SingleThreadedAugmenter(loader, None)
    end_forks_with_this_process()  # a killed training would leave them waiting, and their memory taken
    return MultiThreadedAugmenter(
        loader, None, loader.num_workers, num_cached_per_queue=2, pin_memory=pin_memory, wait_time=0.002
    )
