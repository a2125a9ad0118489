"""Finding a trained model: what is missing is said in one line, with what is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import NnunetFolders

from nnunetv2_rada.cli.heatmap import main as heatmap
from nnunetv2_rada.cli.predict_networks import main as predict_networks
from nnunetv2_rada.trained_model import ModelChoice, model_folder
from sparse_annotation_tools.errors import UserError


@pytest.fixture
def model(nnunet_folders: NnunetFolders) -> Path:
    """The folder of a model whose fold 0 is trained and whose fold 1 is not."""
    folder = nnunet_folders.results / "Dataset101_LA" / "nnUNetTrainerRADA__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").touch()
    (folder / "fold_1").mkdir()
    (folder / "fold_1" / "checkpoint_latest.pth").touch()
    return folder


def choice(**changes: str) -> ModelChoice:
    """Fold 0 of the model."""
    fold = changes.pop("fold", "0")
    return ModelChoice(**{"dataset": "101", "trainer": "nnUNetTrainerRADA", **changes}, folds=(fold,))


@pytest.mark.parametrize("dataset", ["101", "Dataset101_LA"])
def test_a_model_is_found_by_id_or_name(model: Path, dataset: str) -> None:
    """As nnU-Net's commands find it."""
    assert model_folder(choice(dataset=dataset)) == model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "102"}, "one Dataset102_\\*, found none; check -d"),
        ({"trainer": "nnUNetTrainerX"}, "only nnUNetTrainerRADA__nnUNetPlans__3d_fullres; check -tr"),
        ({"configuration": "2d"}, "holds no nnUNetTrainerRADA__nnUNetPlans__2d"),
        ({"fold": "1"}, "no checkpoint_final.pth of fold 1, only of 0; check -f"),
    ],
)
def test_what_is_missing_is_named_with_what_is_there(model: Path, changes: dict[str, str], message: str) -> None:
    """Dataset, trainer, configuration and fold."""
    with pytest.raises(UserError, match=message):
        model_folder(choice(**changes))


@pytest.mark.parametrize("command", [heatmap, predict_networks])
def test_commands_end_with_one_line_where_nothing_is_trained(command, capsys, tmp_path: Path) -> None:
    """Status 2, before torch is imported."""
    more = ["--case", "a", "--class", "b"] if command is heatmap else []
    assert command(["-d", "7", "-f", "all", "-i", str(tmp_path), "-o", str(tmp_path / "out"), *more]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "Dataset007_" in printed
