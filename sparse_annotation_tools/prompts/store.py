"""`prompts.safetensors`: the embeddings of a dataset, and how they are pooled.

Tensors, float32, with K foreground classes in the order of their label values:

- `text` [K, D_text]: E_t, one row a class; D_text is 0 where the dataset was made with `--prompt none`.
- `image/{case}/{view}` [K, D]: E_v of the case's annotated slice of that view; where a view has several slices, this is
  the one of largest area and `image/{case}/{view}.1`, `.2` ... are the others. A class that is not on the slice has a
  row of NaN.

Metadata, text: `schema_version`, `encoder`, `classes` (a JSON list of names), `prompt_planes`, `normalise` and, by
encoder, `architecture`, `clip_sha256`, `alpha_sha256`, `template`, `preprocessing`, `stamp`. A file made elsewhere
needs the first three only.

With `normalise` = `l2` (the default) rows of text and image are scaled to length 1 when they are read, and so is every
mean of them; with `raw` nothing is ever scaled, and the networks get the numbers of the file.

Shape suffixes: K classes, D image embedding, T text embedding, n prompt planes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import atomic_path
from sparse_annotation_tools.prompts.options import NORMALISATIONS, VIEW_OF_LETTER
from sparse_annotation_tools.prompts.safetensors_bytes import with_sorted_metadata
from sparse_annotation_tools.schema import VIEWS

SCHEMA_VERSION = "1"
_REMAKE = "make it again with rada-embed"
_SHORTEST_ROW, _LONGEST_ROW = 1e-12, 1e12  # beyond these float32 cannot square the numbers

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PromptStore:
    """The embeddings of one dataset.

    Attributes:
        classes: names of the K foreground classes, in the order of the rows.
        text_kt: [K, T] float32; E_t.
        images: case identifier -> slice key (`axial`, `axial.1`, ...) -> [K, D] float32, NaN rows for absent classes.
        metadata: what the file says about its origin, text to text.
    """

    classes: tuple[str, ...]
    text_kt: FloatArray
    images: Mapping[str, Mapping[str, FloatArray]]
    metadata: Mapping[str, str]

    @property
    def encoder(self) -> str:
        """Name of the encoder that made the embeddings."""
        return self.metadata["encoder"]

    @property
    def stamp(self) -> str:
        """What logs, checkpoints and reports must say about these embeddings; empty where there is nothing to say."""
        return self.metadata.get("stamp", "")

    @property
    def normalise(self) -> str:
        """`l2` or `raw`."""
        return self.metadata.get("normalise", "l2")

    @property
    def prompt_planes(self) -> tuple[str, ...]:
        """Names of the views whose embeddings make E_v, in the order they were given, repeats included."""
        return tuple(VIEW_OF_LETTER[letter] for letter in self.metadata.get("prompt_planes", "A"))

    @property
    def image_size(self) -> int:
        """D, of one slice's embedding."""
        slices = next(iter(self.images.values()))
        return int(next(iter(slices.values())).shape[1])

    def image_size_pooled(self, *, concat: bool = False) -> int:
        """Columns of what `pooled_image_embedding` and `case_image_embedding` return."""
        return self.image_size * (len(self.prompt_planes) if concat else 1)

    def pooled_image_embedding(self, cases: Sequence[str], *, concat: bool = False) -> FloatArray:
        """Return the one E_v that stands for a set of cases: the mean over those in which the class exists.

        Each case counts once, whatever the number of its slices. With `normalise` = `l2` the result has rows of
        length 1.

        Departure from the paper: it does not say which E_v unlabelled and test volumes get; they get this mean over
        the labelled training cases.

        Args:
            cases: identifiers of the cases to pool, the labelled training cases of one fold; others have no influence.
            concat: set the planes beside each other instead of averaging them.

        Returns:
            [K, D], or [K, n * D] with `concat`.

        Raises:
            UserError: a case is not in the file, or a class is on no slice of any of the cases.
        """
        if not cases:
            raise UserError("no labelled case to pool image embeddings over; label at least one case")
        blocks = []
        for views in self._blocks(concat):
            rows_nkd = np.stack([self._case_rows(case, views) for case in cases])
            blocks.append(self._scaled(_mean_of_present(rows_nkd)))
        pooled = np.concatenate(blocks, axis=1)
        missing = [name for name, row in zip(self.classes, pooled, strict=True) if np.isnan(row).any()]
        if missing:
            raise UserError(
                f"class {', '.join(missing)} is on no annotated slice of the {len(cases)} labelled cases of this fold; "
                f"annotate a slice that shows it, or merge it into another class"
            )
        return pooled

    def case_image_embedding(
        self, case: str, *, fallback: FloatArray | None = None, concat: bool = False
    ) -> FloatArray:
        """Return the E_v of one labelled case.

        A class that is on none of the prompt planes takes the mean over the case's other slices that show it. A class
        that is on no slice of the case takes its row of `fallback`.

        Args:
            case: identifier of a labelled case.
            fallback: what `pooled_image_embedding` gave for the fold, with the same `concat`.
            concat: set the planes beside each other instead of averaging them.

        Returns:
            [K, D], or [K, n * D] with `concat`.

        Raises:
            UserError: the case is not in the file, or shows not every class and there is no fallback.
        """
        rows = np.concatenate([self._case_rows(case, views) for views in self._blocks(concat)], axis=1)
        absent = np.isnan(rows).any(axis=1)
        if absent.any():
            if fallback is None:
                names = ", ".join(name for name, gone in zip(self.classes, absent, strict=True) if gone)
                raise UserError(f"class {names} is on no annotated slice of case {case}; pool over more cases instead")
            rows[absent] = fallback[absent]
        return rows

    def absences(self, cases: Iterable[str]) -> list[str]:
        """Return one line per case and class that its prompt planes do not show, for logs."""
        lines = []
        for case in cases:
            slices = self._slices(case)
            for row, name in enumerate(self.classes):
                shown = [key for key, rows in slices.items() if not np.isnan(rows[row]).any()]
                if not shown:
                    lines.append(f"{case}: {name} is on no annotated slice; left out of the mean of this class")
                elif not set(shown) & set(self.prompt_planes):
                    lines.append(f"{case}: {name} is not on a prompt plane; embedded from {', '.join(shown)}")
        return lines

    def normalised(self) -> PromptStore:
        """Return the same embeddings, each scaled to length 1."""
        images = {
            case: {key: l2_normalised(rows) for key, rows in slices.items()} for case, slices in self.images.items()
        }
        return replace(self, text_kt=l2_normalised(self.text_kt), images=images)

    def save(self, path: Path) -> None:
        """Write the file atomically, the same bytes for the same content."""
        tensors = {"text": np.ascontiguousarray(self.text_kt, dtype=np.float32)}
        for case, slices in self.images.items():
            for key, rows in slices.items():
                tensors[f"image/{case}/{key}"] = np.ascontiguousarray(rows, dtype=np.float32)
        metadata = {**self.metadata, "schema_version": SCHEMA_VERSION, "classes": json.dumps(list(self.classes))}
        with atomic_path(path) as temporary:
            temporary.write_bytes(with_sorted_metadata(save(tensors, metadata=metadata)))

    @classmethod
    def load(cls, path: Path, *, classes: Sequence[str] | None = None) -> PromptStore:
        """Read and check a file of embeddings.

        Args:
            path: a `prompts.safetensors`.
            classes: names of the foreground classes in label order; where given, the file's must be the same.

        Raises:
            UserError: the file is missing, damaged or incomplete, or is of other classes.
        """
        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except FileNotFoundError:
            raise UserError(
                f"{path} not found: this dataset has no embeddings; make them with rada-embed -d DATASET_ID "
                f"--encoder alpha-clip-tiny, or train a method without prompts"
            ) from None
        except (SafetensorError, OSError, TypeError) as error:
            raise UserError(f"{path} is no whole .safetensors file ({error}); {_REMAKE}") from None
        return _checked(path, tensors, metadata, classes)

    def _blocks(self, concat: bool) -> list[tuple[str, ...]]:
        """Groups of views that are averaged into one block of columns each."""
        distinct = tuple(dict.fromkeys(self.prompt_planes))  # averaging: AA == A
        return [(view,) for view in self.prompt_planes] if concat else [distinct]

    def _slices(self, case: str) -> Mapping[str, FloatArray]:
        if case not in self.images:
            raise UserError(f"the embeddings hold no case {case}; {_REMAKE}")
        return self.images[case]

    def _case_rows(self, case: str, views: tuple[str, ...]) -> FloatArray:
        """[K, D]: the mean of the given views; of the case's other slices for a class that they lack, else NaN."""
        slices = self._slices(case)
        everywhere = _mean_of_present(np.stack(list(slices.values())))
        named = [slices[view] for view in views if view in slices]
        rows = _mean_of_present(np.stack(named)) if named else everywhere
        return self._scaled(np.where(np.isnan(rows), everywhere, rows))

    def _scaled(self, rows_kd: FloatArray) -> FloatArray:
        if self.normalise == "raw":
            return rows_kd
        return l2_normalised(rows_kd)


