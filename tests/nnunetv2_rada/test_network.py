"""What nnU-Net loads into the network of a trained model, and builds it from."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.method import make_method
from nnunetv2_rada.network import MethodNetwork
from nnunetv2_rada.trainer import nnUNetTrainerRADA
from sparse_annotation_tools.schema import VIEWS


def network(num_classes: int, **settings) -> MethodNetwork:
    """A small network."""
    config = replace(Config(), base_filters=2, **settings)
    return MethodNetwork(
        make_method(config, in_channels=1, num_classes=num_classes, text_dim=4, image_dim=4, views=VIEWS)
    )


def test_weights_come_back():
    """What was saved is what is loaded."""
    saved, other = network(2), network(2)
    other.load_state_dict(saved.state_dict())
    weights = other.state_dict()
    assert all(torch.allclose(weights[name], weight, equal_nan=True) for name, weight in saved.state_dict().items())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (lambda: network(3).state_dict(), " there, "),
        (dict, " is not in it"),
        (lambda: {**network(2).state_dict(), "head.weight": torch.zeros(1)}, "head.weight is only in it"),
    ],
)
def test_weights_of_other_networks_end_with_one_line(weights, said, capsys):
    """Another class count, none, one too many: status 2 wherever nnU-Net loads them, in prediction too."""
    own = network(2)
    before = {name: weight.clone() for name, weight in own.state_dict().items()}
    with pytest.raises(SystemExit, match="2"):
        own.load_state_dict(weights())
    (line,) = capsys.readouterr().err.splitlines()
    assert "error: the checkpoint is of other networks (" in line
    assert said in line
    assert all(torch.allclose(before[name], weight, equal_nan=True) for name, weight in own.state_dict().items())
    assert not own.has_loaded_weights


@pytest.mark.parametrize("configuration", [{}, {"rada": None}, {"rada": {"text_dim": 4}}])
def test_plans_without_our_section_end_prediction_with_one_line(configuration, capsys):
    """The networks cannot be built without it."""
    with pytest.raises(SystemExit, match="2"):
        nnUNetTrainerRADA.build_network_architecture(None, SimpleNamespace(configuration=configuration), 1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert "nnUNetTrainerRADA: error: the model's plans.json has no readable rada section" in line


def test_training_without_a_results_folder_ends_with_one_line(monkeypatch, capsys):
    """Before anything is read."""
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(SystemExit, match="2"):
        nnUNetTrainerRADA({}, "3d_fullres", 0, {})
    assert "nnUNet_results is not set" in capsys.readouterr().err
