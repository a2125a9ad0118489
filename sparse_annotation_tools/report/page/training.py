"""What a training left in its results folder that a page can show: settings, embeddings, curves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Curves = dict[str, list[float | None]]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One model folder of nnU-Net.

    Attributes:
        trainer: name of the trainer class.
        encoder: what made the embeddings, with its stamp; None where the trainer uses none or does not say.
        config: the effective settings; empty for trainers of others.
        folds: per fold (`all`, `0`, ...) the curves by name, one value per epoch, None where there is none.
    """

    trainer: str
    encoder: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    folds: dict[str, Curves] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the page reads."""
        return {"trainer": self.trainer, "encoder": self.encoder, "config": self.config, "folds": self.folds}


def read_training(folder: Path, configuration: str) -> Training | None:
    """Read a model folder (`{trainer}__{plans}__{configuration}`); None where it does not exist.

    Whatever is missing in it or cannot be read is left out: a report must not fail on a training that has just begun.
    """
    if not folder.is_dir():
        return None
    section = _section(folder / "plans.json", configuration)
    encoder, config = section.get("encoder"), section.get("config")
    folds = {}
    for path in sorted(folder.glob("fold_*/curves.json")):
        curves = _curves(path)
        if curves:
            folds[path.parent.name.removeprefix("fold_")] = curves
    return Training(
        trainer=folder.name.split("__")[0],
        encoder=encoder if isinstance(encoder, str) else None,
        config=config if isinstance(config, dict) else {},
        folds=folds,
    )


def _section(path: Path, configuration: str) -> dict[str, Any]:
    content = _json(path)
    try:
        section = content["configurations"][configuration]["rada"]
    except (KeyError, TypeError):
        return {}
    return section if isinstance(section, dict) else {}


def _curves(path: Path) -> Curves:
    """The curves that have a value."""
    content = _json(path)
    if not isinstance(content, dict):
        return {}
    return {
        name: [value if isinstance(value, int | float) else None for value in values]
        for name, values in content.items()
        if isinstance(values, list) and any(isinstance(value, int | float) for value in values)
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
