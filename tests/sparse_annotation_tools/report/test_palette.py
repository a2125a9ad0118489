"""Colours of pictures and pages can be told apart by colour-blind readers."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from nnunetv2_rada.compare import plots
from sparse_annotation_tools.report.palette import DASHES, OKABE_ITO, class_colour

TOLD_APART = 10.0
"""CIEDE2000; about 2 is seen side by side, red and the green below are 5 apart for a deuteranope."""

# Linear RGB as people without one of the three cones see it: Machado, Oliveira and Fernandes 2009, severity 1.0.
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip

PAGES = Path(plots.__file__).parents[2] / "sparse_annotation_tools"


def colours_in(file: str, name: str) -> tuple[str, ...]:
    """The colours of a constant in a script of a page."""
    found = re.search(rf"^const {name} = \[(.*?)\];", (PAGES / file).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert found
    return tuple(re.findall(r"#[0-9A-Fa-f]{6}", found[1]))


PALETTES = {
    "classes and networks": OKABE_ITO,
    "kinds of errors in the viewer": colours_in("report/page/static/viewer.js", "ERROR_KINDS"),
    "curves on the page": colours_in("report/page/static/charts.js", "LINE_STYLES"),
    "rada-compare": (plots._OURS, plots._PAPER, plots._MUTED),
}


def seen(colours: tuple[str, ...], vision: Any) -> NDArray[np.float64]:
    """Lab values [colour, 3] of sRGB colours such as `#E69F00`, for one kind of vision."""
    rgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shown = np.clip(linear @ np.asarray(vision).T, 0, 1)
    return np.asarray(rgb2lab(np.where(shown <= 0.0031308, shown * 12.92, 1.055 * shown ** (1 / 2.4) - 0.055)))


def distances(colours: tuple[str, ...], vision: Any) -> dict[tuple[str, str], float]:
    """How far apart each two colours look."""
    lab = dict(zip(colours, seen(colours, vision), strict=True))
    return {pair: float(deltaE_ciede2000(lab[pair[0]], lab[pair[1]])) for pair in combinations(colours, 2)}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", PALETTES)
def test_any_two_colours_are_told_apart(palette: str, vision: str) -> None:
    """Also by people without one of the three cones."""
    colours = PALETTES[palette]
    assert len(set(colours)) == len(colours) > 2
    assert {pair: far for pair, far in distances(colours, VISION[vision]).items() if far < TOLD_APART} == {}


def test_red_and_green_would_be_found() -> None:
    """The measure knows what a deuteranope confuses and others do not."""
    confused = ("#FF0000", "#00A000")
    assert max(distances(confused, VISION["deuteranopia"]).values()) < TOLD_APART
    assert min(distances(confused, VISION["full"]).values()) > 50


def test_eight_classes_use_every_colour_before_one_repeats() -> None:
    """The eighth class looks like the first; lines repeat the message of their colour by dashes."""
    assert [class_colour(value) for value in range(1, 8)] == list(OKABE_ITO)
    assert class_colour(8) == class_colour(1)
    assert len(set(DASHES)) == len(DASHES) >= 3
