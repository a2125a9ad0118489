"""What RADA writes into plans.json: patch, batch, and the `rada` section that rebuilds the network in prediction."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunetv2_rada.config import Config
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import CasesFile

PATCH_MULTIPLE = 16  # the V-Net halves its input four times


@dataclass(frozen=True, kw_only=True)
class PlanSection:
    """The `rada` section of a configuration in plans.json.

    Attributes:
        config: settings of the run.
        text_dim: columns of E_t, 0 without a text prompt.
        image_dim: columns of E_v, 0 without an image prompt.
        encoder: what made the embeddings, with its honesty stamp where it has one; for logs and reports.
    """

    config: Config
    text_dim: int
    image_dim: int
    encoder: str

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {**asdict(self), "config": self.config.to_json()}

    @classmethod
    def of_run(cls, config: Config, prompts: PromptStore | None) -> PlanSection:
        """Return the section of a run that starts with these settings and embeddings."""
        if prompts is None:
            return cls(config=config, text_dim=0, image_dim=0, encoder="none")
        return cls(
            config=config,
            text_dim=prompts.text_kt.shape[1] if config.text_prompt else 0,
            image_dim=prompts.image_size_pooled(concat=config.concat_planes) if config.image_prompt else 0,
            encoder=prompts.stamp or prompts.encoder,
        )

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PlanSection:
        """Read a section that was stored in plans.json."""
        return cls(**{**content, "config": Config.from_json(content["config"], source="plans.json")})

    @classmethod
    def of_model(cls, configuration: dict[str, Any]) -> PlanSection:
        """Return the section of a trained model's configuration.

        Raises:
            UserError: there is none, or none of ours.
        """
        try:
            return cls.from_json(configuration["rada"])
        except (KeyError, TypeError) as error:
            raise UserError(
                f"the model's plans.json has no readable rada section ({error!r}), from which its networks are built; "
                "put back the plans.json that the training wrote beside the fold folders, or train again"
            ) from None


def training_patch(planned: Sequence[int], max_voxels: int, multiples: Sequence[int] | None = None) -> list[int]:
    """Scale nnU-Net's planned patch to at most `max_voxels`, by one factor, then round each side to a multiple.

    Ties round up and no side is below its multiple, so the result may hold somewhat more than `max_voxels`.

    Args:
        planned: the patch of the plans.
        max_voxels: upper bound.
        multiples: per axis, what the backbone's strides multiply to; None for the V-Net, 16.
    """
    multiples = multiples or [PATCH_MULTIPLE] * len(planned)
    scale = min(1.0, (max_voxels / math.prod(planned)) ** (1 / len(planned)))
    return [
        max(1, math.floor(side * scale / multiple + 0.5)) * multiple
        for side, multiple in zip(planned, multiples, strict=True)
    ]


def stored_section(model_folder: Path, configuration: str) -> PlanSection | None:
    """Return the section that earlier trainings of this model folder used, or None before its first checkpoint."""
    if not any(model_folder.glob("fold_*/checkpoint_*.pth")):
        return None
    try:
        plans = load_json(model_folder / "plans.json")
        return PlanSection.from_json(plans["configurations"][configuration]["rada"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{model_folder} holds checkpoints, but its plans.json has no readable rada section ({error}); "
            "move the folder away or set another nnUNet_results"
        ) from None


def differences(stored: Config, wanted: Config) -> list[str]:
    """Return one phrase for each setting in which two configs differ."""
    before, now = stored.to_json(), wanted.to_json()
    return [f"{name} {before[name]!r} there, {now[name]!r} now" for name in before if before[name] != now[name]]


def embeddings_differ(stored: PlanSection, now: PlanSection) -> str:
    """Return in words how the embeddings of an earlier training differ from the dataset's now; empty if they agree."""

    def described(section: PlanSection) -> str:
        return f"{section.encoder} ({section.text_dim} numbers of text, {section.image_dim} of image)"

    before, after = described(stored), described(now)
    return "" if before == after else f"{before} there, {after} now"


# Words in class names that a mirror across planes of a view would make untrue.
_DIRECTIONS = {
    "sagittal": "left|right",
    "coronal": "anterior|posterior|ventral|dorsal",
    "axial": "superior|inferior|upper|lower|cranial|caudal",
}


def mirror_axes(config: Config, cases: CasesFile, transpose_forward: Sequence[int]) -> tuple[int, ...]:
    """Return the preprocessed axes to mirror along, in training and in prediction.

    With `auto`, there is no mirroring along an axis whose direction a class name says: a mirrored left organ is a right
    one, and a mirrored anterior part lies where the posterior one does. From three slices a scan, networks do not learn
    to tell such classes by their shape alone (docs/results.md).
    """
    if config.mirror_axes != "auto":
        return tuple(int(axis) for axis in config.mirror_axes)
    names = " ".join(cases.classes).lower()
    named = [view for view, words in _DIRECTIONS.items() if re.search(rf"(?<![a-z])({words})(?![a-z])", names)]
    fixed = {transpose_forward.index(axis) for view in named for axis in _axes_across(view, cases)}
    return tuple(axis for axis in range(3) if axis not in fixed)


def _axes_across(view: str, cases: CasesFile) -> set[int]:
    """Return the raw axes across planes of a view; where no slice tells, both that may be."""
    sagittal = {case.sagittal_axis for case in cases.cases.values()}
    if view == "sagittal":
        return sagittal
    told = {annotated.axis for case in cases.cases.values() for annotated in case.slices if annotated.view == view}
    return told if told and len(sagittal) == 1 else {0, 1, 2} - (sagittal if len(sagittal) == 1 else set())
