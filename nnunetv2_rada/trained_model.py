"""Open a trained model with nnU-Net's own predictor, and find the scans that it can take."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_annotation_tools.errors import UserError, some

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunetv2_rada.method.base import Method


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model to open, in the words of nnU-Net's commands.

    Attributes:
        dataset: id or name.
        trainer: class name.
        folds: numbers or `all`.
        configuration: for example `3d_fullres`.
        plans: identifier of the plans.
        checkpoint: file name.
    """

    dataset: str
    trainer: str
    folds: tuple[str, ...]
    configuration: str = "3d_fullres"
    plans: str = "nnUNetPlans"
    checkpoint: str = "checkpoint_final.pth"


def model_folder(choice: ModelChoice) -> Path:
    """Return the folder of a trained model, in `nnUNet_results`.

    Raises:
        UserError: nnUNet_results is not set, or holds no such dataset, trainer, or fold.
    """
    root = os.environ.get("nnUNet_results")  # noqa: SIM112 (nnU-Net's own spelling)
    if not root:
        raise UserError("nnUNet_results is not set, and the model is read from there; type: export nnUNet_results=DIR")
    pattern = f"Dataset{int(choice.dataset):03d}_*" if choice.dataset.isdigit() else choice.dataset
    datasets = sorted(path for path in Path(root).glob(pattern) if path.is_dir())
    if len(datasets) != 1:
        found = some([path.name for path in datasets]) or "none"
        raise UserError(f"{root} should hold one {pattern}, found {found}; check -d and nnUNet_results")
    folder = datasets[0] / f"{choice.trainer}__{choice.plans}__{choice.configuration}"
    if not folder.is_dir():
        trained = some(sorted(path.name for path in datasets[0].iterdir() if "__" in path.name)) or "nothing"
        raise UserError(f"{datasets[0]} holds no {folder.name}, only {trained}; check -tr, -p and -c")
    for fold in choice.folds:
        if not (folder / f"fold_{fold}" / choice.checkpoint).is_file():
            finished = sorted(path.parent.name[5:] for path in folder.glob(f"fold_*/{choice.checkpoint}"))
            raise UserError(
                f"{folder} holds no {choice.checkpoint} of fold {fold}, only of {some(finished) or 'none'}; check -f, "
                "or let the training end"
            )
    return folder


def open_model(choice: ModelChoice, device: str) -> nnUNetPredictor:
    """Load a model as nnUNetv2_predict does; its network is a `MethodNetwork`.

    Raises:
        UserError: see `model_folder`; or one of the model's files cannot be read; or the trainer is not one of this
            package, so its network has no parts.
    """
    folder = model_folder(choice)

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # timm's, of torch functions that grow old
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunetv2_rada.checkpoint import UNREADABLE, reason_of
    from nnunetv2_rada.network import MethodNetwork

    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net tells of every place where it looks for the trainer
        predictor = nnUNetPredictor(device=torch.device(device), perform_everything_on_device=device == "cuda")
        try:
            predictor.initialize_from_trained_model_folder(str(folder), choice.folds, choice.checkpoint)
        except UNREADABLE as error:
            raise UserError(
                f"the model in {folder} cannot be opened ({reason_of(error)}); copy plans.json, dataset.json and the "
                "folders of its folds again from where it was trained, or train again"
            ) from None
    predictor.network = getattr(predictor.network, "_orig_mod", predictor.network)  # not compiled: parts run alone
    if not isinstance(predictor.network, MethodNetwork):
        raise UserError(
            f"{choice.trainer} trains one network of nnU-Net's own kind, expected a trainer of this package, such as "
            "nnUNetTrainerRADA; check -tr"
        )
    return predictor


def method_of(predictor: nnUNetPredictor) -> Method:
    """Return the method behind an opened model."""
    method: Method = predictor.network.method
    return method


def scans_for(predictor: nnUNetPredictor, images: Path) -> dict[str, list[str]]:
    """Return the files of each case of a folder, one a channel, in the order of the channels.

    Raises:
        UserError: the folder is missing or empty, or a case has another number of channels than the model takes.
    """
    ending = predictor.dataset_json["file_ending"]
    name_of_scan = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")  # nnU-Net's own listing forks a pool of processes
    found: dict[str, list[str]] = {}
    for path in sorted(images.iterdir()) if images.is_dir() else ():
        if (match := name_of_scan.fullmatch(path.name)) is not None:
            found.setdefault(match[1], []).append(str(path))
    if not found:
        raise UserError(f"{images} holds no scan, expected files that end in _0000{ending}; check -i")
    channels = len(predictor.dataset_json["channel_names"])
    wrong = [case for case, of_case in found.items() if len(of_case) != channels]
    if wrong:
        raise UserError(
            f"{images} has {len(found[wrong[0]])} channels of case {wrong[0]}, expected {channels} as in training "
            f"(_0000{ending} and so on)"
        )
    return found


def check_scans(scans: Mapping[str, Sequence[str]]) -> None:
    """Read every file once: nnU-Net's readers take a file that is cut off for a scan with an empty end.

    Raises:
        UserError: a file is missing, cut off, not 3-D, or otherwise no scan.
    """
    from sparse_annotation_tools.files.volumes import SUFFIXES, read_volume

    for file in (file for of_case in scans.values() for file in of_case):
        if file.endswith(SUFFIXES):  # what other readers of nnU-Net take is theirs to check
            read_volume(Path(file))


def check_case(cases: Sequence[str], wanted: str, folder: Path) -> None:
    """Raise `UserError` where a case is not among those of a folder."""
    if wanted not in cases:
        raise UserError(f"{folder} holds no case {wanted}, only {some(sorted(cases))}; check --case")
