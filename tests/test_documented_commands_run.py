"""The `rada-*` commands of README and docs/how-to are carried out, page by page in their order, on small phantoms."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from documented_lines import REPOSITORY, SCRIPTS, commands_of, entry_point

from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.phantom import write_phantom_set

README = REPOSITORY / "README.md"
HOW_TO = sorted((REPOSITORY / "docs" / "how-to").glob("*.md"))
RECIPES = {f"{name}.md": "end_to_end/test_recipes.py::test_a_recipe_runs_to_" for name in ("kits19", "la2018", "lits")}
"""Pages whose blocks are run as they stand by tests of their own."""
MAKE = "rada-make-sparse-dataset"
TESTS = REPOSITORY / "tests"

SMALL = {
    MAKE: ["-np", "1", "--overwrite"],
    "rada-suggest-slices": ["-np", "1"],
    "rada-report": ["-np", "1"],
    "rada-check-dataset": ["-np", "1"],
    "rada-evaluate": ["-np", "1"],
}
"""What is added to a command: one process is faster for scans that take no time, and each page makes dataset 101."""

FILLED = ["--label-names", "left_atrium"]
"""What three dots at the end of a line stand for."""

ELSEWHERE = {
    "rada-compare": (
        "end_to_end/test_compare.py::test_a_comparison_that_is_killed_in_a_training_is_finished_by_the_same_command",
        "nnunetv2_rada/compare/test_comparison.py",
    ),
    "rada-heatmap": ("end_to_end/test_networks_of_a_model.py::test_heat_maps_lie_on_the_scans_grid",),
    "rada-predict-networks": (
        "end_to_end/test_networks_of_a_model.py"
        "::test_each_network_predicts_by_itself_and_their_disagreement_suggests_slices",
    ),
    "rada-embed": (
        "sparse_annotation_tools/prompts/test_embed_command.py::test_every_encoder_embeds_an_existing_dataset",
    ),
    "rada-doctor": ("nnunetv2_rada/test_doctor.py::test_ants_and_open_clip_work_here",),
}
"""Commands that need a trained network, weights or a whole installation: the tests that carry them out."""


def copy_labels(source: Path, target: Path, shift: int = 0) -> None:
    """Copy label maps, moved by some voxels: a prediction."""
    target.mkdir(parents=True)
    for path in source.glob("*.nii.gz"):
        image = sitk.ReadImage(str(path))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image), shift, axis=2))
        moved.CopyInformation(image)
        sitk.WriteImage(moved, str(target / path.name))


def paint(folder: Path, truth: Path) -> None:
    """Do what a person does in a folder of rada-suggest-slices: paint the listed slices."""
    with (folder / "planes.csv").open(newline="") as file:
        planes = [(row["case"], row["view"], int(row["index"])) for row in csv.DictReader(file)]
    for path in (folder / "labels").iterdir():
        image = sitk.ReadImage(str(path))
        painted, dense = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(sitk.ReadImage(str(truth / path.name)))
        for case, view, index in planes:
            if path.name == f"{case}.nii.gz":
                axis = ("axial", "coronal", "sagittal").index(view)
                np.moveaxis(painted, axis, 0)[index] = np.moveaxis(dense, axis, 0)[index]
        label = sitk.GetImageFromArray(painted)
        label.CopyInformation(image)
        sitk.WriteImage(label, str(path))


def carry_out(name: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command in this process; return its last line."""
    words = [each for word in options for each in (FILLED if word == "..." else [word])]
    status = entry_point(name)([*words, *SMALL.get(name, [])])
    printed = capsys.readouterr()
    assert status == 0, f"{name} {' '.join(options)}\n{printed.out}\n{printed.err}"
    return printed.out.rstrip().splitlines()[-1]


