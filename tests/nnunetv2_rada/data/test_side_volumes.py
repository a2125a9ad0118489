"""What side volumes hold of a case, and that training reads parts of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_rada.data import loader as loaders
from nnunetv2_rada.data.grid import Grid
from nnunetv2_rada.data.randomness import TRAINING_BATCH
from nnunetv2_rada.data.side_volumes import (
    ANNOTATION,
    FIRST_VIEW,
    FUSED,
    NUM_CHANNELS,
    SideVolumes,
    Source,
    Tools,
    make,
    save_side_volumes,
)
from nnunetv2_rada.method.base import UNKNOWN
from sparse_annotation_tools.files.volumes import Geometry, write_label
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.schema import VIEWS, Case, RadaFolder
from sparse_annotation_tools.slices.annotation import simulate_annotation

RAW, LOWER, TRANSPOSE, IGNORE = (16, 20, 24), (2, 1, 3), (2, 0, 1), 2
SMAPS = Path("/proc/self/smaps")


def resample_labels(volume, shape, spacing, target):
    """As nnU-Net's default plans resample labels."""
    return resample_data_or_seg_to_shape(volume, shape, spacing, target, is_seg=True, order=1, order_z=0)


def resample_probabilities(volume, shape, spacing, target):
    """As nnU-Net's default plans resample probabilities."""
    return resample_data_or_seg_to_shape(volume, shape, spacing, target, is_seg=False, order=1, order_z=0)


TOOLS = Tools(
    read=SimpleITKIO().read_seg,
    resample_labels=resample_labels,
    resample_probabilities=resample_probabilities,
    ignore=IGNORE,
)


@pytest.fixture
def write_case(tmp_path):
    """Return a function that writes the files of a phantom, of which no two agree, and says what they hold."""

    def write(step):
        geometry = Geometry(size=RAW[::-1], spacing=(1.0,) * 3, origin=(0.0,) * 3, direction=tuple(np.eye(3).ravel()))
        truth, rng = make_phantom(0, shape=RAW, spacing_mm=(1.0, 1.0, 1.0)).label, np.random.default_rng(0)
        annotation = simulate_annotation(truth, {"sagittal": 2, "coronal": 1, "axial": 0}, VIEWS)
        drawn = annotation.volume()
        written = {f"propagated {k}": np.roll(truth, 2 + k, axis=k) for k in range(3)}
        written |= {"fused": np.roll(truth, -2, axis=1), "confidence": rng.integers(2, 256, RAW).astype(np.uint8)}
        rada, truth_file = RadaFolder(root=tmp_path / "rada"), tmp_path / "truth.nii.gz"
        for name, array in written.items():
            kind, *number = name.split()
            path = rada.propagated("one", int(number[0])) if number else getattr(rada, kind)("one")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label(path, array, geometry)
        write_label(truth_file, np.where(drawn < 0, IGNORE, drawn), geometry)
        record = Case(labelled=True, shape=RAW, sagittal_axis=2, slices=annotation.slices, networks=annotation.networks)
        cropped = tuple(RAW[axis] - low for axis, low in zip(TRANSPOSE, LOWER, strict=True))
        grid = Grid(
            transpose=TRANSPOSE, lower=LOWER, cropped=cropped, shape=tuple(round(side / step) for side in cropped),
            spacing_mm=(1.0,) * 3, target_spacing_mm=(float(step),) * 3,
        )  # fmt: skip
        return Source(case="one", record=record, rada=rada, annotation_file=truth_file, grid=grid), drawn, written

    return write


@pytest.mark.parametrize("step", [1, 2])
def test_every_channel_holds_what_its_file_says(tmp_path, write_case, step):
    """Of the view's own slice with the annotation in it, of the fused label, and of the confidence, on the grid."""
    source, drawn, written = write_case(step)
    make(source, tmp_path / "side", TOOLS)
    side = SideVolumes.load(tmp_path / "side", "one")
    labels, grid = side.labels[:], source.grid
    for position, view in enumerate(VIEWS):
        (own,) = source.record.networks[view]
        assert source.record.slices[own].view == view
        expected = np.where(drawn >= 0, drawn, written[f"propagated {own}"])
        np.testing.assert_array_equal(labels[FIRST_VIEW + position], grid.resampled(expected, resample_labels))
    np.testing.assert_array_equal(labels[FUSED], grid.resampled(written["fused"], resample_labels))
    confidence = grid.resampled(written["confidence"].astype(np.float32), resample_probabilities)
    np.testing.assert_array_equal(side.confidence[:], np.rint(confidence)[None])
    on_planes = grid.resampled(drawn, resample_labels)
    if step == 1:  # coarser grids lose planes one voxel thick: tests of the grid look at those
        np.testing.assert_array_equal(labels[ANNOTATION][on_planes >= 0], on_planes[on_planes >= 0])
    assert (side.origin, side.step, side.fingerprint) == (grid.origin, grid.step, source.fingerprint())


