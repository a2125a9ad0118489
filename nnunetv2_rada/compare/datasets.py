"""Make the versions of the dataset, each in nnU-Net folders of its own; the user's folders are only read.

A variant that differs in its embeddings alone links to the scans and preprocessed data of the one with the same slices.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.external import External
from nnunetv2_rada.compare.folder import ComparisonFolder, locked
from nnunetv2_rada.compare.given import GivenDataset, words
from nnunetv2_rada.compare.variants import DatasetVariant, dataset_options, embedding_changes
from nnunetv2_rada.stages import Stage, run_stages
from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.schema import CasesFile, RadaFolder

FINGERPRINT = "dataset_fingerprint.json"


@dataclass(frozen=True, kw_only=True)
class VariantFolder:
    """Where a variant lies."""

    root: Path
    raw: Path
    dataset: str

    @property
    def preprocessed(self) -> Path:
        """Its nnUNet_preprocessed."""
        return self.root / "preprocessed"

    def environment(self, results: Path) -> dict[str, str]:
        """Return the variables that nnU-Net's commands need."""
        folders = {"raw": self.raw, "preprocessed": self.preprocessed, "results": results}
        return {f"nnUNet_{name}": str(path) for name, path in folders.items()}


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """Makes variants of a dataset when they are wanted.

    Attributes:
        folder: the comparison.
        given: the user's dataset.
        configuration: of nnU-Net's plans.
        external: runs commands.
    """

    folder: ComparisonFolder
    given: GivenDataset
    configuration: str
    external: External

    def place(self, variant: DatasetVariant) -> VariantFolder:
        """Return where a variant lies; the dataset as it was given stays in the user's own nnUNet_raw."""
        root = self.folder.datasets / variant.name
        raw = self.given.folder.parent if variant == DatasetVariant() else root / "raw"
        return VariantFolder(root=root, raw=raw, dataset=self.given.folder.name)

    def make(self, variant: DatasetVariant) -> VariantFolder:
        """Make a variant and preprocess it, where that has not been done.

        Raises:
            UserError: a command failed, or the scans have changed since the dataset was made.
        """
        place = self.place(variant)
        records = place.root / "stages"
        stages = self._stages(variant, place)
        with locked(place.root, wait=True):
            if not all((records / f"{stage.name}.json").exists() for stage in stages):
                if variant.parent is not None:
                    self.make(variant.parent)
                self.external.console.line(f"dataset {variant.name}")
                run_stages(stages, records, self.external.console)
        return place

    def _stages(self, variant: DatasetVariant, place: VariantFolder) -> list[Stage]:
        preprocess = Stage(
            name="preprocess",
            title="plan and preprocess: nnUNetv2_plan_and_preprocess",
            run=lambda: self._preprocess(variant, place),
        )
        if variant == DatasetVariant():
            return [preprocess]
        if variant.labelled_only:
            take = Stage(name="make", title="take the labelled scans alone", run=lambda: self._labelled(variant, place))
            return [take, preprocess]
        if variant.is_encoded_anew:
            link = Stage(name="make", title="link to the same scans", run=lambda: self._link(variant, place))
            embed = Stage(
                name="embed", title="encode the slices anew: rada-embed", run=lambda: self._embed(variant, place)
            )
            return [link, embed]
        make = Stage(
            name="make",
            title=f"cut slices {variant.slices} out of the dense labels: rada-make-sparse-dataset",
            run=lambda: self._cut(variant, place),
        )
        return [make, preprocess]

    def _run(self, name: str, place: VariantFolder, *command: str) -> None:
        """Run a command with the variant's folders; what trains later must not be found by it."""
        results = place.root / "no_results"
        for folder in (place.raw, place.preprocessed, results):
            folder.mkdir(parents=True, exist_ok=True)
        environment = place.environment(results)
        self.external.run(command, log=place.root / "logs" / f"{name}.log", run=place.root, environment=environment)

    def _preprocess(self, variant: DatasetVariant, place: VariantFolder) -> None:
        if self.given.cases.modality == "CT" and variant.slices is None:
            self._put_fingerprint(variant, place)
        processes = str(_processes())
        self._run(
            "preprocess",
            place,
            *("nnUNetv2_plan_and_preprocess", "-d", place.dataset.split("_")[0][7:], "-c", self.configuration),
            *("-np", processes, "-npfp", processes, "--verify_dataset_integrity"),
        )

    def _put_fingerprint(self, variant: DatasetVariant, place: VariantFolder) -> None:
        """Copy what CT is normalised by: intensities of annotated voxels, as rada-make-sparse-dataset wrote them."""
        user = os.environ.get("nnUNet_preprocessed")  # noqa: SIM112 (nnU-Net's own spelling)
        source = Path(user or "nnUNet_preprocessed") / place.dataset / FINGERPRINT
        if not source.is_file():
            raise UserError(
                f"{source} not found, but CT is normalised by it; set nnUNet_preprocessed as it was when "
                f"{place.dataset} was made, or type: {self.given.cases.command}"
            )
        content = json.loads(source.read_text(encoding="utf-8"))
        if variant.labelled_only:
            cases = sorted(self.given.cases.cases)
            keep = [position for position, case in enumerate(cases) if self.given.cases.cases[case].labelled]
            for name in ("spacings", "shapes_after_crop"):
                content[name] = [content[name][position] for position in keep]
        write_json(place.preprocessed / place.dataset / FINGERPRINT, content)

    def _cut(self, variant: DatasetVariant, place: VariantFolder) -> None:
        from sparse_annotation_tools.cli.make_sparse_dataset import parser

        options = words(parser(), dataset_options(self.given, variant))
        self._run("make", place, "rada-make-sparse-dataset", *options)
        made = CasesFile.load(RadaFolder(root=place.raw / place.dataset / "rada"))
        check_same_scans(self.given.cases, made)

    def _labelled(self, variant: DatasetVariant, place: VariantFolder) -> None:
        """Link the labelled scans; stock nnU-Net can learn nothing from the others."""
        source, target = self.place(DatasetVariant(slices=variant.slices)), place.raw / place.dataset
        original = source.raw / source.dataset
        shutil.rmtree(target, ignore_errors=True)
        kept = 0
        for name in ("imagesTr", "labelsTr"):
            (target / name).mkdir(parents=True)
            for file in sorted((original / name).iterdir()):
                case = file.name.split(".")[0] if name == "labelsTr" else file.name.rpartition("_")[0]
                if case in self.given.cases.cases and self.given.cases.cases[case].labelled:
                    (target / name / file.name).symlink_to(file.resolve())
                    kept += name == "labelsTr"
        description = json.loads((original / "dataset.json").read_text(encoding="utf-8"))
        write_json(target / "dataset.json", {**description, "numTraining": kept})

    def _link(self, variant: DatasetVariant, place: VariantFolder) -> None:
        """Link to scans, labels and preprocessed data; copy the small records, and leave the embeddings out."""
        assert variant.parent is not None
        source = self.place(variant.parent)
        shutil.rmtree(place.raw, ignore_errors=True)
        shutil.rmtree(place.preprocessed, ignore_errors=True)
        raw = place.raw / place.dataset
        _link_all(source.raw / source.dataset, raw, leave_out={"rada"})
        _link_files(source.raw / source.dataset / "rada", raw / "rada", leave_out={"prompts.safetensors"})
        preprocessed = place.preprocessed / place.dataset
        _link_all(source.preprocessed / source.dataset, preprocessed, leave_out={"rada", "splits_final.json"})

    def _embed(self, variant: DatasetVariant, place: VariantFolder) -> None:
        from sparse_annotation_tools.cli.embed import parser

        options = {"dataset": place.dataset, **embedding_changes(self.given, variant)}
        self._run("embed", place, "rada-embed", *words(parser(), self.given.embedding, **options))


