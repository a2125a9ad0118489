"""The recipes in docs/how-to: the commands of each page, as they stand there, on stand-ins in the download's layout."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk

import nnunetv2_rada._autoload  # noqa: F401  exports nnUNet_extTrainer where the package is not installed
from nnunetv2_rada.config import Config
from sparse_annotation_tools.files.volumes import read_volume
from sparse_annotation_tools.phantom import make_phantom

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
SHAPE = (16, 20, 24)
TINY = {
    "num_iterations": 2, "iterations_per_epoch": 1, "val_iterations_per_epoch": 1, "base_filters": 2,
    "stochastic_passes": 2, "max_patch_voxels": 16 * 16 * 16, "batch_labelled": 1, "batch_unlabelled": 1,
}  # fmt: skip

FEW_PROCESSES = {
    "rada-make-sparse-dataset": "-np 1",
    "nnUNetv2_plan_and_preprocess": "-np 1 -npfp 1",
    "nnUNetv2_predict": "-npp 0 -nps 0",
}
"""By default these start up to 11 processes, each of which loads torch for scans that take no time."""


def blocks(page: str, first: str, last: str) -> str:
    """Return the commands of a page's bash blocks under the headings from `first` to `last`."""
    sections = re.split(r"^## ", (HOW_TO / page).read_text(), flags=re.MULTILINE)[1:]
    chosen = [section for section in sections if first <= section.split(".")[0] <= last]
    return "\n".join(
        block for section in chosen for block in re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)
    )


@dataclass(frozen=True)
class Shell:
    """A shell in a folder that stands for /path/to and for the working folder."""

    folder: Path

    def run(self, commands: str, replaced: dict[str, str] | None = None) -> str:
        """Run a page's commands; each text in `replaced` must be there and is replaced."""
        for old, new in {"/path/to": str(self.folder), **(replaced or {})}.items():
            assert old in commands, old
            commands = commands.replace(old, new)
        for command, processes in FEW_PROCESSES.items():
            commands = commands.replace(command, f"{command} {processes}")
        one = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
        path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **one, "PATH": path}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell of the test's own."""
    return Shell(tmp_path)


def roles(path: Path) -> Counter[str]:
    """Return how many cases of each role a list has."""
    with path.open(newline="") as file:
        return Counter(row["role"] for row in csv.DictReader(file))


def touch(path: Path) -> None:
    """Make an empty file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_list_of_la2018_has_the_papers_split(shell: Shell) -> None:
    """80 training scans, 8 of them labelled, and 20 test scans, by their names' order but for the published two."""
    folder = shell.folder / "LA2018"
    early_test, late_training = "ULHWPWKKLTE921LQLH1P", "UZUZZT2W9IUSHL6ASOX3"
    training = [f"{number * 7919 % 1000:03d}ABC" for number in range(79)]
    test = ["UPT6DX9IQY9JAZ7HJKA7", *(f"V{number:02d}" for number in range(18))]
    names = sorted([*training, early_test, late_training, *test])
    for name in names:
        touch(folder / "Training Set" / name / "lgemri.nrrd")
        touch(folder / "Training Set" / name / "laendo.nrrd")
    printed = shell.run(blocks("la2018.md", "1", "2"))
    assert roles(folder / "cases.csv") == {"labelled": 8, "unlabelled": 72, "test": 20}
    assert "72 unlabelled" in printed
    rows = list(csv.DictReader((folder / "cases.csv").open(newline="")))
    assert [row["case"] for row in rows] == names
    assert {row["case"] for row in rows if row["role"] == "test"} == {early_test, *test}
    assert [row["case"] for row in rows if row["role"] == "labelled"] == names[:8]
    assert all((folder / row[column]).is_file() for row in rows for column in ("image", "label"))


