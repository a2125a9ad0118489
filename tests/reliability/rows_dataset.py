"""Rows of `rada-check-dataset` and `rada-embed`, which read a dataset that was made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from reliability import spoil
from reliability.edits import json_field, put, unset, variable, without_field
from reliability.faults import UNREADABLE
from reliability.place import CASE, OTHER, TEST, UNLABELLED, Outcome, Place
from reliability.row import nothing, table
from reliability.rows_make_other import raising
from reliability.spoil import Spoiler

CHECK, EMBED = "rada-check-dataset", "rada-embed"
_MEND = "of the lines above start with error; type what they say, then rada-check-dataset -d 7"


def of_dataset(file: str, spoiler: Spoiler) -> Any:
    """Spoil a file of the dataset."""
    return lambda place: spoiler(place.dataset / file)


def found(name: str, edit: Any, prints: str, **more: Any) -> tuple[Any, ...]:
    """A row of rada-check-dataset with an error on stdout."""
    return (name, edit, _MEND, {"prints": f"error ... {prints}", **more})


def prompts(edit: Any) -> Any:
    """Change the tensors or metadata of the embeddings."""

    def spoil_prompts(place: Place) -> None:
        change_prompts(place.dataset / "rada" / "prompts.safetensors", edit)

    return spoil_prompts


def change_prompts(path: Path, edit: Any) -> None:
    """Read embeddings, let `edit` change tensors and metadata in place, write them."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    edit(tensors, metadata)
    save_file(tensors, path, metadata=metadata)


def is_checked(place: Place, outcome: Outcome) -> None:
    """No finding is an error."""
    assert "0 error" in outcome.out


