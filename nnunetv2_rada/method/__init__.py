"""Training methods in pure PyTorch: they know tensors, not nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from sparse_annotation_tools.errors import UserError

if TYPE_CHECKING:
    from nnunetv2_rada.config import Config
    from nnunetv2_rada.method.base import MakeBackbone, Method

# Name -> module and class; torch is imported only when a method is made.
METHODS: dict[str, tuple[str, str]] = {
    "bcp": ("nnunetv2_rada.method.copy_paste", "CopyPaste"),
    "co_training": ("nnunetv2_rada.method.co_training", "CoTraining"),
    "cps": ("nnunetv2_rada.method.cross_pseudo", "CrossPseudoSupervision"),
    "desco": ("nnunetv2_rada.method.desco", "DeSCO"),
    "dtc": ("nnunetv2_rada.method.dual_task", "DualTaskConsistency"),
    "mt": ("nnunetv2_rada.method.mean_teacher", "MeanTeacher"),
    "sassnet": ("nnunetv2_rada.method.shape_adversarial", "SASSNet"),
    "supervised": ("nnunetv2_rada.method.supervised", "Supervised"),
    "ua_mt": ("nnunetv2_rada.method.mean_teacher", "UncertaintyAwareMeanTeacher"),
}


def make_method(
    config: Config,
    *,
    in_channels: int,
    num_classes: int,
    text_dim: int,
    image_dim: int,
    views: Sequence[str],
    make_backbone: MakeBackbone | None = None,
) -> Method:
    """Build the method that `config.method` names; its state_dict has shapes known from these arguments alone.

    Args:
        config: Settings of the run.
        in_channels: Image channels.
        num_classes: Outputs, background included.
        text_dim: Size of the text embedding E_t; 0 if there is none.
        image_dim: Size of the image embedding E_v; 0 if there is none.
        views: Names of the networks, in the order of the batch's label channels.
        make_backbone: Builds one network's backbone; None builds the paper's V-Net.

    Raises:
        UserError: unknown method, or settings that contradict each other.
    """
    if config.method not in METHODS:
        raise UserError(f"setting method is {config.method!r}, expected one of {', '.join(sorted(METHODS))}")
    from nnunetv2_rada.method.base import Task

    task = Task(
        in_channels=in_channels,
        num_classes=num_classes,
        text_dim=text_dim,
        image_dim=image_dim,
        views=tuple(views),
        make_backbone=make_backbone,
    )
    module, name = METHODS[config.method]
    method: Method = getattr(import_module(module), name)(config, task)
    return method
