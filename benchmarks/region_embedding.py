"""Does an embedding say which organ a mask shows? Run `python benchmarks/region_embedding.py --data DIR`.

DIR holds `labelled/images`, `labelled/labels` and perhaps `test/...` with dense labels. On the largest slice of each
class and view, the embedding of the organ's mask is compared with that of the same organ in other cases, and with that
of a random region in other cases: the same outline, moved off the organ within the slice.

- `slice, mask`: as datasets are encoded. Its control `grey, mask` blanks the slice: what the mask's place says alone.
- `window, mask`: the same within a window round the mask, mirrored at the slice's edge, so that all masks lie alike.
  Its control `window, no mask` hides the mask: what the middle of the window says alone.
- `window, untrained`: alpha-clip-tiny before training.

Takes every encoder's options.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.cache import EmbeddingCache
from sparse_annotation_tools.prompts.clip_encoder import ClipEncoder
from sparse_annotation_tools.prompts.encoders import Encoder, make_encoder
from sparse_annotation_tools.prompts.options import EmbeddingOptions, add_encoder_arguments, options_from_arguments
from sparse_annotation_tools.prompts.slices import LabelledPlane, grey_range
from sparse_annotation_tools.prompts.store import l2_normalised
from sparse_annotation_tools.slices.planes import axes_of_views

SMALLEST = 12
"""Pixels of the smallest organ that is taken."""
MOST_OVERLAP = 0.25
"""Share of a random region that may lie on the organ; slices where the organ leaves no such room are left out."""

Bool = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A mask on a slice."""

    image: NDArray[np.float32]
    mask: Bool
    pixel_mm: tuple[float, float]
    grey: tuple[float, float]

    def plane(self) -> LabelledPlane:
        """The slice as encoders take it, the mask having label value 1."""
        label = self.mask.astype(np.int16)
        return LabelledPlane(
            case="", key="", image=self.image, label=label, pixel_mm=self.pixel_mm, grey_range=self.grey
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An organ and a random region of one slice; `group` names class and view."""

    group: str
    organ: Region
    random: Region


def pairs(data: Path, options: EmbeddingOptions, modality: str, generator: Generator) -> Iterator[Pair]:
    """Yield one pair per case, class and view."""
    labels = sorted(data.glob("labelled/labels/*.nii.gz")) + sorted(data.glob("test/labels/*.nii.gz"))
    if not labels:
        raise UserError(f"{data} holds no labelled/labels/*.nii.gz; give --data a folder that does")
    for path in labels:
        channel = path.name.replace(".nii.gz", f"_{options.encoder_channel:04d}.nii.gz")
        source = sitk.ReadImage(str(path.parent.parent / "images" / channel))
        image = sitk.GetArrayFromImage(source).astype(np.float32)
        label = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        grey = grey_range(image, modality, options.ct_window)
        for view, axis in axes_of_views(source.GetDirection()).items():
            height, width = np.delete(source.GetSpacing()[::-1], axis)
            for value in np.unique(label[label > 0]):
                areas = (label == value).sum(axis=tuple({0, 1, 2} - {axis}))
                plane = int(areas.argmax())
                mask = np.take(label == value, plane, axis)
                moved = random_region(mask, generator) if areas[plane] >= SMALLEST else None
                if moved is not None:
                    organ = Region(image=np.take(image, plane, axis), mask=mask, pixel_mm=(height, width), grey=grey)
                    yield Pair(group=f"class {value} {view}", organ=organ, random=replace(organ, mask=moved))


def random_region(organ: Bool, generator: Generator) -> Bool | None:
    """The organ's outline at a place drawn from all those within the slice that lie off the organ."""
    rows, columns = np.nonzero(organ)
    overlap = fftconvolve(organ, organ[::-1, ::-1].astype(float))  # by shift, no shift in the middle
    shifts = np.argwhere(overlap <= MOST_OVERLAP * organ.sum()) - (np.array(organ.shape) - 1)
    corners = np.array([[rows.min(), columns.min()], [rows.max(), columns.max()]])
    inside = (corners[0] + shifts >= 0).all(axis=1) & (corners[1] + shifts < organ.shape).all(axis=1)
    if not inside.any():
        return None
    shift = generator.choice(shifts[inside])
    moved = np.zeros_like(organ)
    moved[rows + shift[0], columns + shift[1]] = True
    return moved


def one_grey(region: Region) -> Region:
    """The mask on a slice without content."""
    return replace(region, image=np.full_like(region.image, np.mean(region.grey)))


def window(region: Region) -> Region:
    """A square window as large as the slice with the mask in its middle, the slice being mirrored at its edges."""
    half = max(region.mask.shape) // 2
    row, column = (round(float(middle)) for middle in np.argwhere(region.mask).mean(axis=0))
    cut = np.s_[row : row + 2 * half, column : column + 2 * half]
    return replace(region, image=np.pad(region.image, half, mode="symmetric")[cut], mask=np.pad(region.mask, half)[cut])


def unmasked(region: Region) -> Region:
    """The same with a mask that points at everything."""
    return replace(region, mask=np.ones_like(region.mask))


def likeness(encoder: Encoder, found: list[Pair], change: Callable[[Region], Region]) -> dict[str, dict[str, float]]:
    """Compare embeddings across cases, for each group.

    Returns:
        Mean cosine with the same organ and with random regions of other cases, and `nearer`, how often the first is
        larger than the second (0.5 is chance).
    """
    result = {}
    for group in sorted({pair.group for pair in found}):
        members = [pair for pair in found if pair.group == group]
        if len(members) < 2:
            continue
        organ, elsewhere = (
            l2_normalised(np.stack([encoder.encode_region(change(region).plane(), "", 1) for region in regions]))
            for regions in zip(*((pair.organ, pair.random) for pair in members), strict=True)
        )
        other = ~np.eye(len(members), dtype=bool)
        same, random = organ @ organ.T, organ @ elsewhere.T
        wins = [
            (row_same[keep][:, None] > row_random[keep]) + 0.5 * (row_same[keep][:, None] == row_random[keep])
            for row_same, row_random, keep in zip(same, random, other, strict=True)
        ]
        result[group] = {
            "same_organ": round(float(same[other].mean()), 4),
            "random_region": round(float(random[other].mean()), 4),
            "nearer": round(float(np.mean(wins)), 4),
            "cases": len(members),
        }
    return result


def untrained(folder: Path) -> Encoder:
    """alpha-clip-tiny before training."""
    import torch

    from sparse_annotation_tools.prompts.tiny.model import CONFIG, new_model

    torch.manual_seed(0)
    model = new_model().eval().requires_grad_(False)
    return ClipEncoder(CONFIG, lambda: model, {"encoder": "untrained"}, EmbeddingCache(folder=folder))


def main() -> None:
    """Encode, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--modality", default="MR", help="CT or MR (default MR)")
    add_encoder_arguments(parser)
    args = parser.parse_args()
    options = options_from_arguments(args)
    start = time.process_time()
    found = list(pairs(args.data, options, args.modality, np.random.default_rng(0)))
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_encoder(options, Path(folder))
        results = {
            "slice, mask": likeness(encoder, found, lambda region: region),
            "grey, mask": likeness(encoder, found, one_grey),
            "window, mask": likeness(encoder, found, window),
            "window, no mask": likeness(encoder, found, lambda region: unmasked(window(region))),
        }
        if options.encoder == "alpha-clip-tiny":
            results["window, untrained"] = likeness(untrained(Path(folder)), found, window)
    print(f"{args.data.name}, encoder {options.encoder}: cosine of an organ's embedding with other cases'")
    print(f"{'input':20}{'organ, view':22}{'cases':>6}{'same organ':>12}{'random':>8}{'difference':>12}{'nearer':>8}")
    for name, groups in results.items():
        for group, row in groups.items():
            same, random = row["same_organ"], row["random_region"]
            figures = f"{same:12.3f}{random:8.3f}{same - random:12.3f}{row['nearer']:8.3f}"
            print(f"{name:20}{group:22}{row['cases']:6}{figures}")
    print(
        json.dumps(
            {
                "benchmark": "region_embedding",
                "data": args.data.name,
                "encoder": options.encoder,
                "results": results,
                "cpu_s": round(time.process_time() - start, 1),
                "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
            }
        )
    )


if __name__ == "__main__":
    main()