@pytest.mark.slow
def test_the_list_of_kits19_has_the_papers_split(shell: Shell) -> None:
    """190 training scans, 19 of them labelled, and 20 test scans; the challenge's unlabelled scans are left out."""
    folder = shell.folder / "kits19"
    for number in range(300):
        touch(folder / "data" / f"case_{number:05d}" / "imaging.nii.gz")
        if number < 210:
            touch(folder / "data" / f"case_{number:05d}" / "segmentation.nii.gz")
    shell.run(blocks("kits19.md", "1", "2"))
    assert roles(folder / "cases.csv") == {"labelled": 19, "unlabelled": 171, "test": 20}


def test_the_list_of_lits_has_the_papers_split(shell: Shell) -> None:
    """100 training scans, 10 of them labelled, and 31 test scans."""
    folder = shell.folder / "LiTS"
    for number in range(131):
        batch = folder / f"Training Batch {1 if number < 28 else 2}"
        touch(batch / f"volume-{number}.nii")
        touch(batch / f"segmentation-{number}.nii")
    shell.run(blocks("lits.md", "1", "2"))
    assert roles(folder / "cases.csv") == {"labelled": 10, "unlabelled": 90, "test": 31}


@pytest.mark.parametrize(("page", "number", "name"), [("kits19.md", "102", "KiTS19"), ("lits.md", "103", "LiTS")])
def test_all_recipes_end_alike(page: str, number: str, name: str) -> None:
    """Train, predict and evaluate as LA2018's page, after settings that are known ones; two pages are run below."""
    settings, _, *commands = blocks(page, "5", "5").splitlines()
    renamed = "\n".join(commands).replace(number, "101").replace(name, "LA2018").replace(page[:-3], "la2018")
    assert renamed == blocks("la2018.md", "5", "5").rstrip()
    Config.from_json(json.loads(settings.split("'")[1]))


# ---- the whole recipe on stand-ins ---------------------------------------------------------------------------------


def write_scan(image_path: Path, label_path: Path | None, seed: int, **how: Any) -> None:
    """Write a phantom under a download's names; `values` gives the label values of the two organs."""
    values, kind = how.pop("values"), how.pop("kind", np.int16)
    phantom = make_phantom(seed, shape=SHAPE, spacing_mm=(2.0, 1.5, 1.5), classes=len(values), **how)
    image, label = phantom.to_sitk()
    image_path.parent.mkdir(parents=True, exist_ok=True)
    scan = sitk.GetImageFromArray(phantom.image.astype(kind))
    scan.CopyInformation(image)
    sitk.WriteImage(scan, str(image_path))
    if label_path is not None:
        drawn = sitk.GetImageFromArray(np.array([0, *values], dtype=np.uint8)[phantom.label])
        drawn.CopyInformation(label)
        sitk.WriteImage(drawn, str(label_path))


def write_la2018(folder: Path) -> None:
    """Four scans as NRRD, the label 255."""
    for number in range(4):
        place = folder / "LA2018" / "Training Set" / f"{number}ABC"
        write_scan(place / "lgemri.nrrd", place / "laendo.nrrd", number, values=(255,), kind=np.uint8)


def write_kits19(folder: Path) -> None:
    """Two labelled, two unlabelled and a test scan of the page's lists, and one without a public label."""
    for seed, number in enumerate((34, 179, 0, 1, 44, 210)):
        place = folder / "kits19" / "data" / f"case_{number:05d}"
        label = place / "segmentation.nii.gz" if number < 210 else None
        write_scan(place / "imaging.nii.gz", label, seed, values=(1, 2), directions="permuted", kind=np.float64)


