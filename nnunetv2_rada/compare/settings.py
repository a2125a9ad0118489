"""Settings of a comparison: what all runs share, and what a row's trainer sets by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_rada.compare.rows import Row
from nnunetv2_rada.compare.speed import epoch_length
from nnunetv2_rada.config import Config
from sparse_annotation_tools.errors import UserError


def common_settings(file: Path | None, iterations: int | None) -> dict[str, Any]:
    """Return the settings of all runs; epochs are of `epoch_length` where the file does not say.

    Args:
        file: JSON file of settings.
        iterations: number of iterations, in place of the file's.

    Raises:
        UserError: the file is unfit, or names what a comparison sets by itself.
    """
    settings = _read(file) if file is not None else {}
    if "seed" in settings:
        raise UserError(f"{file} sets seed, but the seeds of a comparison are 0, 1, ...; leave it out, see --seeds")
    if iterations is not None:
        settings["num_iterations"] = iterations
    settings.setdefault("num_iterations", Config().num_iterations)
    total = settings["num_iterations"]
    if "iterations_per_epoch" not in settings and isinstance(total, int) and total >= 1:  # others are refused below
        length = epoch_length(total)
        if length < min(150, total // 10) // 4:
            raise UserError(
                f"{total} iterations cannot be divided into epochs of a fitting length; give --iterations "
                f"{round(total, -1)}, or iterations_per_epoch in --settings"
            )
        settings["iterations_per_epoch"] = length
    Config().overridden(settings, source="the settings")
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--settings {file} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"--settings {file} holds {type(content).__name__}, expected a JSON object of settings")
    return content


def check_settings(settings: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Refuse settings that would undo what a row is.

    Raises:
        UserError: a setting is one that a row's trainer sets by itself.
    """
    from nnunetv2_rada.variants import TRAINERS

    for row in rows:
        own = getattr(TRAINERS[row.trainer_class], "settings", {})
        both = sorted(set(own) & set(settings))
        if both:
            raise UserError(
                f"--settings sets {', '.join(both)}, which is what makes {row.name} ({row.trainer_class}) differ "
                "from other rows; leave it out, or that row (--methods)"
            )


def trainers_with_prompts() -> frozenset[str]:
    """Return the trainers that cannot train without embeddings."""
    from nnunetv2_rada.trainer import nnUNetTrainerRADA
    from nnunetv2_rada.variants import TRAINERS

    result = set()
    for name, trainer in TRAINERS.items():
        if issubclass(trainer, nnUNetTrainerRADA):
            config = Config.from_json(trainer.settings)
            if config.text_prompt or config.image_prompt:
                result.add(name)
    return frozenset(result)