def _processes() -> int:
    """Return nnU-Net's number of processes, but no more than there are cores: each loads all of torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(os.environ.get("nnUNet_def_n_proc", 8)), cores)  # noqa: SIM112 (nnU-Net's own spelling)


def _link_all(source: Path, target: Path, *, leave_out: set[str]) -> None:
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name not in leave_out and not path.name.startswith("."):
            (target / path.name).symlink_to(path.resolve(), target_is_directory=path.is_dir())


def _link_files(source: Path, target: Path, *, leave_out: set[str]) -> None:
    """Link each file below a folder: training looks for them in folders that are no links."""
    for path in source.rglob("*"):
        if path.is_file() and path.name not in leave_out and not path.name.startswith("."):
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


def check_same_scans(given: CasesFile, made: CasesFile) -> None:
    """Refuse scans that are not those of the given dataset.

    Raises:
        UserError: a scan is missing, new or changed.
    """

    def scans(content: CasesFile) -> dict[str, Any]:
        images = {name: case.sha256 for name, case in content.cases.items()}
        pixels = {
            name: [digest for role, digest in hashes.items() if role.startswith("image")]
            for name, hashes in {**images, **content.test}.items()
        }
        return {name: (hashes, name in content.labelled, name in content.test) for name, hashes in pixels.items()}

    before, now = scans(given), scans(made)
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        raise UserError(
            f"the scans have changed since {given.dataset} was made: {some(changed)}; make the dataset again, and give "
            "another -o"
        )
