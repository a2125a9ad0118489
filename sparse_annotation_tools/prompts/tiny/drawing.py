"""Draw slices with organs, masks and names, by chance and reproducibly.

An anatomy is what two scans of like subjects share: which organs, where about, of what shape and contrast. A drawing
is one scan of it: displaced, warped, with another bias field, noise and grey scale. Nothing in a drawing depends on
which organ a mask will point at, so a reader that does not see the mask can only guess among the organs. A region
that follows no organ is an organ that was placed like the others and then left out of the picture, so a reader that
sees nothing but the mask cannot tell it from theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sparse_annotation_tools.prompts.tiny.organs import NAMES, ORGANS, TISSUE, Organ
from sparse_annotation_tools.prompts.tiny.shapes import NUMBERS

FloatArray = NDArray[np.float64]

SIDE = 64
"""Side of a drawn slice in pixels, the input size of the image tower."""
ORGANS_PER_SLICE = 4
SMALLEST = 12
"""Pixels of the smallest region that is used."""

_Y, _X = np.mgrid[:SIDE, :SIDE] / SIDE


@dataclass(frozen=True, kw_only=True)
class OrganInstance:
    """One organ of one anatomy: kind, place, size, turn, shape numbers, and contrast to its surroundings."""

    kind: Organ
    centre: FloatArray
    half_length: float
    turn: float
    numbers: FloatArray
    contrast: float
    mirrored: bool


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What two drawings of one subject share: `decoy` is placed but not painted, `blobs` have no name."""

    organs: tuple[OrganInstance, ...]
    decoy: OrganInstance
    blobs: tuple[OrganInstance, ...]
    tissue: float
    has_outside: bool


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One slice with its regions.

    Attributes:
        image: [SIDE, SIDE] grey in 0..1.
        masks: [n, SIDE, SIDE] bool; the organs, then the decoy. One that lies outside the slice or below another organ
            may be empty: see `visible`.
        kinds: [n] positions in `NAMES`; the last is that of `TISSUE`.
        bright: [n] whether the organ is brighter than its surroundings; False for the last.
    """

    image: NDArray[np.float32]
    masks: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    bright: NDArray[np.bool_]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """[n]; whether a region has enough pixels to be told."""
        return np.asarray(self.masks.sum(axis=(1, 2)) >= SMALLEST)


def draw_anatomy(generator: Generator) -> Anatomy:
    """Draw `ORGANS_PER_SLICE` organs of different kinds that hardly overlap, a decoy, and nameless blobs among them."""
    zoom = generator.uniform(0.75, 1.2)
    placed: list[OrganInstance] = []
    for position in generator.permutation(len(ORGANS))[: ORGANS_PER_SLICE + 1]:
        kind = ORGANS[position]
        half_length = zoom * generator.uniform(*kind.half_length)
        contrast = generator.uniform(0.1, 0.45) * (1 if generator.random() < kind.brighter else -1)
        centre = _free_place(generator, half_length, placed)
        placed.append(_instance(generator, kind, centre, half_length, contrast))
    decoy = placed.pop(generator.integers(len(placed)))
    blobs = []
    for _ in range(generator.integers(3, 9)):
        kind = ORGANS[generator.choice((3, 9, 10, 11))]
        half_length, contrast = generator.uniform(0.02, 0.15), generator.choice((-1, 1)) * generator.uniform(0.04, 0.35)
        blobs.append(_instance(generator, kind, generator.random(2), half_length, contrast))
    return Anatomy(
        organs=tuple(placed),
        decoy=decoy,
        blobs=tuple(blobs),
        tissue=generator.uniform(0.3, 0.65),
        has_outside=bool(generator.random() < 0.5),
    )


def draw(anatomy: Anatomy, generator: Generator) -> Drawing:
    """Draw one slice of an anatomy."""
    x = _X + smooth_field(generator, 5) * generator.uniform(0, 0.03)
    y = _Y + smooth_field(generator, 5) * generator.uniform(0, 0.03)
    shift, turn, scale = generator.normal(0, 0.04, 2), generator.normal(0, 0.15), generator.uniform(0.88, 1.12)
    grid = _turned(x - 0.5 - shift[0], y - 0.5 - shift[1], turn, scale)
    image = anatomy.tissue + 0.06 * smooth_field(generator, 9)
    for blob in anatomy.blobs:
        image = _painted(image, blob, _level(blob, grid), generator)
    masks = []
    for organ in anatomy.organs:
        level = _level(organ, grid)
        image = _painted(image, organ, level, generator)
        masks.append(level > 0)
    for later in range(len(masks)):  # what is painted later covers what is below
        for earlier in range(later):
            masks[earlier] = masks[earlier] & ~masks[later]
    if anatomy.has_outside:
        image = _with_outside(image, grid, np.any(masks, axis=0), generator)
    taken = np.any(masks, axis=0)
    masks.append((_level(anatomy.decoy, grid) > 0) & ~taken)
    frame = _frame(generator)
    kinds = np.array([NAMES.index(name) for name in (*(organ.kind.name for organ in anatomy.organs), TISSUE)])
    return Drawing(
        image=np.where(frame, _scanned(image, generator), 0).astype(np.float32),
        masks=np.stack(masks) & frame,
        kinds=kinds,
        bright=np.array([*(organ.contrast > 0 for organ in anatomy.organs), False]),
    )


def smooth_field(generator: Generator, knots: int) -> FloatArray:
    """[SIDE, SIDE] smooth noise of about unit height, interpolated from knots x knots values."""
    basis = _BASES[knots]
    return np.asarray(basis @ generator.standard_normal((knots, knots)) @ basis.T)


def _basis(knots: int) -> FloatArray:
    """[SIDE, knots] weights of smooth interpolation."""
    position = np.linspace(0, knots - 1, SIDE)[:, None] - np.arange(knots)
    weight = np.exp(-0.5 * (position / 0.6) ** 2)
    return np.asarray(weight / np.sqrt((weight**2).sum(axis=1, keepdims=True)))


_BASES = {knots: _basis(knots) for knots in (4, 5, 9, 17)}


def _instance(
    generator: Generator, kind: Organ, centre: FloatArray, half_length: float, contrast: float
) -> OrganInstance:
    return OrganInstance(
        kind=kind,
        centre=centre,
        half_length=half_length,
        turn=generator.uniform(0, 2 * np.pi),
        numbers=generator.random(NUMBERS),
        contrast=contrast,
        mirrored=bool(generator.random() < 0.5),
    )


def _free_place(generator: Generator, half_length: float, others: list[OrganInstance]) -> FloatArray:
    """The place among several tries that is farthest from the other organs, whatever their kinds."""
    places = generator.uniform(0.12, 0.88, (12, 2))
    if not others:
        return np.asarray(places[0])
    gaps = [
        min(np.hypot(*(place - other.centre)) - 0.8 * (half_length + other.half_length) for other in others)
        for place in places
    ]
    return np.asarray(places[int(np.argmax(gaps))])


def _turned(x: FloatArray, y: FloatArray, turn: float, scale: float) -> tuple[FloatArray, FloatArray]:
    """Coordinates turned and scaled about the middle of the slice, which stays at one half."""
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    return cos * x - sin * y + 0.5, sin * x + cos * y + 0.5


def _level(organ: OrganInstance, grid: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Distance to the organ's outline in half-lengths, positive inside."""
    x, y = (grid[0] - organ.centre[0]) / organ.half_length, (grid[1] - organ.centre[1]) / organ.half_length
    cos, sin = np.cos(organ.turn), np.sin(organ.turn)
    u, v = cos * x - sin * y, sin * x + cos * y
    return organ.kind.shape(-u if organ.mirrored else u, v, organ.numbers)


