"""What a training needs: one line each for what is missing or too small."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from nnunetv2.paths import nnUNet_results

from nnunetv2_rada.data.rada_folder import number_of_folds
from sparse_annotation_tools.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

    from sparse_annotation_tools.schema import RadaFolder


def check_surroundings(device: torch.device) -> None:
    """Refuse to train without a place for the model, or on a device that is not there.

    Raises:
        UserError: nnUNet_results is not set, or this machine has no such device.
    """
    if not nnUNet_results.is_set():
        raise UserError("nnUNet_results is not set, and the model is written there; type: export nnUNet_results=DIR")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch finds no CUDA device, which nnUNetv2_train expects by default; give -device cpu")


def planned_configuration(
    plans: PlansManager, configuration: str, dataset_json: dict[str, Any]
) -> ConfigurationManager:
    """Return a configuration of nnU-Net's plans that RADA can train.

    Raises:
        UserError: the plans do not have it, it is 2-D or a cascade stage, or the dataset defines regions.
    """
    known = plans.available_configurations
    if configuration not in known:
        raise UserError(
            f"the plans {plans.plans_name} have no configuration {configuration}, only {', '.join(known)}; give one of "
            "them, or plan it with nnUNetv2_plan_and_preprocess"
        )
    planned = plans.get_configuration(configuration)
    if len(planned.patch_size) != 3 or planned.previous_stage_name is not None:
        raise UserError(
            f"configuration {configuration} is 2-D or a cascade stage, but RADA trains whole 3-D networks; "
            "give 3d_fullres or 3d_lowres"
        )
    if any(isinstance(value, (list, tuple)) for value in dataset_json["labels"].values()):
        raise UserError(
            "dataset.json defines regions, but RADA trains one label per voxel; merge or split the labels, see "
            "rada-make-sparse-dataset --label-names"
        )
    return planned


def check_fold(fold: int | str, rada: RadaFolder) -> None:
    """Refuse a fold that the dataset does not have.

    Raises:
        UserError: see above.
    """
    if fold == "all":
        return
    splits = number_of_folds(rada)
    if not 0 <= int(fold) < splits:
        raise UserError(f"fold {fold} does not exist, the dataset has {splits}; give 0 to {splits - 1} or all")


def pretrained_weights_option(arguments: Sequence[str]) -> Path | None:
    """Return the file that -pretrained_weights of nnUNetv2_train names: no hook of a trainer is told of it.

    Read as nnUNetv2_train reads it, also as -pretrained_weights=FILE.
    """
    parser = ArgumentParser(add_help=False)
    parser.add_argument("-p")  # its plans, which argparse would otherwise take for a shortened -pretrained_weights
    parser.add_argument("-pretrained_weights", type=Path)
    file: Path | None = parser.parse_known_args(arguments)[0].pretrained_weights
    return file


@contextlib.contextmanager
def too_small_batches_refused(patch_size: Sequence[int]) -> Iterator[None]:
    """Refuse batches that leave a normalization with a single value, from which it takes no variance.

    Raises:
        UserError: the coarsest features of a patch are a single voxel, and it is normalized alone.
    """
    try:
        yield
    except ValueError as error:
        if "Expected more than 1 value per channel" in str(error):  # BatchNorm, which counts all of the batch
            advice = "set batch_labelled and batch_unlabelled to 2 or more, or a larger max_patch_voxels"
        elif "Expected more than 1 spatial element" in str(error):  # InstanceNorm
            advice = "set a larger max_patch_voxels"
        else:
            raise
        patch = "x".join(map(str, patch_size))
        raise UserError(
            f"patches of {patch} voxels leave the network's coarsest layer one value a channel, expected two or more; "
            f"{advice}"
        ) from None
