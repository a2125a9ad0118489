"""Stock nnU-Net at a chosen length, the baseline at equal compute."""

from __future__ import annotations

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_rada.clean_exit import ends_cleanly
from nnunetv2_rada.config import Config
from nnunetv2_rada.host_memory import keep_freed_memory


class nnUNetTrainerStock(nnUNetTrainer):
    """nnU-Net's own trainer in everything but its length.

    `num_iterations`, `iterations_per_epoch` and `val_iterations_per_epoch` come from `RADA_CONFIG`, as for every
    trainer of this package; the other settings have no meaning here. nnU-Net's own variants come in epochs of 250
    iterations, too coarse to match another method's compute on a small machine.
    """

    @ends_cleanly
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if device.type == "cpu":  # as for every other trainer, so that CPU seconds compare
            keep_freed_memory()
        file = os.environ.get("RADA_CONFIG")
        config = Config().overridden_by_file(file) if file else Config()
        self.num_iterations_per_epoch = config.iterations_per_epoch
        self.num_val_iterations_per_epoch = config.val_iterations_per_epoch
        self.num_epochs = config.num_iterations // config.iterations_per_epoch
