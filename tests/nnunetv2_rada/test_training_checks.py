"""Tests of what is read and checked before a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_rada.training_checks import pretrained_weights_option

TRAIN = ["nnUNetv2_train", "101", "3d_fullres", "0", "-tr", "nnUNetTrainerRADA"]


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (["-pretrained_weights", "a model.pth", "-p", "plans"], "a model.pth"),
        (["-pretrained_weights=model.pth"], "model.pth"),
        (["-p", "nnUNetPlans", "--c", "-device", "cpu"], None),
    ],
)
def test_pretrained_weights_are_found_in_every_way_of_writing_them(given: list[str], file: str | None) -> None:
    """As nnUNetv2_train's own parser reads them; another option that begins with a p is not one of them."""
    assert pretrained_weights_option([*TRAIN, *given]) == (file and Path(file))
