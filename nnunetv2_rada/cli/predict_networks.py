"""`rada-predict-networks`: what each network of a trained model predicts by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunetv2_rada.cli.model_options import add_model_arguments, chosen_model
from nnunetv2_rada.device import pick_device
from sparse_annotation_tools.cli.command import command

NAME = "rada-predict-networks"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-predict-networks`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Predict scans by each network of a trained model alone, through nnU-Net's own predictor. "
        "nnUNetv2_predict writes what they predict together; where they disagree, a slice is worth annotating.",
        epilog=f"example: {NAME} -i images -o networks -d 101 -tr nnUNetTrainerRADA -f all",
    )
    result.add_argument("-i", dest="images", type=Path, required=True, metavar="DIR", help="scans {case}_0000.nii.gz")
    result.add_argument("-o", dest="output", type=Path, required=True, metavar="DIR", help="one folder a network")
    add_model_arguments(result, folds="+")
    result.add_argument("--save_probabilities", action="store_true", help="write {case}.npz as well, as nnU-Net does")
    result.add_argument("--disable_tta", action="store_true", help="without mirroring: faster, a little worse")
    result.add_argument("-npp", type=int, default=3, metavar="N", help="preprocessing processes (default 3)")
    result.add_argument("-nps", type=int, default=3, metavar="N", help="export processes (default 3); 0 0: none at all")
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Predict one folder."""
    arguments = parser().parse_args(argv)

    from nnunetv2_rada.network_predictions import predict_networks
    from nnunetv2_rada.trained_model import open_model
    from sparse_annotation_tools.processes.parallel import end_forks_with_this_process

    end_forks_with_this_process()  # nnU-Net forks for preprocessing, and a killed command would leave those behind
    predictor = open_model(chosen_model(arguments), pick_device(arguments.device))
    predictor.use_mirroring = not arguments.disable_tta
    folders = predict_networks(
        predictor,
        arguments.images,
        arguments.output,
        configuration=arguments.configuration,
        save_probabilities=arguments.save_probabilities,
        preprocessing_processes=arguments.npp,
        export_processes=arguments.nps,
    )
    written = " ".join(str(folder) for folder in folders.values())
    print(f"written: {written}")
    print(f"next: rada-suggest-slices -i {arguments.images} -o next_slices --predictions {written}")
