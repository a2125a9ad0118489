"""What else stock nnU-Net does with a trained fold: `--val --npz`, the best configuration, export and import."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from end_to_end.workspace import DATASET, MODEL, Workspace

from sparse_annotation_tools.files.volumes import read_volume

pytestmark = pytest.mark.end_to_end


def test_all_folds_with_probabilities_feed_find_best_configuration(workspace: Workspace, trained: str) -> None:
    """--val --npz on a trained fold, --npz on a new one, then nnUNetv2_find_best_configuration."""
    workspace.train("--val", "--npz", RADA_CONFIG="")
    workspace.train("--npz", fold="1")
    folds = workspace.results / MODEL
    assert len(list(folds.glob("fold_*/validation/*.npz"))) == 2
    printed = workspace.run(
        "nnUNetv2_find_best_configuration", "901", "-c", "3d_fullres", "-tr", "nnUNetTrainerRADA", "-f", "0", "1",
        "-np", "1",
    )  # fmt: skip
    assert "nnUNetTrainerRADA" in printed
    best = json.loads((workspace.results / DATASET / "inference_information.json").read_text())
    assert best["best_model_or_ensemble"]["selected_model_or_models"][0]["trainer"] == "nnUNetTrainerRADA"


def test_an_exported_model_predicts_elsewhere_what_it_predicts_here(
    workspace: Workspace, trained: str, tmp_path: Path
) -> None:
    """Zip, install into an empty results folder, predict: the same voxels, without data, prompts or settings."""
    model, elsewhere = tmp_path / "model.zip", tmp_path / "elsewhere"
    elsewhere.mkdir()
    workspace.run(
        "nnUNetv2_export_model_to_zip", "-d", DATASET, "-o", str(model), "-c", "3d_fullres", "-tr",
        "nnUNetTrainerRADA", "-f", "0",
    )  # fmt: skip
    workspace.run("nnUNetv2_install_pretrained_model_from_zip", str(model), nnUNet_results=str(elsewhere))
    options = ("-c", "3d_fullres", "-f", "0", "-tr", "nnUNetTrainerRADA", "--disable_tta")
    workspace.predict(tmp_path / "here", *options)
    workspace.predict(tmp_path / "there", *options, nnUNet_results=str(elsewhere))
    files = sorted((tmp_path / "here").glob("*.nii.gz"))
    assert len(files) == 2
    for file in files:
        assert np.array_equal(read_volume(file).array, read_volume(tmp_path / "there" / file.name).array)