_CASES, _SPLITS, _PROMPTS = "rada/cases.json", "rada/splits_final.json", "rada/prompts.safetensors"
_IMAGE, _LABEL = f"imagesTr/{CASE}_0000.nii.gz", f"labelsTr/{CASE}.nii.gz"
NAMING = (
    ("nnUNet_raw unset", unset("nnUNet_raw"), "nnUNet_raw is not set; export nnUNet_raw=FOLDER"),
    ("nnUNet_raw empty", variable("nnUNet_raw", ""), "nnUNet_raw is not set; export nnUNet_raw=FOLDER"),
    ("nnUNet_raw not there", variable("nnUNet_raw", "{work}/gone"), "no Dataset007_* in ... or check nnUNet_raw"),
    ("an unknown number", nothing, "no Dataset099_* in ... make it with rada-make-sparse", {"options": {"-d": "99"}}),
    ("an unknown name", nothing, "no Dataset099_X in ... make it with", {"options": {"-d": "Dataset099_X"}}),
    ("a number that is none", nothing, "no -1 in", {"options": {"-d": None, "-d=-1": ""}}),
    ("two datasets of a number", lambda p: (p.raw / "Dataset007_Other").mkdir(), "2 datasets in ... give -d the whole"),
)
CHECKED = [
    *table(CHECK, "dataset", *NAMING[:5], NAMING[6]),
    *table(
        CHECK,
        "records",
        found("no rada folder", lambda p: shutil.rmtree(p.dataset / "rada"), "cases.json not found, but RADA needs"),
        found("cases.json cut off", of_dataset(_CASES, spoil.cut), "cases.json is not valid JSON"),
        found(
            "another schema version",
            of_dataset(_CASES, json_field("schema_version", 2)),
            "has schema_version 2, expected 1; make the dataset again",
        ),
        found("classes missing", of_dataset(_CASES, without_field("classes")), "cases.json is damaged or incomplete"),
        found("dataset.json missing", of_dataset("dataset.json", lambda f: f.unlink()), "no readable labels"),
        found(
            "dataset.json of other classes",
            of_dataset("dataset.json", json_field("labels", {"background": 0, "b": 1})),
            "dataset.json has the classes 1 (b) and ignore None, expected 1 (organ) and ignore 2",
        ),
        found("folds missing", of_dataset(_SPLITS, lambda f: f.unlink()), "splits_final.json cannot be read"),
        found(
            "folds of another dataset",
            of_dataset(_SPLITS, lambda f: put(f, '[{"train": ["x"], "val": ["y"]}]')),
            "fold 0 of rada/splits_final.json is stale",
        ),
        found(
            "a begun dataset",
            lambda p: shutil.copytree(p.dataset / "rada", p.dataset / ".incomplete") and None,
            "the dataset is not finished: the command that makes it was stopped",
        ),
        found(
            "an image that nobody knows",
            lambda p: shutil.copy(p.dataset / _IMAGE, p.dataset / "imagesTr/x_0000.nii.gz") and None,
            "x: is in imagesTr, but cases.json does not know it",
        ),
    ),
    *table(
        CHECK,
        "files",
        found("image missing", of_dataset(_IMAGE, lambda f: f.unlink()), "does not exist; expected a volume"),
        *(
            found(f"image: {fault.name}", of_dataset(_IMAGE, fault.spoil), fault.says)
            for fault in (*UNREADABLE[:2], *UNREADABLE[5:8], *UNREADABLE[9:15])
        ),
        found("image: constant", of_dataset(_IMAGE, spoil.constant), "has the same value in every voxel; replace"),
        found("image: another shape", of_dataset(_IMAGE, spoil.thin), "is not on the grid of the image"),
        (
            "image: NaN",
            of_dataset(_IMAGE, spoil.voxel(np.nan)),
            "1 voxels that are NaN or infinite, which nnU-Net reads",
            {"status": 0, "result": "a warning", "right": is_checked},
        ),
        found("label missing", of_dataset(_LABEL, lambda f: f.unlink()), "does not exist; expected a volume"),
        found("label truncated", of_dataset(_LABEL, spoil.cut), "is cut off"),
        found("label: another shape", of_dataset(_LABEL, spoil.thin), "is not on the grid of the image: size"),
        found(
            "label: another spacing",
            of_dataset(_LABEL, spoil.regrid(lambda i: i.SetSpacing((1, 2, 3)))),
            "is not on the grid of the image: spacing",
        ),
        found("label: an unknown value", of_dataset(_LABEL, spoil.voxel(9)), "holds label 9, expected 0 to 2"),
        found("label: a value of one half", of_dataset(_LABEL, spoil.voxel(0.5)), "values that are not whole numbers"),
        found("label: only background", of_dataset(_LABEL, spoil.change(np.zeros_like)), "off its annotated planes"),
        found(
            "label: nothing annotated", of_dataset(_LABEL, spoil.change(lambda a: np.full_like(a, 2))), "is cut off in"
        ),
        found(
            "label of an unlabelled scan painted",
            of_dataset(f"labelsTr/{UNLABELLED}.nii.gz", spoil.voxel(1, np.uint8)),
            "1 annotated voxels though cases.json calls the case unlabelled",
        ),
        found(
            "a propagated label missing",
            of_dataset(f"rada/propagated/{CASE}_0.nii.gz", lambda f: f.unlink()),
            "does not exist",
        ),
        found("the fused label truncated", of_dataset(f"rada/fused/{CASE}.nii.gz", spoil.cut), "is cut off"),
        found(
            "test scan the same as a training scan",
            lambda p: shutil.copy(p.dataset / _IMAGE, p.dataset / f"imagesTs/{TEST}_0000.nii.gz") and None,
            "are the same image: the test",
        ),
    ),
    *table(
        CHECK,
        "embeddings",
        (
            "missing",
            of_dataset(_PROMPTS, lambda f: f.unlink()),
            "prompts.safetensors, the embeddings of",
            {"status": 0, "result": "a warning that names the trainers that go without", "right": is_checked},
        ),
        found("cut off", of_dataset(_PROMPTS, spoil.cut), "is no whole .safetensors file"),
        found("text", of_dataset(_PROMPTS, spoil.page), "is no whole .safetensors file"),
        found(
            "of other classes",
            prompts(lambda t, m: m.update(classes='["other"]')),
            "holds embeddings of the classes other, but the dataset's are organ",
        ),
        found("of another schema version", prompts(lambda t, m: m.update(schema_version="7")), "has schema_version 7"),
        found(
            "a labelled scan missing",
            prompts(lambda t, m: [t.pop(n) for n in list(t) if OTHER in n]),
            f"holds no embedding of {OTHER}",
        ),
        found("NaN in the text", prompts(lambda t, m: t["text"].fill(np.nan)), "holds infinite or NaN numbers"),
        ("no process", nothing, "-np is 0, expected 1 or more", {"options": {"-np": "0"}}),
        (
            "disk full for -o",
            raising(28, at="rename"),
            "No space left on device: ... found.json; mend it",
            {"options": {"-o": "{raw}/found.json"}},
        ),
    ),
]