def serve_and_end(name: str, options: list[str]) -> str:
    """Run a command that serves a page until Ctrl-C; return its last line."""
    module, _, function = SCRIPTS[name].partition(":")
    lines = [
        f"import signal, sys\nfrom {module} import {function}",
        "if __name__ == '__main__':",
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background",
        f"    sys.exit({function}())",
    ]
    Path("serve.py").write_text("\n".join(lines))
    process = subprocess.Popen([sys.executable, "serve.py", *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("http://127.0.0.1:" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 0
    return rest.rstrip().splitlines()[-1]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the pages speak of, filled with phantoms; `truth` knows all labels."""
    root = tmp_path_factory.mktemp("inputs")
    phantoms = root / "phantoms"
    write_phantom_set(phantoms, labelled=4, unlabelled=0, test=1, shape=(16, 20, 24), spacing_mm=(3.0, 2.0, 2.0))
    scans = sorted((phantoms / "labelled" / "images").iterdir())
    for folder, chosen in (("images", scans[:2]), ("more_images", scans[2:])):
        (root / folder).mkdir()
        for path in chosen:
            shutil.copy(path, root / folder)
    (root / "labels").mkdir()
    for path in sorted((phantoms / "labelled" / "labels").iterdir())[:2]:
        image = sitk.ReadImage(str(path))
        dense = sitk.GetArrayFromImage(image)
        sparse = np.zeros_like(dense)
        for axis in range(3):
            largest = int(np.moveaxis(dense, axis, 0).sum((1, 2)).argmax())
            np.moveaxis(sparse, axis, 0)[largest] = np.moveaxis(dense, axis, 0)[largest]
        label = sitk.GetImageFromArray(sparse)
        label.CopyInformation(image)
        sitk.WriteImage(label, str(root / "labels" / path.name))
    for folder in ("imagesTs", "images_to_segment"):
        shutil.copytree(phantoms / "test" / "images", root / folder)
    for folder, shift in (("labelsTs", 0), ("truths", 0), ("predictions", 1), ("mt_predictions", 2)):
        copy_labels(phantoms / "test" / "labels", root / folder, shift)
    shutil.copytree(root / "predictions", root / "rada_predictions")
    copy_labels(phantoms / "labelled" / "labels", root / "truth")
    for shift, network in enumerate(("sagittal", "coronal", "axial")):
        copy_labels(phantoms / "labelled" / "labels", root / "networks" / network, shift)
    (root / "nnUNet_raw").mkdir()
    return root


@pytest.fixture
def reader(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader of a page, in a folder of their own."""
    shutil.copytree(inputs, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "work" / "nnUNet_raw"))
    return tmp_path / "work"


def lines_of(page: Path) -> list[list[str]]:
    """The commands of a page that are carried out here; dots in front stand for what a page says elsewhere."""
    return [words for words in commands_of(page) if words[0] not in ELSEWHERE and words[1:2] != ["..."]]


def run_page(page: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Carry out the commands of a page; return each with its last line."""
    done = []
    for name, *options in lines_of(page):
        if name == "rada-annotate":
            done.append((name, serve_and_end(name, options)))
            shutil.rmtree("annotated")  # the page's next way to paint begins anew
            continue
        done.append((name, carry_out(name, options, capsys)))
        if name == "rada-suggest-slices" and "--predictions" not in options:
            paint(Path(options[options.index("-o") + 1]), Path("truth"))
    return done


def last_lines_lead_on(done: list[tuple[str, str]]) -> bool:
    """Whether each command said what to type next; rada-annotate does once a slice is finished."""
    return all("next: " in last for name, last in done if name != "rada-annotate")


@pytest.mark.slow
def test_the_readmes_commands_end_with_scores_and_a_page_that_shows_them(
    reader: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The predicted scan, which the dataset does not know, is in the report with its measures."""
    assert last_lines_lead_on(run_page(README, capsys))
    assert (reader / "nnUNet_raw" / "Dataset101_LA" / "rada" / "prompts.safetensors").is_file()
    assert load_json(reader / "results.json")["cases"]
    text = (reader / "report" / "data" / "report.js").read_text()
    assert '"role": "new"' in text
    assert re.search(r'"metrics": \{"left_atrium"', text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in HOW_TO if page.name not in RECIPES and lines_of(page)], ids=lambda page: page.name
)
def test_the_commands_of_a_page_run_as_they_stand(page: Path, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends with status 0 and says what to type next; what one makes, the next one takes."""
    lines = lines_of(page)
    if any("-d" in words for words in lines) and not any(words[0] == MAKE for words in lines):
        made = next(words for words in commands_of(README) if words[0] == MAKE)
        carry_out(MAKE, made[1:], capsys)
    assert last_lines_lead_on(run_page(page, capsys))


def sources_of(reference: str) -> str:
    """The source of a test's file and of what it shares with others; the test must be there."""
    file, _, name = reference.partition("::")
    path = TESTS / file
    text = path.read_text()
    assert not name or re.search(rf"^def {name}", text, flags=re.MULTILINE), reference
    return text + "".join(each.read_text() for each in path.parent.glob("*.py") if not each.name.startswith("test_"))


def test_the_other_commands_are_carried_out_by_named_tests() -> None:
    """Each of those tests exists, and gives its command every option that a page gives it."""
    for reference in RECIPES.values():
        sources_of(reference)
    for page in (README, *HOW_TO):
        for name, *options in commands_of(page) if page.name not in RECIPES else ():
            if name in ELSEWHERE:
                source = "".join(map(sources_of, ELSEWHERE[name]))
                letters = [word for word in options if re.fullmatch(r"--?[a-z][\w-]*", word)]
                assert [option for option in letters if f'"{option}"' not in source] == [], (page.name, name)
