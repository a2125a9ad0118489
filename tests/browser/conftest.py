"""A headless Chromium for the tests of pages; software WebGL, no network but this computer's own."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# The first one on PATH is driven; RADA_CHROMIUM=/path/to/chromium goes before.
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",  # containers often have little of it
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")


def _missing(what: str) -> None:
    """Skip where there is no browser; fail where `make test-browser` wants one."""
    if os.environ.get("RADA_REQUIRE_CHROMIUM"):
        pytest.fail(f"{what}, and RADA_REQUIRE_CHROMIUM is set")
    pytest.skip(f"{what}; `make test-browser` requires it")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A running Chromium, a Browser of Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install .[test])")
    program = os.environ.get("RADA_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        _missing(f"no Chromium on PATH ({', '.join(_NAMES)}) and RADA_CHROMIUM is not set")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        yield running
        running.close()


@pytest.fixture
def problems() -> list[str]:
    """What the pages of this test complained about; it must be empty at the end (clear it where it may not be)."""
    return []


@pytest.fixture
def new_page(browser: Any, problems: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a tab, a Page of Playwright: `new_page(width=390, height=800)`, in a profile of its own."""
    contexts = []

    def open_tab(width: int = 1280, height: int = 800, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # machines that do other work as well
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.on("request", lambda request: _check_local(request.url, problems))
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert problems == []


def _check_local(url: str, problems: list[str]) -> None:
    if not url.startswith(_LOCAL):
        problems.append(f"request to {url}")


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A tab of 1280 x 800 pixels; console errors, uncaught exceptions and requests elsewhere fail the test."""
    return new_page()


@pytest.fixture
def pixels_of() -> Callable[[Any], NDArray[np.uint8]]:
    """Return what a locator shows, uint8 [row, column, RGB]."""
    from PIL import Image

    def shot(locator: Any) -> NDArray[np.uint8]:
        return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))

    return shot