@pytest.mark.parametrize("edge", [4, 30])
def test_foreground_is_found_where_it_was_drawn_or_fused(tmp_path, edge):
    """Voxels come back as they were picked, all of a small object and some of a large one."""
    labels = np.full((NUM_CHANNELS, 40, 40, 40), UNKNOWN, np.int8)
    labels[FUSED] = 0
    labels[FUSED, 3 : 3 + edge, 5 : 5 + edge, 7 : 7 + edge] = 1
    labels[ANNOTATION, 4] = 0
    labels[ANNOTATION, 4, 20:22, 20:23] = 2
    save(tmp_path, labels, np.zeros((1, 40, 40, 40), np.uint8))
    foreground = SideVolumes.load(tmp_path, "one").foreground
    known = np.where(labels[ANNOTATION] >= 0, labels[ANNOTATION], labels[FUSED])
    assert set(foreground) == {1, 2}
    for value, voxels in foreground.items():
        assert len(np.unique(voxels, axis=0)) == min(10_000, (known == value).sum())
        assert (known[tuple(voxels.T)] == value).all()


@pytest.mark.skipif(not SMAPS.exists(), reason="the system does not tell what a process has mapped")
def test_opening_side_volumes_reads_next_to_nothing(tmp_path):
    """Labels and confidence are mapped into memory, not read into it."""
    shape, rng = (96, 96, 96), np.random.default_rng(0)
    labels = rng.integers(-1, 100, (NUM_CHANNELS, *shape), dtype=np.int8)  # noise takes as much space on disk
    confidence = rng.integers(0, 255, (1, *shape), dtype=np.uint8)
    save(tmp_path, labels, confidence)
    side = SideVolumes.load(tmp_path, "one")
    for name in ("one.b2nd", "one_confidence.b2nd"):
        assert 0 < resident_bytes(tmp_path / name) < (tmp_path / name).stat().st_size / 4
    np.testing.assert_array_equal(side.labels[:, 3:5, 90:, :2], labels[:, 3:5, 90:, :2])


def save(folder, labels, confidence):
    """Write side volumes without planes."""
    save_side_volumes(folder, "one", labels, confidence, origin=(0.0,) * 3, step=(1.0,) * 3, planes=(), fingerprint="")


def resident_bytes(file):
    """How much of a file this process has mapped into its memory and read; 0 where it is not mapped."""
    lines = iter(SMAPS.read_text().splitlines())
    sizes = [next(line for line in lines if line.startswith("Rss:")) for line in lines if line.endswith(str(file))]
    return 1024 * sum(int(line.split()[1]) for line in sizes)


def test_a_sample_reads_its_patch_alone(tmp_path, monkeypatch):
    """Of labels and confidence, whatever the size of the scan."""
    shape, patch = (40, 48, 56), (16, 16, 16)
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    nnUNetDatasetBlosc2.save_case(
        image, np.zeros((1, *shape), np.int8), {}, str(tmp_path / "one"), chunks=(1, *patch), blocks=(1, *patch)
    )
    labels = np.zeros((NUM_CHANNELS, *shape), np.int8)
    labels[ANNOTATION], labels[FUSED, 20, 24, 28] = UNKNOWN, 1
    save(tmp_path / "side", labels, np.full((1, *shape), 128, np.uint8))
    read = []

    class Recorded:
        """An array on disk that notes what is read of it."""

        def __init__(self, array):
            self.array, self.shape, self.ndim, self.dtype = array, array.shape, array.ndim, array.dtype

        def __getitem__(self, where):
            part = self.array[where]
            read.append(part.shape[1:])
            return part

    opened = SideVolumes.load(tmp_path / "side", "one")
    side = replace(opened, labels=Recorded(opened.labels), confidence=Recorded(opened.confidence))
    monkeypatch.setattr(loaders.SideVolumes, "load", lambda folder, case: side)
    stream = loaders.Stream(
        labelled=("one",), unlabelled=(), batch_labelled=1, batch_unlabelled=0, views=(0, 1, 2), fused=True,
        foreground_fraction=1.0, seed=0, stream=TRAINING_BATCH,
    )  # fmt: skip
    batch = next(
        loaders.TwoStreamLoader(
            nnUNetDatasetBlosc2(str(tmp_path)), tmp_path / "side", stream, initial_patch_size=patch, patch_size=patch,
            label_manager=LabelManager({"background": 0, "organ": 1, "ignore": 2}, None), transforms=None,
            first_iteration=0, num_workers=0,
        )
    )  # fmt: skip
    assert int(batch["label"].sum()) == 3  # one voxel, the same for all views
    assert read == [patch, patch]
