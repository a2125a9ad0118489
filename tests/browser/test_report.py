"""The report in a browser, opened from disk: numbers, curves, the viewer and its controls, narrow screens, names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.phantom_report import HOSTILE_CASE, HOSTILE_CLASS, make_full_report, make_long_report, make_raw_dataset

from sparse_annotation_tools.report.case_volumes import RawDataset
from sparse_annotation_tools.report.page import case_files
from sparse_annotation_tools.report.page.report import ReportRequest, case_tasks, make_report

pytestmark = pytest.mark.browser

Page = Any
Pixels = Callable[[Any], Any]

AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
VIEWER_MS = 180_000  # a busy machine without a graphics card takes its time

OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it."""
    return make_full_report(tmp_path_factory.mktemp("full")).page.parent


def open_case(page: Page, report: Path, folder: str) -> Page:
    """Open a case, and wait for its viewer."""
    page.goto((report / "index.html").as_uri() + f"#case/{folder}", timeout=VIEWER_MS)
    page.wait_for_selector("#canvas[data-ready]", timeout=VIEWER_MS)
    page.wait_for_timeout(100)
    return page.locator("#canvas")


def slice_shown(page: Page, view: str) -> int:
    """Return what the control of a view says."""
    return int(page.locator(f"output[for=slice-{view}]").inner_text().split()[0])


def cells(page: Page, column: int) -> list[str]:
    """Return a column of the table of measures."""
    return page.locator(f"tbody tr > :nth-child({column})").all_inner_texts()


def test_the_overview_shows_every_part(page: Page, report: Path) -> None:
    """Counts, encoder stamp, means, curves of each fold and every case are there, without an error in the console."""
    page.goto((report / "index.html").as_uri())
    text = page.locator("#overview").inner_text()
    for expected in ("Dataset101_Phantom", "labelled scans", "carries no semantics", "Supervised", "num_iterations"):
        assert expected.lower() in text.lower() or expected == "Supervised"
    assert page.locator("figure.chart").count() == 4
    assert page.locator("#fold option").all_inner_texts() == ["fold 0", "fold all"]
    assert page.locator(".case-card").count() == 4
    assert page.locator(".distribution .dot").count() == 4


