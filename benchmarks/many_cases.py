"""Measure whether anything grows faster than the number of cases: `python benchmarks/many_cases.py`.

Small generated cases, half of them labelled, go through making a dataset, encoding its slices, checking it, what
training does before its first step (the copy of `rada/`, side volumes, loader, two batches) and a report. Slices are
carried by copying: how propagation itself grows is what benchmarks/propagation_scaling.py measures. Each number of
cases has a fresh process; the table gives CPU time in all and per case, the peak memory, most of which is that of
imports, and the most files open at once (both read from /proc: Linux only). The last line is one JSON object with the
figures.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from training_step import machine

from sparse_annotation_tools.check.dataset import check_dataset
from sparse_annotation_tools.dataset.make import make_dataset
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.prompts.dataset_embedding import embed_dataset
from sparse_annotation_tools.prompts.options import EmbeddingOptions
from sparse_annotation_tools.report.page.report import ReportRequest, make_report
from sparse_annotation_tools.schema import CasesFile

SHAPE = (10, 12, 14)


def main() -> None:
    """Measure each number of cases in a process of its own; print a table and one JSON line."""
    arguments = _parse()
    if arguments.folder:
        print(json.dumps(measure(arguments.folder, arguments.cases[0])))
        return
    rows = []
    print(f"{'cases':>6}  {'stage':<16}{'CPU s':>8}{'ms a case':>11}{'peak MB':>9}{'files open':>12}")
    for count in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--cases", str(count), "--folder", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        stages = json.loads(done.stdout.splitlines()[-1])
        for stage, row in stages.items():
            rows.append({"cases": count, "stage": stage, **row})
            print(
                f"{count:6d}  {stage:<16}{row['cpu_s']:8.1f}{1000 * row['cpu_s'] / count:11.0f}{row['peak_mb']:9.0f}"
                f"{row['open_files']:12d}"
            )
    import torch

    print(json.dumps({"benchmark": "many_cases", "rows": rows, "machine": machine(torch.device("cpu"), 1)}))


def measure(folder: Path, cases: int) -> dict[str, dict[str, float]]:
    """Write that many cases and take them through the stages; return what each took."""
    write_cases(folder, cases)
    request = DatasetRequest(
        raw=folder / "raw", dataset="Dataset001_Many", images=folder / "images", labels=folder / "labels",
        unlabelled=folder / "unlabelled", label_names=("organ",), simulate="SCA",
    )  # fmt: skip
    stages: dict[str, Callable[[], object]] = {
        "make": lambda: make_dataset(request, embed=lambda _: None, warn=lambda _: None, propagate=copy_slice),
        "encode": lambda: embed_dataset(request.folder, EmbeddingOptions(encoder="random", seed=0)),
        "check": lambda: check_dataset(request.folder, None, processes=1),
        "set up training": lambda: set_up_training(request.folder, folder / "preprocessed"),
        "report": lambda: make_report(ReportRequest(dataset=request.folder, output=folder / "report")),
    }
    found: dict[str, dict[str, float]] = {}
    import_everything()
    for name, stage in stages.items():
        with _watched() as row, contextlib.redirect_stdout(sys.stderr):
            stage()
        found[name] = row
    return found


def write_cases(folder: Path, cases: int) -> None:
    """Write phantoms of one anatomy, each with intensities of its own."""
    image, label = make_phantom(0, shape=SHAPE, spacing_mm=(3.0, 3.0, 3.0)).to_sitk()
    for name in ("raw", "images", "labels", "unlabelled"):
        (folder / name).mkdir()
    for number in range(cases):
        labelled = number % 2 == 0
        own = image + 0.01 * number
        sitk.WriteImage(own, str(folder / ("images" if labelled else "unlabelled") / f"case{number:05d}_0000.nii.gz"))
        if labelled:
            sitk.WriteImage(label, str(folder / "labels" / f"case{number:05d}.nii.gz"))


def copy_slice(
    image: NDArray[Any], spacing_mm: object, axis: int, index: int, label: NDArray[np.uint8], *_: object
) -> NDArray[np.uint8]:
    """Carry a label through a volume unchanged."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(label, axis), image.shape))


