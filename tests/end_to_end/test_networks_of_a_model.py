"""What the networks of a trained model look at, and what each predicts by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from end_to_end.workspace import Workspace
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

from nnunetv2_rada.cli.heatmap import main as heatmap
from nnunetv2_rada.cli.predict_networks import main as predict_networks
from nnunetv2_rada.explain.heat_maps import _on_scan
from nnunetv2_rada.trained_model import ModelChoice, open_model, scans_for
from sparse_annotation_tools.cli.suggest_slices import main as suggest_slices
from sparse_annotation_tools.phantom import CLASS_NAMES

pytestmark = pytest.mark.end_to_end

NETWORKS = ("sagittal", "coronal", "axial")
MODEL = ["-d", "901", "-f", "0", "-device", "cpu"]


@pytest.fixture
def scans(workspace: Workspace, trained: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of the test scans, which lie in permuted axes; the model's results are where nnU-Net looks."""
    monkeypatch.setenv("nnUNet_results", str(workspace.results))
    return workspace.root / "scans" / "test" / "images"


def test_heat_maps_lie_on_the_scans_grid(scans: Path, tmp_path: Path, capsys) -> None:
    """One map a network, finite, from 0 to 1, and a picture; the last line says what to do next."""
    case = sorted(scans.glob("*_0000.nii.gz"))[0]
    name = case.name.removesuffix("_0000.nii.gz")
    arguments = ["-i", str(scans), "--case", name, "--class", CLASS_NAMES[0], "-o", str(tmp_path)]
    assert heatmap([*MODEL, *arguments, "-gt", str(scans.parent / "labels"), "--layer", "bottleneck"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: ")
    image = sitk.ReadImage(str(case))
    for network in NETWORKS:
        found = sitk.ReadImage(str(tmp_path / f"{name}_{CLASS_NAMES[0]}_{network}.nii.gz"))
        assert found.GetSize() == image.GetSize()
        np.testing.assert_allclose(found.GetDirection(), image.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(found.GetOrigin(), image.GetOrigin(), atol=1e-4)
        heat = sitk.GetArrayFromImage(found)
        assert np.isfinite(heat).all()
        assert heat.min() >= 0
        assert heat.max() <= 1
    assert (tmp_path / f"{name}_{CLASS_NAMES[0]}.png").stat().st_size > 10_000


def test_maps_go_back_to_the_scan_as_nnunet_sends_predictions(scans: Path) -> None:
    """A block on the preprocessed grid arrives where nnU-Net's own export puts it."""
    predictor = open_model(ModelChoice(dataset="901", trainer="nnUNetTrainerRADA", folds=("0",)), "cpu")
    files = next(iter(scans_for(predictor, scans).values()))
    configuration = predictor.configuration_manager
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        files, None, predictor.plans_manager, configuration, predictor.dataset_json
    )
    block = torch.zeros(data.shape[1:])
    block[2:9, 3:11, 4:20] = 1
    logits = torch.stack([torch.full_like(block, 0.5), block, torch.zeros_like(block)])
    exported = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, predictor.plans_manager, configuration, predictor.label_manager, properties
    )
    sent = _on_scan(predictor, block.numpy(), properties) > 0.5
    assert exported.any()
    assert (sent == (exported == 1)).mean() > 0.999


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--class": "spleen"}, f"knows no class spleen, only {CLASS_NAMES[0]}, {CLASS_NAMES[1]}; check --class"),
        ({"--case": "nobody"}, "holds no case nobody, only phantom"),
        ({"-tr": "nnUNetTrainerNobody"}, "nnUNetTrainerRADA__nnUNetPlans__3d_fullres; check -tr"),
    ],
)
def test_what_the_model_does_not_know_ends_with_one_line(
    scans: Path, tmp_path: Path, capsys, changed: dict[str, str], message: str
) -> None:
    """Status 2, what is there, and the option to look at; nothing is written."""
    options = {"-i": str(scans), "--case": "x", "--class": CLASS_NAMES[0], "-o": str(tmp_path / "heat"), **changed}
    assert heatmap([*MODEL, *(word for pair in options.items() for word in pair)]) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert message in printed[-1]
    assert not (tmp_path / "heat").exists()


def test_each_network_predicts_by_itself_and_their_disagreement_suggests_slices(
    scans: Path, tmp_path: Path, capsys
) -> None:
    """One folder a network, whose plans.json names it; rada-suggest-slices takes the three."""
    networks = tmp_path / "networks"
    assert predict_networks([*MODEL, "-i", str(scans), "-o", str(networks), "-npp", "0", "-nps", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: rada-suggest-slices")
    folders = [networks / network for network in NETWORKS]
    for folder in folders:
        assert len(list(folder.glob("*.nii.gz"))) == 2
        section = json.loads((folder / "plans.json").read_text())["configurations"]["3d_fullres"]["rada"]
        assert section["config"]["inference"] == folder.name
    labels = [sitk.GetArrayFromImage(sitk.ReadImage(str(sorted(each.glob("*.nii.gz"))[0]))) for each in folders]
    assert not all(np.array_equal(labels[0], label) for label in labels[1:])
    arguments = ["-i", str(scans), "-o", str(tmp_path / "next"), "-np", "1", "--predictions", *map(str, folders)]
    assert suggest_slices(arguments) == 0
    assert (tmp_path / "next" / "planes.csv").is_file()
