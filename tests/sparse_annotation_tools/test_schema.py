"""Tests of reading `cases.json`, which may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile, RadaFolder

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def rada(tmp_path: Path) -> RadaFolder:
    """A `cases.json` of one labelled and one unlabelled case."""
    folder = RadaFolder(root=tmp_path)
    annotated = AnnotatedSlice(view="axial", axis=0, index=3, area=7, classes=(1,))
    CasesFile(
        dataset="Dataset101_LA",
        modality="MR",
        classes={"atrium": 1},
        strategy="SCA",
        seed=0,
        propagation={},
        cases={
            "a": Case(labelled=True, shape=(4, 5, 6), sagittal_axis=2, slices=(annotated,), networks={"axial": (0,)}),
            "b": Case(labelled=False, shape=(4, 5, 6), sagittal_axis=2),
        },
        versions={},
        command="rada-make-sparse-dataset ...",
        test={"c": {"image_0000": "0"}},
    ).save(folder)
    return folder


def test_what_was_saved_is_read(rada: RadaFolder) -> None:
    """Saved again, it is the same file."""
    before = rada.cases_file.read_bytes()
    CasesFile.load(rada).save(rada)
    assert rada.cases_file.read_bytes() == before


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "a\\..\\b", "", ".", "..", "a\x00", "a\n"])
@pytest.mark.parametrize("part", ["cases", "test"])
def test_a_name_that_leaves_its_folder_is_refused(rada: RadaFolder, part: str, name: str) -> None:
    """Names become parts of paths that are read and written."""
    content = json.loads(rada.cases_file.read_text())
    content[part] = {name: next(iter(content[part].values()))}
    rada.cases_file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="odd characters"):
        CasesFile.load(rada)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(dataset="Dataset101_../LA"),
        lambda content: content.update(seed="0"),
        lambda content: content.update(classes={"atrium": True}),
        lambda content: content.update(classes={"atrium": 2}),
        lambda content: content.update(classes={}),
        lambda content: content.update(cases=[]),
        lambda content: content.update(test={"c": None}),
        lambda content: content["cases"]["a"].update(labelled=1),
        lambda content: content["cases"]["a"].update(labelled=False),
        lambda content: content["cases"]["a"].update(shape=[4, 5, 0]),
        lambda content: content["cases"]["a"].update(shape=[4, 5]),
        lambda content: content["cases"]["a"].update(sagittal_axis=3),
        lambda content: content["cases"]["a"].update(networks={"axial": [1]}),
        lambda content: content["cases"]["a"].update(networks={"axial": ""}),
        lambda content: content["cases"]["a"].update(labelled=False, slices="", networks={}),
        lambda content: content["cases"]["a"]["slices"][0].update(classes={}),
        lambda content: content["cases"]["a"]["slices"][0].update(index=4),
        lambda content: content["cases"]["a"]["slices"][0].update(index=-1),
        lambda content: content["cases"]["a"]["slices"][0].update(index=1.0),
        lambda content: content["cases"]["a"]["slices"][0].update(view="Axial"),
        lambda content: content["cases"]["a"]["slices"][0].update(classes=[2]),
        lambda content: content["cases"]["a"]["slices"][0].pop("area"),
    ],
)
def test_what_cannot_be_is_refused(rada: RadaFolder, change: Change) -> None:
    """One line that names the file and what to type."""
    content = json.loads(rada.cases_file.read_text())
    change(content)
    rada.cases_file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"cases\.json is damaged or incomplete .*rada-make-sparse-dataset"):
        CasesFile.load(rada)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\xff", '{"schema_version": 2}', "[]", "null"])
def test_what_is_no_record_is_refused(rada: RadaFolder, text: str) -> None:
    """Nested without end, cut off, in another encoding, of another version."""
    rada.cases_file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="rada-make-sparse-dataset"):
        CasesFile.load(rada)