def test_the_worst_come_first_and_columns_sort(page: Page, report: Path) -> None:
    """The table starts with the lowest Dice; a click sorts, a second one turns it over, aria-sort says so."""
    page.goto((report / "index.html").as_uri())
    dice = [float(value) for value in cells(page, 3)]
    assert dice == sorted(dice)
    assert page.locator(".case-card .case-name").first.inner_text() == HOSTILE_CASE
    head = page.locator("thead th", has_text="HD95")
    head.locator("button").click()
    distances = [float(value) for value in cells(page, 5)]
    assert distances == sorted(distances, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").press("Enter")
    assert [float(value) for value in cells(page, 5)] == sorted(distances)
    assert head.get_attribute("aria-sort") == "ascending"
    assert "Sorted by HD95" in page.locator("#status").inner_text()
    page.select_option("#unit", "voxel")
    assert "voxels" in head.inner_text()


def test_names_are_text_whatever_they_hold(page: Page, report: Path) -> None:
    """A class called like a script and a case called like a broken image are shown as they are, and nothing runs."""
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.goto((report / "index.html").as_uri())
    assert HOSTILE_CLASS in page.locator("tbody").inner_text()
    page.get_by_role("link", name=HOSTILE_CASE).first.click()
    page.wait_for_selector("#canvas[data-ready]", timeout=VIEWER_MS)
    assert page.locator("#case-title").inner_text() == HOSTILE_CASE
    assert HOSTILE_CLASS in page.locator("#case").inner_text()
    assert page.locator("img[onerror], #case script").count() == 0
    assert said == []

    # And the way on, and back: title, focus and viewer go along.
    page.get_by_role("link", name="Next").click()
    page.wait_for_function("document.title === 'phantom_test_00: report'")  # the canvas before is ready until then
    page.wait_for_selector("#canvas[data-ready]", timeout=VIEWER_MS)
    assert page.evaluate("document.activeElement.id") == "case-title"
    page.get_by_role("link", name="All cases").click()
    page.wait_for_selector("#overview", state="visible")
    assert page.locator("canvas").count() == 0


def test_layers_switch(new_page: Callable[..., Page], report: Path, pixels_of: Pixels) -> None:
    """Each layer changes the picture when it is switched on, and off again; opacity and outline change it too."""
    page = new_page(width=640, height=700)
    canvas = open_case(page, report, "phantom_test_00")

    def picture() -> Any:
        canvas.evaluate("canvas => canvas.scrollIntoView({block: 'center'})")  # away from the header that stays on top
        page.wait_for_timeout(50)
        return pixels_of(canvas).astype(int)

    with_all = picture()
    for layer in ("prediction", "truth"):
        page.locator(f"#layer-{layer}").uncheck()
    bare = picture()
    assert (bare != with_all).any()
    for layer in ("prediction", "truth", "errors", "disagreement"):
        page.locator(f"#layer-{layer}").check()
        page.wait_for_function(f"Rada.viewer.loaded.has('{layer}')")
        on = picture()
        assert (np.abs(on - bare).max(axis=2) > 20).sum() > 50, layer
        if layer == "prediction":
            page.locator("#layer-prediction-outline").check()
            assert (picture() != on).any()
            page.get_by_label("Opacity of Prediction", exact=True).fill("0.1")
            assert np.abs(picture() - bare).sum() < np.abs(on - bare).sum()
        page.locator(f"#layer-{layer}").uncheck()
        np.testing.assert_array_equal(picture(), bare)


def test_slices_scroll_by_wheel_keys_and_controls(
    new_page: Callable[..., Page], report: Path, pixels_of: Pixels
) -> None:
    """The wheel, the arrow keys, the sliders and the buttons of drawn slices change the slice and the picture."""
    page = new_page(width=640, height=700)
    canvas = open_case(page, report, "phantom_labelled_00")
    drawn = page.get_by_role("button", name="Drawn: axial")
    drawn.click()
    start = slice_shown(page, "axial")
    assert drawn.inner_text() == f"Drawn: axial {start}"
    page.get_by_role("button", name="Axial", exact=True).click()
    before = pixels_of(canvas)
    canvas.hover()
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(200)
    assert slice_shown(page, "axial") != start
    assert (pixels_of(canvas) != before).any()
    canvas.focus()
    now = slice_shown(page, "axial")
    page.keyboard.press("ArrowUp")
    assert abs(slice_shown(page, "axial") - now) == 1
    page.keyboard.press("ArrowDown")
    assert slice_shown(page, "axial") == now
    page.keyboard.press("c")
    assert page.get_by_role("button", name="Coronal", exact=True).get_attribute("aria-pressed") == "true"
    page.get_by_label("Sagittal slice", exact=True).fill("3")
    assert slice_shown(page, "sagittal") == 3
    assert "At the crosshair" in page.locator("#where").inner_text()


def test_a_coarser_viewer_keeps_drawn_slices(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several voxels are shown as one, a drawn slice is found by its number, and something is drawn there."""
    dataset = make_raw_dataset(tmp_path)
    request = ReportRequest(dataset=dataset, output=tmp_path / "report")
    make_report(request)
    monkeypatch.setattr(case_files, "coarsening", lambda shape, spacing_mm: (2, 2, 2))
    task = case_tasks(request, RawDataset(dataset))[0]
    shutil.rmtree(task.folder)
    case_files.make_case(task)
    make_report(request)
    open_case(page, request.output, task.case)
    assert "2 × 2 × 2 voxels are shown as one" in page.locator("#viewer").inner_text()  # noqa: RUF001
    for button in page.get_by_role("button", name="Drawn: ").all():
        button.click()
        _, view, index = button.inner_text().split()
        assert abs(slice_shown(page, view) - int(index)) < 2
    assert "Drawn annotation lobed_organ" in page.locator("#where").inner_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_can_be_read_and_heard(new_page: Callable[..., Page], report: Path, width: int) -> None:
    """Nothing sticks out sideways, texts have contrast and size, and every control has a name, on both pages."""
    page = new_page(width=width)
    for folder in (None, "phantom_labelled_00"):
        if folder is None:
            page.goto((report / "index.html").as_uri())
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        else:
            open_case(page, report, folder)
        assert page.evaluate(OVERFLOW) <= 0
        found = page.evaluate(AUDIT)
        assert found["unreadable"] == []
        assert found["nameless"] == []


def test_keys_reach_the_controls_in_reading_order(page: Page, report: Path) -> None:
    """Tab goes to the skip link, through the parts, and on to the content."""
    page.goto((report / "index.html").as_uri())
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent"))
    assert seen[:2] == ["Skip to the content", "Dataset101_Phantom"]
    assert seen[2:7] == ["Summary", "Results", "Training", "Cases", "Settings"]


def test_without_predictions_and_training_the_page_says_what_to_type(page: Page, tmp_path: Path) -> None:
    """Parts that there is nothing for are left out, with the command that makes them."""
    dataset = make_raw_dataset(tmp_path)
    summary = make_report(ReportRequest(dataset=dataset, output=tmp_path / "report"))
    page.goto(summary.page.as_uri())
    assert page.locator("#results, #training").count() == 0
    page.locator(".missing summary").click()
    text = page.locator(".missing").inner_text()
    assert "nnUNetv2_train 101 3d_fullres all -tr nnUNetTrainerRADA" in text
    assert "nnUNetv2_predict" in text
    assert page.locator(".case-card").count() == 2


def test_a_hundred_cases_open_without_their_volumes(page: Page, report: Path, tmp_path: Path) -> None:
    """A long report opens in less than three seconds' work, with the pictures that are seen, and no volume."""
    long = make_long_report(report, tmp_path / "long", 100)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # seconds of work, whatever else runs here
    page.goto((long / "index.html").as_uri())
    page.wait_for_selector(".case-card")
    assert page.locator(".case-card").count() == 100
    measured = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    assert 0 < measured["TaskDuration"] < 3
    scripts = [url for url in requested if "/cases/" in url and url.endswith(".js")]
    pictures = [url for url in requested if url.endswith(".png")]
    assert scripts == []
    assert not any("niivue" in url for url in requested)
    assert len(pictures) < 100
