"""A person paints slices in a real browser, and what is saved trains a network."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

pytestmark = pytest.mark.browser

SHAPE = (20, 24, 28)
_COS, _SIN = float(np.cos(np.radians(20))), float(np.sin(np.radians(20)))
DIRECTIONS = {
    "flipped": (-1, 0, 0, 0, 1, 0, 0, 0, -1),
    "oblique": (0, _SIN, _COS, 1, 0, 0, 0, -_COS, _SIN),
}
AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
READY = "html[data-ready=true]"
Run = Callable[..., "Program"]


class Program:
    """A running rada-annotate."""

    def __init__(self, images: Path, output: Path, *options: str) -> None:
        module = [sys.executable, "-m", "sparse_annotation_tools.cli.annotate"]
        self.words = [*module, "-i", str(images), "-o", str(output), *options]
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = next(word for line in self.process.stdout for word in line.split() if word.startswith("http://"))

    def kill(self) -> None:
        """End it without warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(autouse=True)  # set up before the tabs, and so ended after they are closed: they may still be loading
def annotate() -> Iterator[Run]:
    """Start rada-annotate."""
    running: list[Program] = []

    def start(*arguments: Any) -> Program:
        running.append(Program(*arguments))
        return running[-1]

    yield start
    for program in running:
        program.kill()