def l2_normalised(rows_kd: FloatArray) -> FloatArray:
    """Scale each row to length 1; rows of NaN stay NaN, and rows of zeros or of length 1 do not change a bit."""
    length = np.linalg.norm(rows_kd, axis=1, keepdims=True)
    scaled: FloatArray = rows_kd / np.where((length == 0) | (np.abs(length - 1) < 1e-6), 1, length)
    return scaled.astype(np.float32)


def _mean_of_present(rows_nkd: FloatArray) -> FloatArray:
    """Mean over the first axis per class, leaving out NaN rows; NaN where there is none."""
    present = ~np.isnan(rows_nkd).any(axis=2, keepdims=True)
    count = present.sum(axis=0)
    total = np.where(present, rows_nkd, 0).sum(axis=0, dtype=np.float64)
    mean_kd: NDArray[np.float64] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return mean_kd.astype(np.float32)


def _checked(
    path: Path, tensors: Mapping[str, FloatArray], metadata: Mapping[str, str], classes: Sequence[str] | None
) -> PromptStore:
    for field in ("schema_version", "encoder", "classes"):
        if field not in metadata:
            raise UserError(f"{path} has no metadata field {field}; {_REMAKE}")
    if metadata["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path} has schema_version {metadata['schema_version']}, expected {SCHEMA_VERSION}; {_REMAKE}")
    _check_field(path, "normalise", metadata.get("normalise", "l2") in NORMALISATIONS, "l2 or raw")
    planes = metadata.get("prompt_planes", "A")
    _check_field(path, "prompt_planes", bool(planes) and set(planes) <= set(VIEW_OF_LETTER), "letters of A, C, S")
    names = _class_names(path, metadata["classes"])
    if classes is not None and list(names) != list(classes):
        raise UserError(
            f"{path} holds embeddings of the classes {', '.join(names)}, but the dataset's are {', '.join(classes)}; "
            f"{_REMAKE}"
        )
    if "text" not in tensors:
        raise UserError(f"{path} has no tensor 'text'; {_REMAKE}")
    images: dict[str, dict[str, FloatArray]] = {}
    size = None
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 or tensor.ndim != 2 or tensor.shape[0] != len(names):
            raise UserError(
                f"{path}: tensor {name!r} is {tensor.dtype} {list(tensor.shape)}, expected float32 with one row for "
                f"each of the {len(names)} classes; {_REMAKE}"
            )
        if name == "text":
            continue
        case, key = _slice_name(path, name)
        size = tensor.shape[1] if size is None else size
        if tensor.shape[1] != size or size == 0:
            raise UserError(f"{path}: tensor {name!r} has {tensor.shape[1]} columns, others have {size}; {_REMAKE}")
        images.setdefault(case, {})[key] = tensor
    if not images:
        raise UserError(f"{path} holds no image embedding; {_REMAKE}")
    _check_values(path, tensors)
    store = PromptStore(classes=names, text_kt=tensors["text"], images=images, metadata=metadata)
    return store if store.normalise == "raw" else store.normalised()