def precomputed(edit: Any, says: str) -> tuple[Any, ...]:
    """A file of embeddings that is spoilt."""

    def make(place: Place) -> None:
        path = place.inputs / "mine.safetensors"
        shutil.copy(place.dataset / _PROMPTS, path)
        edit(path)

    options = {"--encoder": "precomputed", "--precomputed-file": "{inputs}/mine.safetensors", "--encoder-seed": None}
    return (make, says, {"options": options})


def tensors(edit: Any) -> Spoiler:
    """Change a file of embeddings."""
    return lambda path: change_prompts(path, edit)


def weights(edit: Any, says: str, **more: Any) -> tuple[Any, ...]:
    """A weight file that is spoilt, given as Alpha-CLIP's."""

    def make(place: Place) -> None:
        edit(place.inputs / "weights.pt")

    options = {"--encoder": "clip", "--clip-weights": "{inputs}/weights.pt", "--encoder-seed": None}
    return (make, says, {"options": {**options, **more}})


def saved(content: Any) -> Spoiler:
    """Save something with torch."""

    def write(path: Path) -> None:
        import torch

        torch.save(content() if callable(content) else content, path)

    return write


def state(**tensors_: Any) -> Any:
    """Return a state dict."""

    def make() -> Any:
        import torch

        return {name: torch.full((2, 2), value) for name, value in tensors_.items()}

    return make


def option(name: str, says: str, **changes: Any) -> tuple[Any, ...]:
    """A row of options alone."""
    return (name, nothing, says, {"options": {"--encoder-seed": None, **changes}})


