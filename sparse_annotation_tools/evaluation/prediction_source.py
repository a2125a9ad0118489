"""What networks made a folder of predictions: nnU-Net leaves their plans.json beside them."""

from __future__ import annotations

from pathlib import Path

from sparse_annotation_tools.files.json_files import load_json


def embeddings_behind(predictions: Path) -> str | None:
    """Return the encoder whose embeddings guided the networks, or its stamp where it has one.

    Embeddings that carry no semantics are marked as such wherever their results are shown.

    Args:
        predictions: folder that nnUNetv2_predict wrote.

    Returns:
        For example `alpha-clip-tiny`, or `encoder=random: carries no semantics`. None where the folder says nothing of
        it: predictions of other tools, or of other trainers.
    """
    try:
        plans = load_json(predictions / "plans.json")
        sections = [configuration.get("rada", {}) for configuration in plans["configurations"].values()]
        encoders = [str(section["encoder"]) for section in sections if "encoder" in section]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return None
    return ", ".join(dict.fromkeys(encoders)) or None
