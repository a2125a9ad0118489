"""What each network of a trained model predicts by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_rada.trained_model import check_scans, method_of, scans_for
from sparse_annotation_tools.errors import UserError

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def predict_networks(
    predictor: nnUNetPredictor,
    images: Path,
    output: Path,
    *,
    configuration: str,
    save_probabilities: bool = False,
    preprocessing_processes: int = 3,
    export_processes: int = 3,
) -> dict[str, Path]:
    """Predict all scans of a folder by each network in turn, as stock prediction does by all of them together.

    Args:
        predictor: an opened model.
        images: {case}_0000.nii.gz and so on.
        output: gets one folder a network, called like it.
        configuration: which one of the plans the model was opened with.
        save_probabilities: write {case}.npz as well.
        preprocessing_processes: nnU-Net's -npp; with 0 for both, everything runs in this process.
        export_processes: nnU-Net's -nps.

    Returns:
        Folder by network.

    Raises:
        UserError: the model has one network only, a number of processes cannot be, or there are no scans that can be
            predicted, see `scans_for` and `check_scans`.
    """
    method: Any = method_of(predictor)
    names = list(method.networks)
    if len(names) == 1:
        raise UserError(
            f"{predictor.trainer_name} predicts with one network, expected several; "
            f"nnUNetv2_predict -tr {predictor.trainer_name} writes what it predicts"
        )
    if (preprocessing_processes == 0) != (export_processes == 0) or min(preprocessing_processes, export_processes) < 0:
        raise UserError(
            f"-npp is {preprocessing_processes} and -nps is {export_processes}, expected both 1 or more, or both 0"
        )
    check_scans(scans_for(predictor, images))
    section = predictor.plans_manager.plans["configurations"][configuration]["rada"]["config"]
    folders = {name: output / name for name in names}
    for name, folder in folders.items():
        method.config = replace(method.config, inference=name)
        section["inference"] = name  # in the plans.json that nnU-Net leaves beside the predictions
        folder.mkdir(parents=True, exist_ok=True)
        if preprocessing_processes == export_processes == 0:
            predictor.predict_from_files_sequential(str(images), str(folder), save_probabilities)
        else:
            predictor.predict_from_files(
                str(images),
                str(folder),
                save_probabilities,
                num_processes_preprocessing=preprocessing_processes,
                num_processes_segmentation_export=export_processes,
            )
    return folders