EMBEDDED = [
    *table(EMBED, "dataset", *NAMING[:5], NAMING[6]),
    *table(
        EMBED,
        "dataset's files",
        (
            "no rada folder",
            lambda p: shutil.rmtree(p.dataset / "rada"),
            "cases.json not found, but RADA needs a dataset",
        ),
        (
            "another schema version",
            of_dataset(_CASES, json_field("schema_version", 2)),
            "has schema_version 2, expected 1",
        ),
        ("cases.json cut off", of_dataset(_CASES, spoil.cut), "cases.json is not valid JSON"),
        ("image truncated", of_dataset(_IMAGE, spoil.cut), "is cut off"),
        ("label truncated", of_dataset(_LABEL, spoil.cut), "is cut off"),
        ("label empty of foreground", of_dataset(_LABEL, spoil.change(np.zeros_like)), f"no annotated slice of {CASE}"),
        ("disk full", raising(28, at="rename"), "No space left on device: ... prompts.safetensors; mend it"),
    ),
    *table(
        EMBED,
        "embeddings made elsewhere",
        ("missing", nothing, "mine.safetensors does not exist; expected ... check the path", precomputed(None, "")[2]),
        ("text", *precomputed(spoil.page, "is no whole .safetensors file")),
        ("cut off", *precomputed(spoil.cut, "is no whole .safetensors file")),
        ("a folder", *precomputed(spoil.folder, "is a folder; expected ... check the path")),
        ("no metadata", *precomputed(lambda f: save_file(load_file(f), f), "has no metadata field schema_version")),
        (
            "of other classes",
            *precomputed(tensors(lambda t, m: m.update(classes='["b"]')), "embeddings of the classes b"),
        ),
        (
            "classes that are no list",
            *precomputed(tensors(lambda t, m: m.update(classes="b")), "expected a JSON list of"),
        ),
        ("no text", *precomputed(tensors(lambda t, m: t.pop("text")), "has no tensor 'text'")),
        (
            "no image",
            *precomputed(tensors(lambda t, m: [t.pop(n) for n in list(t) if n != "text"]), "no image embedding"),
        ),
        (
            "one scan missing",
            *precomputed(
                tensors(lambda t, m: [t.pop(n) for n in list(t) if CASE in n]),
                f"has no image embedding of the labelled cases {CASE}; add image/CASE/VIEW",
            ),
        ),
        (
            "double precision",
            *precomputed(tensors(lambda t, m: t.update(text=t["text"].astype(np.float64))), "tensor 'text' is float64"),
        ),
        (
            "a row too many",
            *precomputed(tensors(lambda t, m: t.update(text=np.ones((2, 5), np.float32))), "expected float32"),
        ),
        ("NaN", *precomputed(tensors(lambda t, m: t["text"].fill(np.nan)), "holds infinite or NaN numbers")),
        ("zeros", *precomputed(tensors(lambda t, m: t["text"].fill(0)), "has a row of zeros, which says nothing")),
        (
            "a view of another name",
            *precomputed(
                tensors(lambda t, m: t.update({"image/x/front": t["text"]})), "is not image/CASE/VIEW with VIEW of"
            ),
        ),
        (
            "two lengths",
            *precomputed(
                tensors(lambda t, m: t.update({"image/x/axial": np.ones((1, 3), np.float32)})),
                "has ... columns, others have",
            ),
        ),
        (
            "another schema version",
            *precomputed(tensors(lambda t, m: m.update(schema_version="7")), "schema_version 7"),
        ),
    ),
    *table(
        EMBED,
        "weights",
        ("missing", *weights(lambda f: None, "weights.pt does not exist ... give --encoder precomputed")),
        ("a folder", *weights(lambda f: f.mkdir(), "is a folder, expected a file")),
        ("empty", *weights(lambda f: put(f, b""), "is no whole PyTorch weight file")),
        ("text", *weights(spoil.page, "is no whole PyTorch weight file")),
        ("cut off", *weights(lambda f: [saved(state(a=1.0))(f), spoil.cut(f)], "is no whole PyTorch weight file")),
        ("pickled code", *weights(saved(Path("x")), "holds pickled code, which was not run; save its state dict")),
        ("a list", *weights(saved([1, 2]), "holds no state dict of weights; save model.state_dict()")),
        ("whole numbers", *weights(saved(state(a=1)), "holds no state dict of weights")),
        ("NaN", *weights(saved(state(a=float("nan"))), "weights a are NaN or infinite; get the file again")),
        ("LoRA factors", *weights(saved(state(lora_a=1.0)), "holds LoRA factors, expected whole weights; merge them")),
        ("of another model", *weights(saved(state(a=1.0)), "holds no ViT image tower ... give CLIP weights")),
        (
            "another hash than expected",
            *weights(
                saved(state(a=1.0)), "has SHA-256 ... which is not among --expected", **{"--expected-sha256": "0" * 64}
            ),
        ),
    ),
    *table(
        EMBED,
        "options",
        option("alpha-clip without weights", "needs Alpha-CLIP's visual weights", **{"--encoder": "alpha-clip"}),
        option(
            "alpha weights for clip", "--alpha-weights has no meaning", **{"--encoder": "clip", "--alpha-weights": "a"}
        ),
        option("precomputed without file", "give --precomputed-file FILE", **{"--encoder": "precomputed"}),
        option("a file for random", "--precomputed-file has no meaning", **{"--precomputed-file": "a"}),
        option("random without seed", "needs a seed; give --encoder-seed N"),
        option("an unknown encoder", "argument --encoder: invalid choice: 'best'", **{"--encoder": "best"}),
        option("planes of other letters", "--prompt-planes is 'XYZ', expected letters", **{"--prompt-planes": "xyz"}),
        option("no plane", "--prompt-planes is '', expected letters of", **{"--prompt-planes=": ""}),
        option(
            "a window of width 0",
            "--ct-window has width 0 HU, expected more",
            **{"--encoder-seed": "0", "--ct-window": ["0", "40"]},
        ),
        option(
            "a hash that is none",
            "is no SHA-256; give 64 hexadecimal",
            **{"--encoder-seed": "0", "--expected-sha256": "abc"},
        ),
        option("a prompt without [CLS]", "[CLS]", **{"--encoder-seed": "0", "--prompt": "a scan"}),
        option("a channel that is not there", "channel", **{"--encoder-seed": "0", "--encoder-channel": "3"}),
    ),
]
DATASETS = [*CHECKED, *EMBEDDED]
