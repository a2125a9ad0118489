"""Two-stream batches from real preprocessed files."""

import multiprocessing
import queue
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_rada.data.loader import Stream, TwoStreamLoader, start_loader
from nnunetv2_rada.data.randomness import TRAINING_BATCH
from nnunetv2_rada.data.side_volumes import ANNOTATION, FIRST_VIEW, FUSED, NUM_CHANNELS, SideVolumes, save_side_volumes
from nnunetv2_rada.data.side_volumes import Plane as GridPlane
from nnunetv2_rada.data.transforms import follow_augmentation

SHAPE, PATCH, CUT = (24, 20, 28), (16, 16, 16), (22, 22, 22)
PLANES = (
    GridPlane(axis=0, index=11, networks=(2,)),
    GridPlane(axis=1, index=9, networks=(1,)),
    GridPlane(axis=2, index=14, networks=(0,)),
)
LABELS = LabelManager({"background": 0, "organ": 1, "ignore": 2}, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two labelled and three unlabelled cases, preprocessed; each view says something else off the planes."""
    folder = tmp_path_factory.mktemp("preprocessed")
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.normal(size=(1, *SHAPE)).astype(np.float32) + number
        segmentation = np.zeros((1, *SHAPE), dtype=np.int8)
        segmentation[:, :2] = -1  # outside of the non-zero crop
        nnUNetDatasetBlosc2.save_case(
            image, segmentation, {"class_locations": {}}, str(folder / f"case{number}"),
            chunks=(1, *PATCH), blocks=(1, 8, 8, 8),
        )  # fmt: skip
        if number < 2:
            labels = np.full((NUM_CHANNELS, *SHAPE), -1, dtype=np.int8)
            blob = np.zeros(SHAPE, dtype=np.int8)
            blob[6:18, 5:15, 8:20] = 1
            labels[ANNOTATION] = blob
            labels[FIRST_VIEW], labels[FIRST_VIEW + 1], labels[FIRST_VIEW + 2] = 1, 0, -1
            labels[FUSED] = blob
            save_side_volumes(
                folder / "side", f"case{number}", labels, np.full((1, *SHAPE), 128, dtype=np.uint8),
                origin=(0.0, 0.0, 0.0), step=(1.0, 1.0, 1.0), planes=PLANES, fingerprint="",
            )  # fmt: skip
    return folder


STREAM = Stream(
    labelled=("case0", "case1"), unlabelled=("case2", "case3", "case4"), batch_labelled=2, batch_unlabelled=2,
    views=(0, 1, 2), fused=False, foreground_fraction=1.0, seed=0, stream=TRAINING_BATCH,
)  # fmt: skip


def make_loader(folder, stream=STREAM, *, augment=False, first=0, workers=0):
    """Build a loader as the trainer does."""
    transforms = None
    if augment:
        stock = nnUNetTrainer.get_training_transforms(
            list(PATCH), (-0.5, 0.5), None, (0, 1, 2), False, use_mask_for_norm=[False]
        )
        transforms = follow_augmentation(stock)
    return TwoStreamLoader(
        nnUNetDatasetBlosc2(str(folder)), folder / "side", stream, initial_patch_size=CUT if augment else PATCH,
        patch_size=PATCH, label_manager=LABELS, transforms=transforms, first_iteration=first, num_workers=workers,
    )  # fmt: skip


def test_labelled_samples_come_first_and_everything_has_its_shape(folder):
    """Keys, shapes and dtypes are those of `Batch`."""
    batch = next(make_loader(folder, augment=True))
    assert batch["image"].shape == (4, 1, *PATCH)
    assert batch["label"].shape == batch["distance"].shape == (2, 3, *PATCH)
    assert batch["annotation"].shape == batch["confidence"].shape == (2, *PATCH)
    assert set(batch["keys"][:2]) == {"case0", "case1"}
    assert set(batch["keys"][2:]) <= {"case2", "case3", "case4"}


def test_planes_distances_and_labels_are_those_of_the_case(folder):
    """Without augmentation: distance counts from each network's own plane, and the annotation stands on all planes."""
    batch = next(make_loader(folder, replace(STREAM, batch_labelled=1, batch_unlabelled=1)))
    distance, annotation, label = batch["distance"][0], batch["annotation"][0], batch["label"][0]
    sagittal = distance[0, 0, 0]  # network 0 owns the plane along the last axis
    assert sagittal.min() == 0
    assert sagittal.diff().abs().unique().tolist() == [1.0]
    inside = batch["label"][0, 0] >= 0
    drawn = annotation >= 0
    assert torch.equal(drawn, (distance == 0).any(0) & inside)
    for view, elsewhere in enumerate((1, 0, -1)):
        assert torch.equal(label[view][drawn], annotation[drawn])
        assert (label[view][inside & ~drawn] == elsewhere).all()


def test_each_annotated_voxel_knows_the_planes_it_lies_on(folder):
    """Per network the number of its own plane, also after augmentation; together they are all annotated voxels."""
    for augment in (False, True):
        batch = next(make_loader(folder, augment=augment))
        plane, distance, annotated = batch["plane"], batch["distance"], batch["annotation"] >= 0
        assert plane.dtype == torch.int16
        assert torch.equal((plane > 0).any(dim=1), annotated)
        for view, number in enumerate((3, 2, 1)):  # network 2 owns the first plane, network 0 the last
            assert set(plane[:, view].unique().tolist()) == {0, number}
        if not augment:
            assert torch.equal(plane > 0, (distance == 0) & annotated[:, None])


def test_a_plane_is_one_voxel_thick_and_whole_after_any_augmentation(folder):
    """Rotated and scaled planes have no hole: along its steepest axis, every column meets a plane once at most."""
    loader = make_loader(folder, augment=True)
    seen = 0
    for _ in range(20):
        batch = next(loader)
        for distance in batch["distance"].flatten(0, 1):
            slopes = [distance.movedim(axis, 0).diff(dim=0).abs().max() for axis in range(3)]
            steepest = int(torch.stack(slopes).argmax())
            step = float(slopes[steepest])
            columns = (distance.movedim(steepest, 0) <= 0.5 * max(1.0, step) + 1e-3).sum(0)
            seen += int(columns.max() > 0)
            assert columns.max() <= (2 if step >= 1 else 2 + 1 / step)
    assert seen > 20


def test_a_view_without_a_slice_learns_at_the_distance_of_any_slice(folder):
    """Distance of a network that owns no plane is the smallest to all planes."""
    stream = replace(STREAM, views=(0, 1, 2), batch_labelled=1, batch_unlabelled=1)
    loader = make_loader(folder, stream)
    side = SideVolumes.load(folder / "side", "case0")
    lonely = [replace(plane, networks=()) for plane in side.planes]
    sample = next(loader)
    from nnunetv2_rada.data.loader import _coordinates, _supervision

    box = [[0, 16]] * 3
    data = {
        "image": sample["image"][0],
        "segmentation": torch.zeros(5, *PATCH, dtype=torch.int16),
        "regression_target": torch.cat([_coordinates(side, box), torch.ones(1, *PATCH)]),
    }
    distance = _supervision(data, lonely, stream)["distance"]
    assert torch.equal(distance[0], distance[2])
    assert distance[0, 11, 0, 0] == 0
    assert distance[0, 0, 9, 0] == 0


def test_fused_labels_serve_every_view(folder):
    """With `fused`, the three label channels are the same."""
    batch = next(make_loader(folder, replace(STREAM, fused=True)))
    assert torch.equal(batch["label"][:, 0], batch["label"][:, 1])
    assert torch.equal(batch["label"][:, 0], batch["label"][:, 2])
    assert abs(float(batch["confidence"][0, 8, 8, 8]) - 128 / 255) < 1e-6


def test_labelled_patches_hold_foreground(folder):
    """With a foreground fraction of 1 every labelled patch contains a foreground voxel."""
    loader = make_loader(folder, replace(STREAM, fused=True))
    for _ in range(10):
        assert (next(loader)["label"] == 1).flatten(1).any(1).all()


def equal(first, second):
    """Whether two batches hold the same numbers."""
    return first["keys"] == second["keys"] and all(
        torch.equal(first[name], second[name]) for name in ("image", "label", "distance", "annotation")
    )


def test_a_batch_depends_on_its_iteration_alone(folder):
    """A loader that starts at iteration 3 gives what another gave there; other seeds and iterations differ."""
    loader = make_loader(folder, augment=True)
    batches = [next(loader) for _ in range(4)]
    assert equal(batches[3], next(make_loader(folder, augment=True, first=3)))
    assert not equal(batches[2], batches[3])
    assert not equal(batches[3], next(make_loader(folder, replace(STREAM, seed=1), augment=True, first=3)))


def test_two_workers_give_the_same_batches_as_none(folder):
    """The number of processes changes the speed and nothing else."""
    alone = make_loader(folder, augment=True)
    shared = start_loader(make_loader(folder, augment=True, workers=2), pin_memory=False)
    try:
        for _ in range(4):
            assert equal(next(alone), next(shared))
    finally:
        shared._finish()


def test_one_labelled_case_is_drawn_twice(folder):
    """With fewer cases than samples, cases repeat."""
    batch = next(make_loader(folder, replace(STREAM, labelled=("case1",))))
    assert batch["keys"][:2] == ["case1", "case1"]


def test_a_worker_forked_after_parallel_computing_does_not_wait_for_ever(folder):
    """A forked worker computes with one thread: its parent's OpenMP threads do not exist in it."""
    large = replace(STREAM, views=(0, 1, 2) * 3)  # 36 864 voxels a sample: torch shares stacking them among threads
    loader = make_loader(folder, large, augment=True, workers=1)  # and rotation multiplies matrices
    augmenter = start_loader(loader, pin_memory=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(2_000_000).exp().sum()  # starts the parent's second thread
        augmenter._start()  # forks here, where that thread belongs
        made = queue.Queue()
        threading.Thread(target=lambda: [made.put(next(augmenter)) for _ in range(8)], daemon=True).start()
        for _ in range(8):
            assert len(made.get(timeout=60)["image"]) == 4
    finally:
        augmenter._finish()
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_make_the_same_batches_however_they_are_started(folder, method):
    """By fork, as on Linux, and by spawn, as on other systems: batches as those of the process itself."""
    here = make_loader(folder, augment=True)
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    augmenter = start_loader(make_loader(folder, augment=True, workers=1), pin_memory=False)
    try:
        for _ in range(2):
            expected, made = next(here), next(augmenter)
            assert made["keys"] == expected["keys"]
            assert torch.equal(made["image"], expected["image"])
            assert torch.equal(made["label"], expected["label"])
    finally:
        augmenter._finish()
        multiprocessing.set_start_method(before, force=True)


def test_a_file_that_vanished_comes_as_one_line_from_a_worker_too(folder, tmp_path):
    """Neither a traceback in a worker nor a hanging loader: a batch that says what cannot be read."""
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    (work / "side" / "case0.b2nd").unlink()
    stream = replace(STREAM, labelled=("case0",), batch_labelled=1)
    for workers in (0, 1):
        loader = start_loader(make_loader(work, stream, workers=workers), pin_memory=False)
        line = next(loader)["error"]
        assert "side volumes of case case0" in line
        assert "--c" in line
        if workers:
            loader._finish()
    (work / "case2.b2nd").unlink()
    stream = replace(STREAM, unlabelled=("case2",), batch_labelled=1)
    assert "nnUNetv2_plan_and_preprocess" in next(make_loader(work, replace(stream, batch_unlabelled=1)))["error"]
