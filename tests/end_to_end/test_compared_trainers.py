"""The compared methods through the stock commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from end_to_end.workspace import DATASET, Workspace, checkpoint

pytestmark = pytest.mark.end_to_end


@pytest.mark.parametrize(
    ("trainer", "kept"), [("nnUNetTrainerUAMT", {"teacher"}), ("nnUNetTrainerSupervised_Fused", set())]
)
def test_trainers_without_prompts_train_load_and_predict_without_embeddings(
    workspace: Workspace, trainer: str, kept: set[str], tmp_path: Path
) -> None:
    """No prompts.safetensors is read, and `--c` finds what a method keeps beside its network."""
    prompts = workspace.root / "raw" / DATASET / "rada" / "prompts.safetensors"
    copies = [prompts, workspace.root / "preprocessed" / DATASET / "rada" / "prompts.safetensors"]
    hidden = [path.rename(path.with_suffix(".hidden")) for path in copies if path.exists()]
    try:
        workspace.train(trainer=trainer)
        workspace.train("--c", trainer=trainer)
    finally:
        for path in hidden:
            path.rename(path.with_suffix(".safetensors"))
    model = Path(DATASET) / f"{trainer}__nnUNetPlans__3d_fullres"
    state = checkpoint(workspace.results, model)["method_state"]
    assert set(state) == kept
    workspace.predict(tmp_path, "-c", "3d_fullres", "-f", "0", "-tr", trainer, "--disable_tta")
    assert len(list(tmp_path.glob("*.nii.gz"))) == 2