def write_image(path: Path, array: NDArray[Any], direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)) -> None:
    """Write a scan of voxels of 1 x 1.5 x 2 mm."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((5.0, -7.0, 11.0))
    image.SetDirection([float(value) for value in direction])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def ball() -> NDArray[np.int16]:
    """A bright ball in noise, not in the middle."""
    z, y, x = np.indices(SHAPE)
    inside = (2 * (z - 9)) ** 2 + (1.5 * (y - 13)) ** 2 + (x - 15) ** 2 < 81
    return (200 * inside + np.random.default_rng(0).normal(100, 8, SHAPE)).astype(np.int16)


def show(page: Any, program: Program) -> Any:
    """Open the page and wait until a scan is shown; return where it is painted."""
    page.goto(program.url)
    page.wait_for_selector(READY)
    return page.locator("#pointer")


def drag(page: Any, points: list[tuple[float, float]]) -> None:
    """Draw with the left mouse button."""
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=3)
    page.mouse.up()


def saved(page: Any) -> None:
    """Wait until all is saved."""
    page.wait_for_selector("#saved[data-state=saved]")


def bright_spot(page: Any, pixels_of: Callable[[Any], NDArray[np.uint8]]) -> tuple[float, float]:
    """The middle (x, y) of what is brighter than the letters in the picture."""
    page.mouse.move(0, 0)  # its circle is bright
    page.wait_for_timeout(100)
    rows, columns = np.nonzero(pixels_of(page.locator("#viewer")).min(axis=2) > 215)
    return float(columns.mean()), float(rows.mean())


def go_to(page: Any, view: str, index: int) -> None:
    """Show a slice, and choose it for painting."""
    page.get_by_role("radio", name=view, exact=True).check(force=True)
    slider = page.locator("#position")
    most = int(slider.get_attribute("max"))
    for position in (index, most - index):  # the viewer may count from the other end
        slider.fill(str(position))
        if page.inner_text("#slice-name") == f"{view} {index}":
            break
    assert page.inner_text("#slice-name") == f"{view} {index}"
    if page.locator("#add").is_visible():
        page.click("#add")
    page.wait_for_selector("#picture[data-paint=yes]")


def click_at(page: Any, spot: tuple[float, float]) -> None:
    """Click a point of the drawing area."""
    box = page.locator("#pointer").bounding_box()
    drag(page, [(box["x"] + spot[0], box["y"] + spot[1])])


def shown_slices(page: Any) -> list[str]:
    """The slices of the scan, with their states."""
    return [" ".join(text.split()[1:]) for text in page.locator("#slices button").all_inner_texts()]


@pytest.mark.parametrize(("direction", "axes"), [("flipped", (2, 1, 0)), ("oblique", (0, 2, 1))])
def test_paint_is_saved_at_the_voxel_that_was_seen(
    page: Any,
    annotate: Run,
    pixels_of: Callable[[Any], NDArray[np.uint8]],
    tmp_path: Path,
    direction: str,
    axes: tuple[int, int, int],
) -> None:
    """Bright voxels, found in the picture and painted there, are those voxels in the label map; in each view."""
    voxels = [(4, 17, 9), (15, 3, 21), (8, 10, 2)]
    scan = np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    for voxel in voxels:
        scan[voxel] = 100
    write_image(tmp_path / "images" / "a_0000.nrrd", scan, DIRECTIONS[direction])
    show(page, annotate(tmp_path / "images", tmp_path / "out"))
    page.locator("#window").fill("1")  # the least contrast of the page leaves nothing else as bright
    page.locator("#size").fill("1")
    for voxel, view, axis in zip(voxels, ("Sagittal", "Coronal", "Axial"), axes, strict=True):
        go_to(page, view, voxel[axis])
        click_at(page, bright_spot(page, pixels_of))
        saved(page)
        page.click("#done")
        page.wait_for_selector(f"#slices button[data-state=done]:has-text('{view} {voxel[axis]}')")
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "labels" / "a.nii.gz")))
    assert sorted(map(tuple, np.argwhere(label == 1).tolist())) == sorted(voxels)


def test_from_scans_to_a_dataset_through_reload_and_kill(
    new_page: Callable[..., Any],
    annotate: Run,
    pixels_of: Callable[[Any], NDArray[np.uint8]],
    problems: list[str],
    nnunet_folders: Any,
    tmp_path: Path,
) -> None:
    """Paint, undo, finish, see the label carried; reload, kill, start again; make the dataset as the page says."""
    for case in "ab":
        write_image(tmp_path / "images" / f"{case}_0000.nii.gz", ball())
    arguments = (tmp_path / "images", tmp_path / "out", "--label-names", "ball")
    program, page = annotate(*arguments), new_page()
    show(page, program)
    page.locator("#size").fill("18")
    page.get_by_label("Hide").check()

    for view, index in (("Sagittal", 15), ("Coronal", 13), ("Axial", 9)):
        go_to(page, view, index)
        spot = bright_spot(page, pixels_of)
        picture = pixels_of(page.locator("#viewer"))
        click_at(page, spot)
        page.mouse.move(0, 0)
        saved(page)
        painted = pixels_of(page.locator("#viewer"))
        assert (painted != picture).any()
        page.keyboard.press("Control+z")
        saved(page)
        np.testing.assert_array_equal(pixels_of(page.locator("#viewer")), picture)
        page.keyboard.press("Control+y")
        saved(page)
        np.testing.assert_array_equal(pixels_of(page.locator("#viewer")), painted)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#slices button[data-state=done]:has-text('{view} {index}')")

    page.wait_for_selector("#preview-state[data-state=ready]", timeout=180_000)
    go_to_look(page, "Axial", 7)
    without = pixels_of(page.locator("#viewer"))
    with page.expect_response("**/api/layer*"):
        page.get_by_label("From all finished slices").check()
    page.wait_for_timeout(500)
    assert (pixels_of(page.locator("#viewer")) != without).mean() > 0.02

    go_to(page, "Axial", 4)
    click_at(page, (400, 290))  # about the middle
    saved(page)
    before = shown_slices(page)
    assert "Axial 4 begun" in before

    page.reload()
    page.wait_for_selector(READY)
    assert shown_slices(page) == before

    second = new_page()
    second.goto(program.url)
    second.get_by_text("open in another tab").wait_for()
    second.close()
    refused = subprocess.run(program.words, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "is being annotated already" in refused.stderr

    program.kill()
    page.get_by_text("rada-annotate has ended").wait_for()
    assert not page.locator("#done").is_enabled()
    problems.clear()  # of the browser: a tab was refused, and then nobody answered

    show(page, annotate(*arguments))
    page.locator("#scans button").first.click()
    assert shown_slices(page) == before

    page.click("#finish-button")
    words = shlex.split(page.locator("#command").input_value())
    code = "import sys; from sparse_annotation_tools.cli.make_sparse_dataset import main; sys.exit(main())"
    more = ["--encoder", "random", "--encoder-seed", "0", "-np", "1"]
    command = [sys.executable, "-c", code, *words[1:], *more]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    cases = json.loads((nnunet_folders.raw / "Dataset101_Annotated" / "rada" / "cases.json").read_text())
    assert [(each["view"], each["index"]) for each in cases["cases"]["a"]["slices"]] == [
        ("axial", 9),
        ("coronal", 13),
        ("sagittal", 15),
    ]
    assert not cases["cases"]["b"]["labelled"]
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "labels" / "a.nii.gz")))
    inside = (ball() > 150)[9]
    painted = label[9] == 1
    assert 2 * (inside & painted).sum() / (inside.sum() + painted.sum()) > 0.8


def go_to_look(page: Any, view: str, index: int) -> None:
    """Show a slice that is not chosen."""
    page.get_by_role("radio", name=view, exact=True).check(force=True)
    page.locator("#position").fill(str(index))
    assert page.inner_text("#slice-name") == f"{view} {index}"
    assert page.locator("#picture").get_attribute("data-paint") == "no"


def test_only_chosen_slices_take_strokes(page: Any, annotate: Run, tmp_path: Path) -> None:
    """On a slice that is not chosen, and in the three views, strokes change nothing; Escape closes the help."""
    write_image(tmp_path / "images" / "a_0000.nii.gz", ball())
    show(page, annotate(tmp_path / "images", tmp_path / "out"))
    states = shown_slices(page)
    go_to_look(page, "Axial", 2)
    click_at(page, (200, 200))
    page.keyboard.press("v")
    click_at(page, (200, 200))
    page.keyboard.press("v")
    page.keyboard.press("?")
    page.get_by_role("heading", name="How to annotate").wait_for()
    page.keyboard.press("Escape")
    assert shown_slices(page) == states
    assert all("to do" in state for state in states)


def test_after_its_last_slice_a_scan_stays_until_the_person_goes_on(page: Any, annotate: Run, tmp_path: Path) -> None:
    """What is carried through the scan is there to be looked at; N opens the next scan, and says so before."""
    for case in "ab":
        write_image(tmp_path / "images" / f"{case}_0000.nii.gz", ball())
    show(page, annotate(tmp_path / "images", tmp_path / "out"))
    for finished in range(1, 4):
        page.click("#empty")
        page.wait_for_selector(f"#progress-text:has-text('{finished} of 6')")
    page.get_by_text("All slices of a are finished.").wait_for()
    assert page.inner_text("#case-name") == "a"
    assert page.locator("#next").inner_text().startswith("Next scan")
    page.keyboard.press("n")
    page.wait_for_selector("#case-name:text-is('b')")


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Any, annotate: Run, tmp_path: Path) -> None:
    """Controls are named for screen readers, texts have contrast and fit, and keys pick tools, classes and slices."""
    write_image(tmp_path / "images" / "a_0000.nii.gz", ball())
    show(page, annotate(tmp_path / "images", tmp_path / "out", "--label-names", "one", "<b>two</b>"))
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(AUDIT) == {"nameless": [], "unreadable": []}
    assert page.get_by_label("<b>two</b>").count() == 1
    for key, chosen in (("e", "eraser"), ("o", "outline"), ("f", "fill"), ("b", "brush")):
        page.keyboard.press(key)
        assert page.locator("input[name=tool]:checked").get_attribute("value") == chosen
    page.keyboard.press("2")
    assert page.locator("input[name=class]:checked").get_attribute("value") == "2"
    first = page.inner_text("#slice-name")
    page.keyboard.press("n")
    assert page.inner_text("#slice-name") != first
    page.locator("#pointer").focus()
    page.keyboard.press("ArrowUp")
    assert page.locator("#slice-state").inner_text() == "not chosen"


def test_zoom_keeps_what_is_under_the_mouse(
    page: Any, annotate: Run, pixels_of: Callable[[Any], NDArray[np.uint8]], tmp_path: Path
) -> None:
    """Ctrl and the wheel zoom around the mouse, dragging with Alt moves the picture along, and Reset undoes both."""
    scan = np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    scan[9, 6, 20] = 100
    write_image(tmp_path / "images" / "a_0000.nii.gz", scan)
    show(page, annotate(tmp_path / "images", tmp_path / "out"))
    page.locator("#window").fill("1")
    go_to(page, "Axial", 9)
    before = bright_spot(page, pixels_of)
    box = page.locator("#pointer").bounding_box()
    page.mouse.move(box["x"] + before[0], box["y"] + before[1])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    np.testing.assert_allclose(bright_spot(page, pixels_of), before, atol=6)
    page.mouse.move(box["x"] + before[0], box["y"] + before[1])
    page.keyboard.down("Alt")
    page.mouse.down()
    page.mouse.move(box["x"] + before[0] - 80, box["y"] + before[1] + 50, steps=3)
    page.mouse.up()
    page.keyboard.up("Alt")
    np.testing.assert_allclose(bright_spot(page, pixels_of), (before[0] - 80, before[1] + 50), atol=6)
    page.click("#reset")
    page.locator("#window").fill("1")
    np.testing.assert_allclose(bright_spot(page, pixels_of), before, atol=2)