def set_up_training(raw_dataset: Path, preprocessed: Path) -> None:
    """Do what the trainer does before its first step, on cases that are stored as nnU-Net stores them."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    from nnunetv2_rada.config import Config
    from nnunetv2_rada.data.grid import Grid
    from nnunetv2_rada.data.loader import Stream, TwoStreamLoader
    from nnunetv2_rada.data.rada_folder import sync_rada_folder
    from nnunetv2_rada.data.randomness import TRAINING_BATCH
    from nnunetv2_rada.data.side_volumes import SIDE_FOLDER, Source, Tools, prepare

    rada = sync_rada_folder(raw_dataset, preprocessed)
    cases = CasesFile.load(rada)
    folder = preprocessed / "nnUNetPlans_3d_fullres"
    folder.mkdir()
    properties = {"spacing": [3.0] * 3, "bbox_used_for_cropping": [[0, side] for side in SHAPE], "class_locations": {}}
    for case in cases.cases:
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(raw_dataset / "imagesTr" / f"{case}_0000.nii.gz")))
        zeros = np.zeros((1, *SHAPE), np.int8)
        nnUNetDatasetBlosc2.save_case(image[None].astype(np.float32), zeros, properties, str(folder / case))
    dataset = nnUNetDatasetBlosc2(str(folder))
    resample = functools.partial(resample_data_or_seg_to_shape, order=1, order_z=0, force_separate_z=None)
    tools = Tools(
        read=SimpleITKIO().read_seg, resample_labels=functools.partial(resample, is_seg=True),
        resample_probabilities=functools.partial(resample, is_seg=False), ignore=2,
    )  # fmt: skip
    sources = []
    for case in cases.labelled:
        stored, _, _, found = dataset.load_case(case)
        grid = Grid.from_properties(
            found, transpose_forward=(0, 1, 2), shape=stored.shape[1:], target_spacing_mm=(3.0, 3.0, 3.0)
        )
        annotation = raw_dataset / "labelsTr" / f"{case}.nii.gz"
        sources.append(Source(case=case, record=cases.cases[case], rada=rada, annotation_file=annotation, grid=grid))
    prepare(sources, folder / SIDE_FOLDER, tools, num_processes=1)
    config = Config()
    stream = Stream(
        labelled=cases.labelled, unlabelled=cases.unlabelled, batch_labelled=config.batch_labelled,
        batch_unlabelled=config.batch_unlabelled, views=(0, 1, 2), fused=False, foreground_fraction=1.0, seed=0,
        stream=TRAINING_BATCH,
    )  # fmt: skip
    loader = TwoStreamLoader(
        dataset, folder / SIDE_FOLDER, stream, initial_patch_size=(16, 16, 16), patch_size=(16, 16, 16),
        label_manager=LabelManager({"background": 0, "organ": 1, "ignore": 2}, None), transforms=None,
        first_iteration=0, num_workers=1,
    )  # fmt: skip
    for _ in range(2):
        loader.generate_train_batch()


def import_everything() -> None:
    """Import what the stages would, so that no stage pays for it."""
    for name in (
        "nnunetv2.training.dataloading.nnunet_dataset",
        "nnunetv2_rada.data.loader",
        "nnunetv2_rada.data.side_volumes",
    ):
        importlib.import_module(name)


@contextlib.contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Fill in what happens in the block: CPU seconds, the peak memory since the process began, and open files."""
    row: dict[str, float] = {"open_files": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            row["open_files"] = max(row["open_files"], len(os.listdir("/proc/self/fd")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    try:
        yield row
    finally:
        over.set()
        watcher.join()
    row["cpu_s"] = round(time.process_time() - start, 2)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    row["peak_mb"] = int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--cases", nargs="+", type=int, default=[100, 300, 1000], metavar="N", help="(100 300 1000)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # what a fresh process is to work in
    return parser.parse_args()


if __name__ == "__main__":
    main()
