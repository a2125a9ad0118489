"""Trainings that stock nnU-Net offers with a trainer: given weights, all cases, other configurations and backbones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from end_to_end.workspace import CONFIG, DATASET, MODEL, Workspace, checkpoint

pytestmark = pytest.mark.end_to_end

SHORT = {**CONFIG, "num_iterations": 1, "iterations_per_epoch": 1, "mirror_axes": []}


@pytest.fixture(scope="module")
def short(workspace: Workspace) -> dict[str, str]:
    """Variables of a training that is as short as can be, in a results folder of its own."""
    (workspace.root / "short.json").write_text(json.dumps(SHORT))
    (workspace.root / "short").mkdir()
    return {"RADA_CONFIG": str(workspace.root / "short.json"), "nnUNet_results": str(workspace.root / "short")}


def test_pretrained_weights_bring_their_filters_but_not_their_embeddings(
    workspace: Workspace, trained: str, short: dict[str, str]
) -> None:
    """-pretrained_weights with -f all: no step away from the given weights, E_v pooled over the new fold."""
    given = workspace.results / MODEL / "fold_0" / "checkpoint_final.pth"
    still = workspace.root / "still.json"
    still.write_text(json.dumps({**SHORT, "learning_rate": 0.0}))
    workspace.train("-pretrained_weights", str(given), fold="all", **{**short, "RADA_CONFIG": str(still)})
    before = torch.load(given, weights_only=False)["network_weights"]
    after = checkpoint(workspace.root / "short", fold="all")["network_weights"]
    for name in ("axial.backbone.encoder.0.0.conv.weight", "axial.output.bias"):
        assert torch.equal(before[name], after[name])
    embedding = next(name for name in before if name.endswith("prompts.image"))
    assert not torch.equal(before[embedding], after[embedding])  # fold all pools two scans, fold 0 one
    validated = (workspace.root / "short" / MODEL / "fold_all" / "validation").glob("*.nii.gz")
    labelled = json.loads((workspace.root / "raw" / DATASET / "rada" / "cases.json").read_text())["cases"]
    assert {path.name.removesuffix(".nii.gz") for path in validated} == {
        case for case, entry in labelled.items() if entry["labelled"]
    }


def test_a_low_resolution_configuration_trains_for_a_cascade(workspace: Workspace, short: dict[str, str]) -> None:
    """3d_lowres, with a next stage in the plans, trains and hands its predictions to that stage."""
    plans_file = workspace.root / "preprocessed" / DATASET / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    full = plans["configurations"]["3d_fullres"]
    plans["configurations"]["3d_lowres"] = {
        **full, "data_identifier": "nnUNetPlans_3d_lowres", "spacing": [1.25 * side for side in full["spacing"]],
        "next_stage": "3d_cascade_fullres",
    }  # fmt: skip
    plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    plans_file.write_text(json.dumps(plans))
    workspace.run("nnUNetv2_preprocess", "-d", "901", "-c", "3d_lowres", "-np", "1")
    workspace.train(configuration="3d_lowres", **short)
    model = workspace.root / "short" / DATASET / "nnUNetTrainerRADA__nnUNetPlans__3d_lowres"
    handed_on = list((model / "predicted_next_stage" / "3d_cascade_fullres").iterdir())
    assert len(handed_on) == len(list((model / "fold_0" / "validation").glob("*.nii.gz"))) == 1
    refused = workspace.train(configuration="3d_cascade_fullres", status=2, **short)
    assert "give 3d_fullres or 3d_lowres" in refused


@pytest.mark.parametrize(
    "trainer", ["nnUNetTrainerRADA_Plans", "nnUNetTrainerRADA_Paper", "nnUNetTrainerRADA_PublishedCode"]
)
def test_variants_train_and_predict(workspace: Workspace, short: dict[str, str], trainer: str, tmp_path: Path) -> None:
    """Planned backbone and both presets, through the stock commands; the stored settings are the variant's."""
    from nnunetv2_rada.variants import TRAINERS

    workspace.train(fold="all", trainer=trainer, **short)
    model = Path(DATASET) / f"{trainer}__nnUNetPlans__3d_fullres"
    stored = checkpoint(workspace.root / "short", model, "all")["rada"]["config"]
    assert TRAINERS[trainer].settings.items() <= stored.items()
    options = ("-c", "3d_fullres", "-f", "all", "-tr", trainer, "--disable_tta")
    workspace.predict(tmp_path, *options, nnUNet_results=short["nnUNet_results"])
    assert len(list(tmp_path.glob("*.nii.gz"))) == 2
