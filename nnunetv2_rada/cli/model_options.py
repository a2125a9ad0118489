"""The options that name a trained model, as in nnU-Net's own commands."""

from __future__ import annotations

import argparse

from nnunetv2_rada.device import CHOICES
from nnunetv2_rada.trained_model import ModelChoice


def add_model_arguments(parser: argparse.ArgumentParser, *, folds: int | str | None) -> None:
    """Add -d, -tr, -f, -c, -p, -chk and -device; `folds` is argparse's nargs of -f."""
    model = parser.add_argument_group("the trained model, as for nnUNetv2_predict")
    model.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="dataset id or name")
    model.add_argument("-tr", dest="trainer", default="nnUNetTrainerRADA", help="(default nnUNetTrainerRADA)")
    model.add_argument("-f", dest="folds", nargs=folds, required=True, metavar="FOLD", help="0, 1, ... or all")
    model.add_argument("-c", dest="configuration", default="3d_fullres", help="(default 3d_fullres)")
    model.add_argument("-p", dest="plans", default="nnUNetPlans", help="(default nnUNetPlans)")
    model.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth", help="(default checkpoint_final.pth)")
    model.add_argument("-device", choices=CHOICES, default="auto", help="auto (default): cuda where there is one")


def chosen_model(arguments: argparse.Namespace) -> ModelChoice:
    """Return what the options of `add_model_arguments` name."""
    folds = [arguments.folds] if isinstance(arguments.folds, str) else arguments.folds
    return ModelChoice(
        dataset=arguments.dataset,
        trainer=arguments.trainer,
        folds=tuple(folds),
        configuration=arguments.configuration,
        plans=arguments.plans,
        checkpoint=arguments.checkpoint,
    )