def write_lits(folder: Path) -> None:
    """Two labelled, two unlabelled and a test scan of the page's lists, in two batches; one label's header is wrong."""
    for seed, number in enumerate((127, 23, 0, 130, 2)):
        place = folder / "LiTS" / f"Training Batch {1 if number < 28 else 2}"
        label = place / f"segmentation-{number}.nii"
        write_scan(place / f"volume-{number}.nii", label, seed, values=(1, 2))
        if number == 23:
            image = sitk.ReadImage(str(label))
            image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            sitk.WriteImage(image, str(label))


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("page", "write", "dataset", "classes"),
    [
        ("kits19.md", write_kits19, "Dataset102_KiTS19", {"kidney": 1}),
        ("lits.md", write_lits, "Dataset103_LiTS", {"liver": 1}),
    ],
)
def test_a_recipe_for_ct_runs(
    shell: Shell, page: str, write: Callable[[Path], None], dataset: str, classes: dict[str, int]
) -> None:
    """Made, planned by nnU-Net and found sound: roles, classes, intensities; KiTS19 then to scores, LiTS ends alike."""
    write(shell.folder)
    printed = shell.run(blocks(page, "1", "4"))
    made = json.loads((shell.folder / "nnUNet_raw" / dataset / "rada" / "cases.json").read_text())
    labelled = [case["labelled"] for case in made["cases"].values()]
    assert (labelled.count(True), labelled.count(False), len(made["test"])) == (2, 2, 1)
    assert made["classes"] == classes
    assert "CT intensities are those of the annotated voxels" in printed
    assert re.search(rf"^{dataset}: 0 error, 0 warning", printed, flags=re.MULTILINE), printed
    check_normalization(shell.folder, dataset)
    if page == "lits.md":
        return
    commands = "\n".join([blocks(page, "1", "1"), blocks(page, "5", "5")])
    (settings,) = re.findall(r"echo '(\{.*\})'", commands)
    tiny = json.dumps({**json.loads(settings), **TINY})
    shell.run(commands, {settings: tiny, "-tr nnUNetTrainerRADA": "-tr nnUNetTrainerRADA -device cpu"})
    scores = json.loads((shell.folder / f"{page[:-3]}.json").read_text())
    assert set(scores["cases"]) == set(made["test"])
    assert set(scores["mean"]) == set(classes)


def check_normalization(folder: Path, dataset: str) -> None:
    """The voxels that training sees are those of the scan, cut off and scaled by what was drawn in both scans."""
    raw, preprocessed = (folder / part / dataset for part in ("nnUNet_raw", "nnUNet_preprocessed"))
    made = json.loads((raw / "rada" / "cases.json").read_text())["cases"]
    scans = {case: read_volume(raw / "imagesTr" / f"{case}_0000.nii.gz").array for case in made}
    drawn = [
        scans[case][read_volume(raw / "labelsTr" / f"{case}.nii.gz").array == 1]
        for case, record in made.items()
        if record["labelled"]
    ]
    of_both = np.quantile(drawn[0], shares := np.linspace(0, 1, 5000)), np.quantile(drawn[1], shares)  # equal weights
    low, high = np.percentile(of_both, (0.5, 99.5))
    for case, scan in scans.items():
        expected = (np.clip(scan, low, high) - np.mean(of_both)) / np.std(of_both)
        seen = blosc2.open(str(preprocessed / "nnUNetPlans_3d_fullres" / f"{case}.b2nd"))[0]
        np.testing.assert_allclose(np.sort(seen, axis=None), np.sort(expected, axis=None), atol=0.1)


@pytest.mark.end_to_end
def test_a_recipe_runs_to_scores(shell: Shell) -> None:
    """LA2018 from the download to `rada-evaluate`, with a tiny network on the CPU."""
    write_la2018(shell.folder)
    printed = shell.run(blocks("la2018.md", "1", "4"), {"labelled=8 training=80": "labelled=2 training=3"})
    assert re.search(r"^Dataset101_LA2018: 0 error, 0 warning", printed, flags=re.MULTILINE), printed
    (shell.folder / "tiny.json").write_text(json.dumps(TINY))
    commands = "\n".join(
        [blocks("la2018.md", "1", "1"), "export RADA_CONFIG=$PWD/tiny.json", blocks("la2018.md", "5", "5")]
    )
    shell.run(commands, {"-tr nnUNetTrainerRADA": "-tr nnUNetTrainerRADA -device cpu"})
    scores = json.loads((shell.folder / "la2018.json").read_text())
    assert set(scores["cases"]) == {"3ABC"}
    assert set(scores["mean"]) == {"left_atrium"}
    truth = read_volume(shell.folder / "nnUNet_raw" / "Dataset101_LA2018" / "labelsTs" / "3ABC.nii.gz")
    assert set(np.unique(truth.array)) == {0, 1}
