"""The driven browser shows pages as a person's does, and reports what goes wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.browser

_RED_CANVAS = """
<!doctype html><title>a</title><canvas width="64" height="64"></canvas><script>
const gl = document.querySelector("canvas").getContext("webgl2");
gl.clearColor(1, 0, 0, 1); gl.clear(gl.COLOR_BUFFER_BIT);
</script>
"""


def test_webgl_draws(page: Any, pixels_of: Callable[..., Any], tmp_path: Path) -> None:
    """A canvas that WebGL 2 painted red is red in the picture."""
    (tmp_path / "page.html").write_text(_RED_CANVAS)
    page.goto((tmp_path / "page.html").as_uri())
    np.testing.assert_array_equal(pixels_of(page.locator("canvas"))[32, 32], (255, 0, 0))


def test_errors_and_requests_elsewhere_are_noticed(page: Any, problems: list[str]) -> None:
    """An uncaught exception, a console error and a request to another host are all listed."""
    page.set_content("<script>console.error('told'); setTimeout(() => { throw Error('thrown') })</script>")
    page.evaluate("fetch('http://elsewhere.example/').catch(() => 0)")
    page.wait_for_timeout(50)
    text = "\n".join(problems)
    problems.clear()
    assert "told" in text
    assert "thrown" in text
    assert "request to http://elsewhere.example/" in text
