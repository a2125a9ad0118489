"""The `rada/` folder of a raw dataset: what lies in it, and the records of `cases.json`.

Both packages read the folder through this module. Array axes are those of the array that nnU-Net's reader returns for
the raw image, (z, y, x) for NIfTI.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.schema_check import check_cases_file

SCHEMA_VERSION = 1
VIEWS = ("sagittal", "coronal", "axial")
IGNORE = "ignore"


@dataclass(frozen=True, kw_only=True)
class RadaFolder:
    """Paths inside a `rada/` folder."""

    root: Path

    @property
    def cases_file(self) -> Path:
        """`cases.json`."""
        return self.root / "cases.json"

    @property
    def splits_file(self) -> Path:
        """`splits_final.json`: folds over the labelled cases."""
        return self.root / "splits_final.json"

    @property
    def prompts_file(self) -> Path:
        """`prompts.safetensors`: the frozen encoders' embeddings."""
        return self.root / "prompts.safetensors"

    def propagated(self, case: str, k: int) -> Path:
        """uint8 volume: the label propagated from annotated slice `k` of `case`."""
        return self.root / "propagated" / f"{case}_{k}.nii.gz"

    def fused(self, case: str) -> Path:
        """uint8 volume: one label from all annotated slices of `case`."""
        return self.root / "fused" / f"{case}.nii.gz"

    def confidence(self, case: str) -> Path:
        """uint8 volume: confidence of the fused label, 0 to 255."""
        return self.root / "confidence" / f"{case}.nii.gz"


@dataclass(frozen=True, kw_only=True)
class AnnotatedSlice:
    """One annotated plane of one case.

    `axis` and `index` address the raw array; `classes` are the foreground values drawn on the plane, `area` the number
    of its foreground pixels.
    """

    view: str
    axis: int
    index: int
    area: int
    classes: tuple[int, ...] = ()

    @property
    def plane(self) -> tuple[int, int]:
        """(axis, index) on the raw array."""
        return self.axis, self.index


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan: labelled or not, its annotated slices, and which network learns from which of them.

    `networks` maps a network's name to positions in `slices`; `shape` is the raw array shape; `sagittal_axis` its
    left-right array axis; `sha256` maps each input file's role to its hash.
    """

    labelled: bool
    shape: tuple[int, int, int]
    sagittal_axis: int
    slices: tuple[AnnotatedSlice, ...] = ()
    networks: dict[str, tuple[int, ...]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def planes(self) -> list[tuple[int, int]]:
        """(axis, index) of each slice."""
        return [annotated.plane for annotated in self.slices]


@dataclass(frozen=True, kw_only=True)
class CasesFile:
    """The content of `cases.json`.

    `test` holds, per test case, the hashes of its files by role; test cases have no annotated slices. `merge` holds the
    values that the label files had for each class, where they were merged.
    """

    dataset: str
    modality: str
    classes: dict[str, int]
    strategy: str
    seed: int
    propagation: dict[str, Any]
    cases: dict[str, Case]
    versions: dict[str, str]
    command: str
    test: dict[str, dict[str, str]] = field(default_factory=dict)
    merge: dict[str, list[int]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def labelled(self) -> list[str]:
        """Identifiers of the labelled cases, sorted."""
        return sorted(name for name, case in self.cases.items() if case.labelled)

    @property
    def unlabelled(self) -> list[str]:
        """Identifiers of the unlabelled cases, sorted."""
        return sorted(name for name, case in self.cases.items() if not case.labelled)

    def save(self, folder: RadaFolder) -> None:
        """Write `cases.json` atomically."""
        write_json(folder.cases_file, asdict(self))

    @classmethod
    def load(cls, folder: RadaFolder) -> CasesFile:
        """Read `cases.json`.

        Raises:
            UserError: the file is missing, is not JSON, lacks a field, says what cannot be or has another schema
                version.
        """
        path = folder.cases_file
        remake = "make the dataset again with rada-make-sparse-dataset"
        try:
            content = load_json(path)
        except FileNotFoundError:
            raise UserError(f"{path} not found, but RADA needs a dataset with a rada/ folder; {remake}") from None
        except (ValueError, OSError) as error:
            raise UserError(f"{path} is not valid JSON ({error}); {remake}") from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(f"{path} has schema_version {version}, expected {SCHEMA_VERSION}; {remake}")
        try:
            cases = {name: _case_from_json(case) for name, case in content.pop("cases").items()}
            loaded = cls(cases=cases, **content)
            check_cases_file(loaded, VIEWS)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{path} is damaged or incomplete ({error}); {remake}") from None
        return loaded


def _case_from_json(content: dict[str, Any]) -> Case:
    slices = tuple(
        AnnotatedSlice(**{**annotated, "classes": tuple(_list(annotated["classes"]))})
        for annotated in _list(content["slices"])
    )
    networks = {name: tuple(_list(indices)) for name, indices in content["networks"].items()}
    z, y, x = _list(content["shape"])
    return Case(**{**content, "slices": slices, "networks": networks, "shape": (z, y, x)})


def _list(value: Any) -> list[Any]:
    """A text or an object would pass for a list of its letters or names."""
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:60]!r} is no list")
    return value
