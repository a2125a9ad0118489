"""Methods side by side: which scans and slices are shown, what stands beneath, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from sparse_annotation_tools.cli.figure import main
from sparse_annotation_tools.files.volumes import read_label, write_label
from sparse_annotation_tools.phantom import Directions, write_phantom_set
from sparse_annotation_tools.report import comparison
from sparse_annotation_tools.slices.upright import VIEW_OF_AXIS, Upright

CASES = 4
SHAPE = (12, 16, 20)


def write_study(folder: Path, directions: Directions = "identity") -> list[str]:
    """Four test scans, and two methods: `all` is right, `half` misses more of each further scan. Returns the cases."""
    write_phantom_set(
        folder, labelled=1, unlabelled=0, test=CASES, shape=SHAPE, spacing_mm=(4.0, 3.0, 3.0), directions=directions,
        classes=2,
    )  # fmt: skip
    truths = sorted((folder / "test" / "labels").glob("*.nii.gz"))
    for number, path in enumerate(truths):
        truth = read_label(path)
        missed = truth.array.copy()
        rows = np.flatnonzero(truth.array.any(axis=(1, 2)))
        missed[rows[: 1 + number]] = 0
        write_label(folder / "all" / path.name, truth.array, truth.geometry)
        write_label(folder / "half" / path.name, missed, truth.geometry)
    return [path.name.removesuffix(".nii.gz") for path in truths]


def options(folder: Path, *more: str, output: str = "figure.png") -> list[str]:
    """Arguments of the command."""
    scans = folder / "test"
    return [
        "-i", f"{scans}/images", "-gt", f"{scans}/labels", "--predictions", f"all={folder}/all", f"half={folder}/half",
        "-o", f"{folder}/{output}", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study for tests that only read."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are made."""
    figures: list[Figure] = []
    made = comparison.new_figure

    def keep(*size: Any) -> Figure:
        figures.append(made(*size))
        return figures[-1]

    monkeypatch.setattr(comparison, "new_figure", keep)
    return figures


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_figure_is_written_in_the_format_of_its_name(study: Path, ending: str, capsys) -> None:
    """PNG for slides, PDF and SVG for papers; the last line says what to type next."""
    assert main(options(study, "--cases", "phantom_test_00", output=f"figure.{ending}")) == 0
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert (study / f"figure.{ending}").read_bytes().startswith(start)
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: ")


def test_the_worst_the_middle_and_the_best_scan_are_shown(study: Path, capsys) -> None:
    """By the mean Dice of all methods: of the four, the scan of which most is missed comes first."""
    assert main(options(study)) == 0
    shown = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:3]]
    assert shown[0] == "phantom_test_03"
    assert shown[-1] == "phantom_test_00"


def test_dice_of_each_class_stands_beneath_and_is_that_of_the_whole_scan(study: Path, drawn: list[Figure]) -> None:
    """1 for the method that is right; truth has no number."""
    assert main(options(study, "--cases", "phantom_test_02", "--labels", "one", "two")) == 0
    truth, right, half = drawn[0].axes[:3]
    assert truth.get_xlabel() == ""
    assert right.get_xlabel() == "one 1.0000\ntwo 1.0000"
    label = read_label(study / "test" / "labels" / "phantom_test_02.nii.gz").array == 1
    missed = read_label(study / "half" / "phantom_test_02.nii.gz").array == 1
    assert half.get_xlabel().splitlines()[0] == f"one {2 * (label & missed).sum() / (label.sum() + missed.sum()):.4f}"


@pytest.mark.parametrize("directions", ["identity", "permuted", "flipped"])
def test_the_slice_that_shows_most_of_the_truth_is_chosen(tmp_path: Path, capsys, directions: Directions) -> None:
    """The printed view and index are those of the file, however it is stored."""
    case = write_study(tmp_path, directions)[0]
    assert main(options(tmp_path, "--cases", case)) == 0
    _, view, index = capsys.readouterr().out.splitlines()[0].replace(":", "").split()
    truth = read_label(tmp_path / "test" / "labels" / f"{case}.nii.gz")
    upright = Upright.of(truth.geometry.direction, truth.geometry.shape)
    axis = upright.order[VIEW_OF_AXIS.index(view)]
    areas = [(np.moveaxis(truth.array, each, 0) > 0).sum(axis=(1, 2)) for each in range(3)]
    assert areas[axis][int(index)] == max(int(each.max()) for each in areas)


def test_view_and_index_choose_the_slice(study: Path, capsys) -> None:
    """As asked for."""
    assert main(options(study, "--cases", "phantom_test_01", "--view", "coronal", "--index", "7")) == 0
    assert capsys.readouterr().out.startswith("phantom_test_01: coronal 7\n")


def test_embeddings_without_semantics_are_marked(tmp_path: Path, drawn: list[Figure]) -> None:
    """The stamp stands above the method's column, as wherever its results are shown."""
    write_study(tmp_path)
    section = {"rada": {"encoder": "encoder=random: carries no semantics"}}
    (tmp_path / "half" / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": section}}))
    assert main(options(tmp_path, "--cases", "phantom_test_00")) == 0
    assert [axes.get_title().split("\n")[-1] for axes in drawn[0].axes[:3]] == ["truth", "all", "carries no semantics"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cases", "nobody"], "holds no nobody_0000 (.nii.gz, .nii, .nrrd, .mha), only phantom_test_00"),
        (["--index", "3"], "give --view sagittal, coronal or axial too"),
        (["--cases", "phantom_test_00", "--view", "axial", "--index", "12"], "--index is 12, expected 0 to 11"),
        (["--predictions", "some"], "--predictions some is unfit, expected NAME=DIR"),
        (["--predictions", "a=x", "a=y"], "names a twice"),
        (["--predictions", "a=nowhere"], "nowhere is not a folder"),
        (["-o", "figure.bmp"], "expected a name that ends in .png, .pdf, .svg"),
    ],
)
def test_what_cannot_be_shown_ends_with_one_line(study: Path, capsys, more: list[str], message: str) -> None:
    """Status 2, what is there, and the option to look at."""
    assert main(options(study, *more, output="refused.png")) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert message in printed
    assert not (study / "refused.png").exists()
