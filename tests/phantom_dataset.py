"""Command lines on generated phantoms, which many tests type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse_annotation_tools.phantom import write_phantom_set

Options = Mapping[str, str | Sequence[str] | None]


def write_small_phantoms(folder: Path, *, labelled: int, unlabelled: int = 0, test: int = 0) -> None:
    """Write scans so small that each step takes a fraction of a second."""
    write_phantom_set(
        folder, labelled=labelled, unlabelled=unlabelled, test=test, shape=(10, 12, 14), spacing_mm=(3.0, 3.0, 3.0)
    )


def make_options(
    scans: Path | str, *, unlabelled: bool = False, test: bool = False, name: str = "Phantom", **changes: str | None
) -> dict[str, str | Sequence[str] | None]:
    """Return the options of rada-make-sparse-dataset for phantoms in a folder, with embeddings that take no time.

    Args:
        scans: what `write_phantom_set` wrote.
        unlabelled: take the unlabelled scans.
        test: take the test scans.
        name: of the dataset, whose id is 7.
        changes: other options, by their letters; None leaves one out.
    """
    options: dict[str, str | Sequence[str] | None] = {
        "-d": "7",
        "-n": name,
        "--images": f"{scans}/labelled/images",
        "--labels": f"{scans}/labelled/labels",
        "--label-names": ["organ"],
        "--simulate": "SCA",
        "--encoder": "random",
        "--encoder-seed": "0",
        "-np": "1",
    }
    if unlabelled:
        options["--unlabelled"] = f"{scans}/unlabelled/images"
    if test:
        options |= {"--test-images": f"{scans}/test/images", "--test-labels": f"{scans}/test/labels"}
    return {**options, **changes}


def words(options: Options) -> list[str]:
    """Return options as a shell would split them; None leaves one out, an empty text is a switch."""
    found: list[str] = []
    for option, value in options.items():
        if value is not None:
            found += [option, *(each for each in ([value] if isinstance(value, str) else value) if each)]
    return found


def commands_before_training(scans: Path, output: Path, *, processes: int) -> list[tuple[str, list[str]]]:
    """Return module and arguments of each command of the main job up to training, and of those that look at labels.

    Args:
        scans: what `write_small_phantoms` wrote.
        output: gets suggested slices and a report.
        processes: how many make the dataset.
    """
    images, labels = f"{scans}/labelled/images", f"{scans}/labelled/labels"
    default_encoder = {"--encoder": None, "--encoder-seed": None}
    return [
        ("make_sparse_dataset", words(make_options(scans, **default_encoder, **{"-np": str(processes)}))),
        ("embed", ["-d", "7"]),
        ("check_dataset", ["-d", "7", "-np", "1"]),
        ("suggest_slices", ["-i", images, "-o", f"{output}/suggested", "-np", "1"]),
        ("evaluate", ["-gt", labels, "-pred", labels, "-np", "1"]),
        ("report", ["-d", "7", "-o", f"{output}/report", "-pred", labels, "-gt", labels, "-np", "1"]),
    ]