def _check_values(path: Path, tensors: Mapping[str, FloatArray]) -> None:
    """Rows of image embeddings are finite or wholly NaN (an absent class); text rows are finite; each has a length."""
    for name, tensor in tensors.items():
        finite = np.isfinite(tensor)
        absent = np.isnan(tensor).all(axis=1, keepdims=True) & (name != "text")
        if not (finite | absent).all():
            raise UserError(f"{path}: tensor {name!r} holds infinite or NaN numbers; {_REMAKE}")
        if tensor.shape[1] and not tensor.any(axis=1).all():
            raise UserError(f"{path}: tensor {name!r} has a row of zeros, which says nothing of its class; {_REMAKE}")
        lengths = np.linalg.norm(tensor.astype(np.float64), axis=1)
        odd = lengths[(lengths > _LONGEST_ROW) | (lengths < _SHORTEST_ROW)]  # NaN of an absent class is neither
        if tensor.shape[1] and odd.size:
            raise UserError(
                f"{path}: tensor {name!r} has a row of length {odd[0]:g}, expected {_SHORTEST_ROW:g} to "
                f"{_LONGEST_ROW:g}; {_REMAKE}"
            )


def _check_field(path: Path, field: str, ok: bool, expected: str) -> None:
    if not ok:
        raise UserError(f"{path}: metadata field {field} is not {expected}; {_REMAKE}")


def _class_names(path: Path, text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: metadata field classes is {text!r}, expected a JSON list of class names; {_REMAKE}")
    return tuple(names)


def _slice_name(path: Path, name: str) -> tuple[str, str]:
    """Split `image/{case}/{view}` or `image/{case}/{view}.{j}`."""
    parts = name.split("/")
    view, _, position = parts[-1].partition(".")
    if len(parts) != 3 or parts[0] != "image" or view not in VIEWS or (position and not position.isdigit()):
        raise UserError(f"{path}: tensor name {name!r} is not image/CASE/VIEW with VIEW of {', '.join(VIEWS)}")
    return parts[1], parts[2]
