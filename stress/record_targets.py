"""JSON files and embeddings that the commands read, as the fuzz run reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mutations import JSON, TEXT, Mutation
from numpy.typing import NDArray
from readers import safetensors
from target import Target, expect

from nnunetv2_rada.config import Config
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_maps import Labels
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import VIEWS, AnnotatedSlice, Case, CasesFile, RadaFolder
from sparse_annotation_tools.suggestion.files import ListedSlice, Record, SuggestionFolder

_SHAPE = (8, 9, 10)


def record_targets(folder: Path) -> list[Target]:
    """Return the targets; whole files are written to `folder`."""
    rada = RadaFolder(root=folder / "rada")
    _cases_file().save(rada)
    _prompts().save(folder / "whole.safetensors")
    prompts = (folder / "whole.safetensors").read_bytes()
    record = json.dumps(asdict(_record()), indent=2).encode()
    dataset_json = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "one": 1, "two": 2, "ignore": 3}}
    config = {"alpha": "cosine", "networks": ["axial"], "learning_rate": 0.01, "gradient_clip": None}
    rows: list[tuple[str, str, bytes, Sequence[Mutation], Callable[[Path, bytes], None]]] = [
        ("cases.json", "cases.json", rada.cases_file.read_bytes(), JSON, check_cases_json),
        ("prompts", "prompts.safetensors", prompts, TEXT, check_prompts),
        ("suggestion", "suggestions/a.json", record, JSON, check_suggestion),
        ("dataset.json", "dataset.json", json.dumps(dataset_json).encode(), JSON, check_dataset_json),
        ("RADA_CONFIG", "config.json", json.dumps(config).encode(), JSON, check_config),
    ]
    return [
        Target(name=name, file=file, seeds=[whole], mutations=kinds, check=check)
        for name, file, whole, kinds, check in rows
    ]


def check_cases_json(path: Path, seed: bytes) -> None:
    """What was read is what JSON says, every name stays in its folder, and the views are there."""
    rada = RadaFolder(root=path.parent)
    read = CasesFile.load(rada)
    content = json.loads(path.read_bytes())
    optional = {"test": {}, "merge": {}}
    written = json.loads(json.dumps(asdict(read)))
    for name, case in content["cases"].items():
        written["cases"][name] = {key: value for key, value in written["cases"][name].items() if key in case}
    expect({**optional, **content} == written, "another content than JSON's")
    for name in (*read.cases, *read.test):
        expect(rada.fused(name).resolve().parent == rada.root.resolve() / "fused", f"name {name!r}")
    for case in read.cases.values():
        for each in case.slices:
            expect(each.view in VIEWS and 0 <= each.index < case.shape[each.axis], f"{each}")
    expect(len(read.labelled) + len(read.unlabelled) == len(read.cases), "counts")


def check_prompts(path: Path, seed: bytes) -> None:
    """Tensors are those of a second reader, rows of length 1 where metadata says so."""
    store = PromptStore.load(path)
    tensors, metadata = safetensors(path)
    expect(dict(store.metadata) == metadata, "other metadata")
    expect(np.allclose(_unit(tensors["text"], store), store.text_kt, atol=1e-6, equal_nan=True), "other text rows")
    images = {name: tensor for name, tensor in tensors.items() if name != "text"}
    for name, tensor in images.items():
        _, case, key = name.split("/")
        rows = store.images[case][key]
        expect(np.allclose(_unit(tensor, store), rows, atol=1e-6, equal_nan=True), f"other rows of {name}")
    expect(sum(map(len, store.images.values())) == len(images), "another number of tensors")
    expect(store.prompt_planes != (), "no prompt plane")


def _unit(rows: NDArray[Any], store: PromptStore) -> NDArray[Any]:
    if store.normalise == "raw":
        return rows
    with np.errstate(all="ignore"):
        wide = rows.astype(np.float64)
        return wide / np.linalg.norm(wide, axis=1, keepdims=True) if rows.shape[1] else rows


def check_suggestion(path: Path, seed: bytes) -> None:
    """A damaged record counts as none (the scan is looked at again); one that is taken is what JSON says."""
    record = SuggestionFolder(root=path.parent.parent).record("a")
    if record is None:
        raise UserError("no record")
    content = json.loads(path.read_bytes())
    expect({"label_sha256": "", **content} == json.loads(json.dumps(asdict(record))), "another content than JSON's")
    expect(record.case == "a", f"it is of case {record.case!r}")
    for each in record.slices:
        expect(each.view in VIEWS and each.axis in (0, 1, 2) and each.index >= 0, f"{each}")
        expect(isinstance(each.score, (int, float)) and each.score >= 0, f"{each}")


def check_dataset_json(path: Path, seed: bytes) -> None:
    """Classes are those of JSON, with whole positive values."""
    labels = Labels.from_dataset_json(path)
    content = json.loads(path.read_bytes())["labels"]
    assert labels.classes is not None
    for name, value in labels.classes.items():
        expect(content[name] == value and type(value) is int and value > 0, f"{name} is {value!r}")
    expect(labels.ignore is None or type(labels.ignore) is int, f"ignore is {labels.ignore!r}")
    expect(len(set(labels.classes.values())) == len(labels.classes), "two classes of one value")


def check_config(path: Path, seed: bytes) -> None:
    """Settings are those of JSON; all others are as they were."""
    config = Config().overridden_by_file(path)
    content = json.loads(path.read_bytes())
    expect(config.to_json() == {**Config().to_json(), **content}, "another content than JSON's")


def _cases_file() -> CasesFile:
    axial = AnnotatedSlice(view="axial", axis=0, index=3, area=7, classes=(1, 2))
    sagittal = AnnotatedSlice(view="sagittal", axis=2, index=5, area=9, classes=(1,))
    labelled = Case(
        labelled=True, shape=_SHAPE, sagittal_axis=2, slices=(axial, sagittal),
        networks={"axial": (0,), "sagittal": (1,), "coronal": (0, 1)}, sha256={"image_0000": "00", "annotation": "11"},
    )  # fmt: skip
    unlabelled = Case(labelled=False, shape=_SHAPE, sagittal_axis=2, sha256={"image_0000": "22"})
    return CasesFile(
        dataset="Dataset101_LA", modality="MR", classes={"one": 1, "two": 2}, strategy="SCA", seed=0,
        propagation={"channel": 0, "method": "ants"}, cases={"a": labelled, "b": unlabelled}, versions={"ants": "0.5"},
        command="rada-make-sparse-dataset -d 101", test={"c": {"image_0000": "33"}}, merge={"one": [1]},
    )  # fmt: skip


def _prompts() -> PromptStore:
    random = np.random.default_rng(0)
    rows = random.standard_normal((2, 4)).astype(np.float32)
    absent = rows.copy()
    absent[1] = np.nan
    return PromptStore(
        classes=("one", "two"), text_kt=random.standard_normal((2, 3)).astype(np.float32),
        images={"a": {"axial": rows, "axial.1": absent}, "b": {"coronal": -rows}},
        metadata={"encoder": "random", "normalise": "raw", "prompt_planes": "A", "stamp": "none"},
    )  # fmt: skip


def _record() -> Record:
    slices = tuple(
        ListedSlice(view=view, axis=axis, index=3, state=state, score=4.5, ras_mm="S 1.0", itk_snap="z 4")
        for view, axis, state in (("axial", 0, "drawn"), ("coronal", 1, "suggested"))
    )
    return Record(case="a", made_from="f" * 64, rule="first slices", slices=slices, label_sha256="0" * 64)
