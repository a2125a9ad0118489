"""Ways to spoil the folders of a place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reliability import spoil
from reliability.place import CASE, TEST, UNLABELLED, Place
from reliability.row import Spoil
from reliability.spoil import Spoiler
from sparse_annotation_tools.schema import CasesFile, RadaFolder


def image(spoiler: Spoiler) -> Spoil:
    """Spoil one labelled image."""
    return lambda place: spoiler(place.image)


def label(spoiler: Spoiler) -> Spoil:
    """Spoil its label map."""
    return lambda place: spoiler(place.label)


def unlabelled(spoiler: Spoiler) -> Spoil:
    """Spoil the unlabelled image."""
    return lambda place: spoiler(place.inputs / "unlabelled" / "images" / f"{UNLABELLED}_0000.nii.gz")


def test_scan_label(spoiler: Spoiler) -> Spoil:
    """Spoil the label map of the test scan."""
    return lambda place: spoiler(place.inputs / "test" / "labels" / f"{TEST}.nii.gz")


def test_scan(spoiler: Spoiler) -> Spoil:
    """Spoil the test scan."""
    return lambda place: spoiler(place.inputs / "test" / "images" / f"{TEST}_0000.nii.gz")


def every_image(spoiler: Spoiler) -> Spoil:
    """Spoil every scan."""

    def edit(place: Place) -> None:
        for path in list(place.inputs.rglob("*_0000.nii.gz")):
            spoiler(path)

    return edit


def second_channel(spoiler: Spoiler = lambda path: None) -> Spoil:
    """Give one labelled image a second channel, and spoil that."""

    def add(place: Place) -> None:
        path = place.images / f"{CASE}_0001.nii.gz"
        shutil.copy(place.image, path)
        spoiler(path)

    return add


def two_channels(spoiler: Spoiler = lambda path: None) -> Spoil:
    """Give every scan a second channel, and spoil one of them."""

    def add(place: Place) -> None:
        for path in list(place.inputs.rglob("*_0000.nii.gz")):
            shutil.copy(path, path.with_name(path.name.replace("_0000", "_0001")))
        spoiler(place.images / f"{CASE}_0001.nii.gz")

    return add


def painted(spoiler: Spoiler = lambda path: None, value: int = 0) -> Spoil:
    """Keep three slices of every labelled label map, with `value` off them; spoil one of the maps."""

    def keep(array: Any) -> Any:
        kept = np.full_like(array, value)
        z, y, x = (int((array > 0).sum(axis=other).argmax()) for other in ((1, 2), (0, 2), (0, 1)))
        kept[z], kept[:, y], kept[:, :, x] = array[z], array[:, y], array[:, :, x]
        return kept

    def edit(place: Place) -> None:
        for path in list(place.labels.iterdir()):
            spoil.change(keep)(path)
        spoiler(place.label)

    return edit


def renamed(folder: str, old: str, new: str) -> Spoil:
    """Rename the case of files."""

    def edit(place: Place) -> None:
        for path in list((place.inputs / folder).rglob(f"{old}*")):
            path.rename(path.with_name(path.name.replace(old, new)))

    return edit


def copied(source: str, target: str) -> Spoil:
    """Copy one input file."""
    return lambda place: put(place.inputs / target, (place.inputs / source).read_bytes())


def written(file: str, text: str | bytes, after: Spoil = lambda place: None) -> Spoil:
    """Write one input file, after another edit."""

    def edit(place: Place) -> None:
        after(place)
        put(place.inputs / file, text)

    return edit


def unset(variable: str) -> Spoil:
    """Unset a variable of the environment."""
    return lambda place: place.patch.delenv(variable, raising=False)


def variable(name: str, value: str) -> Spoil:
    """Set a variable of the environment; `{work}` is the place's folder."""
    return lambda place: place.patch.setenv(name, value.replace("{work}", str(place.work)))


def put(path: Path, text: str | bytes) -> None:
    """Write a file and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def emptied(folder: Path) -> None:
    """Take all files out of a folder."""
    for path in list(folder.iterdir()):
        path.unlink()


def of_notes(folder: Path) -> None:
    """Put a text file into a folder, in place of what is there."""
    emptied(folder)
    (folder / "notes.txt").write_text("notes\n")


def as_file(folder: Path) -> None:
    """Put a file where a folder was."""
    shutil.rmtree(folder)
    folder.write_text("no folder\n")


def existing(edit: Callable[[Path], None] = lambda path: None) -> Spoil:
    """Put the record of a finished dataset where the next one goes, and spoil it."""

    def make(place: Place) -> None:
        folder = RadaFolder(root=place.dataset / "rada")
        CasesFile(
            dataset="Dataset007_Phantom",
            modality="MR",
            classes={"organ": 1},
            strategy="SCA",
            seed=5,
            propagation={},
            cases={},
            versions={},
            command="rada-make-sparse-dataset ...",
        ).save(folder)
        edit(folder.cases_file)

    return make


def json_field(name: str, value: Any) -> Spoiler:
    """Change one field of a JSON file."""
    return lambda path: put(path, json.dumps({**json.loads(path.read_text()), name: value}))


def without_field(name: str) -> Spoiler:
    """Take one field out of a JSON file."""

    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        del content[name]
        put(path, json.dumps(content))

    return edit


def both(*edits: Spoil) -> Spoil:
    """Do one after the other."""

    def edit(place: Place) -> None:
        for each in edits:
            each(place)

    return edit


def second_test_channel(place: Place) -> None:
    """Give the test scan a second channel."""
    copied(f"test/images/{TEST}_0000.nii.gz", f"test/images/{TEST}_0001.nii.gz")(place)