def _painted(image: FloatArray, organ: OrganInstance, level: FloatArray, generator: Generator) -> FloatArray:
    """Paint an organ over the image, its edge one pixel soft."""
    cover = np.clip(level * organ.half_length * SIDE + 0.5, 0, 1)
    contrast = organ.contrast * generator.uniform(0.8, 1.2)
    around = float(np.mean(image[cover > 0])) if (cover > 0).any() else 0.0
    grey = around + contrast * (1 + _interior(organ.kind.interior, level, generator))
    return image * (1 - cover) + grey * cover


def _interior(kind: str, level: FloatArray, generator: Generator) -> FloatArray:
    """[SIDE, SIDE] change of grey inside, as a share of the organ's contrast."""
    if kind == "core":
        return -0.7 * np.clip((level - 0.25) * 8, 0, 1)
    if kind == "rim":
        return 0.6 * np.clip((0.16 - level) * 12, 0, 1)
    if kind == "hollow":
        return -1.6 * np.clip((level - 0.3) * 8, 0, 1)
    if kind == "speckle":
        return -0.8 * (smooth_field(generator, 17) > 1.2).astype(np.float64)
    if kind == "patchy":
        return 0.7 * smooth_field(generator, 17)
    if kind == "vessels":
        return -0.8 * np.clip(1 - np.abs(smooth_field(generator, 9)) * 6, 0, 1)
    return 0.08 * smooth_field(generator, 9)


def _with_outside(
    image: FloatArray, grid: tuple[FloatArray, FloatArray], organs: NDArray[np.bool_], generator: Generator
) -> FloatArray:
    """Put air outside an ellipse, but never over an organ."""
    half = generator.uniform(0.4, 0.55, 2)
    level = 1 - np.hypot((grid[0] - 0.5) / half[0], (grid[1] - 0.5) / half[1])
    inside = np.clip(level * SIDE / 3 + 0.5, 0, 1)
    skin = 0.3 * np.clip(1 - np.abs(level - 0.06) * 20, 0, 1)
    return np.asarray(np.where(organs, image, (image + skin) * inside + 0.02 * (1 - inside)), dtype=np.float64)


def _frame(generator: Generator) -> NDArray[np.bool_]:
    """What is left of the square where the slice is oblong; the rest is padding."""
    frame = np.ones((SIDE, SIDE), dtype=bool)
    if generator.random() < 0.5:
        cut = int(SIDE * generator.uniform(0, 0.22))
        frame[:cut] = frame[SIDE - cut :] = False
    return frame if generator.random() < 0.5 else frame.T


def _scanned(image: FloatArray, generator: Generator) -> NDArray[np.float32]:
    """Blur, bias field, noise, and a grey scale from 0 to 1."""
    strength = generator.uniform(0, 0.6)
    blurred = (1 - strength) * image + strength * _blurred(image)
    biased = blurred * np.exp(generator.uniform(0, 0.2) * smooth_field(generator, 4))
    noise = generator.standard_normal(image.shape)
    if generator.random() < 0.5:
        noise = _blurred(noise) * 2
    noisy = biased + generator.uniform(0, 0.08) * noise
    low, high = np.percentile(noisy, (generator.uniform(0, 2), generator.uniform(97, 100)))
    scaled = np.clip((noisy - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(scaled ** generator.uniform(0.7, 1.4), dtype=np.float32)


def _blurred(image: FloatArray) -> FloatArray:
    """Average with the neighbours, 3 x 3 binomial."""
    padded = np.pad(image, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16)
