"""`rada-heatmap`: Grad-CAM on each network of a trained model, for one scan and class."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_rada.cli.model_options import add_model_arguments, chosen_model
from nnunetv2_rada.device import pick_device
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

if TYPE_CHECKING:
    from sparse_annotation_tools.files.label_maps import LabelMap
    from sparse_annotation_tools.files.volumes import Geometry

NAME = "rada-heatmap"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-heatmap`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Show what each network of a trained model looks at when it predicts a class in a scan (Grad-CAM): "
        "a NIfTI map on the scan's grid for each network, and one picture of all.",
        epilog=f"example: {NAME} -d 101 -tr nnUNetTrainerRADA -f all -i images --case heart_7 --class left_atrium "
        "-o heat",
    )
    result.add_argument("-i", dest="images", type=Path, required=True, metavar="DIR", help="scans {case}_0000.nii.gz")
    result.add_argument("--case", required=True, metavar="NAME", help="which of them")
    result.add_argument("--class", dest="class_name", required=True, metavar="NAME", help="class, as in dataset.json")
    result.add_argument("-o", dest="output", type=Path, required=True, metavar="DIR", help="folder to write to")
    result.add_argument("-gt", type=Path, metavar="DIR", help="folder of true label maps, for the picture alone")
    result.add_argument(
        "--layer",
        choices=("decoder", "bottleneck"),
        default="decoder",
        help="decoder (default): features at full resolution; bottleneck: the deepest ones, coarse, for context",
    )
    add_model_arguments(result, folds=None)
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Explain one scan."""
    arguments = parser().parse_args(argv)

    from nnunetv2_rada.trained_model import check_case, check_scans, open_model, scans_for

    predictor = open_model(chosen_model(arguments), pick_device(arguments.device))
    value = _value(predictor.dataset_json["labels"], arguments.class_name)
    scans = scans_for(predictor, arguments.images)
    check_case(list(scans), arguments.case, arguments.images)
    check_scans({arguments.case: scans[arguments.case]})

    from nnunetv2_rada.explain.heat_maps import heat_maps, write_heat
    from sparse_annotation_tools.files.atomic import clear_leftovers_of
    from sparse_annotation_tools.files.volumes import read_volume
    from sparse_annotation_tools.report.heat_picture import ShownHeat, heat_picture

    image = read_volume(Path(scans[arguments.case][0]))
    truth = None if arguments.gt is None else _truth(arguments.gt, arguments.case, image.geometry)
    maps = heat_maps(predictor, scans[arguments.case], value=value, layer=arguments.layer)
    stem = f"{arguments.case}_{arguments.class_name}"
    picture = arguments.output / f"{stem}.png"
    files = {found.network: arguments.output / f"{stem}_{found.network}.nii.gz" for found in maps}
    for file in (picture, *files.values()):
        clear_leftovers_of(file)
    for found in maps:
        write_heat(files[found.network], found.heat, image.geometry)
        if not found.heat.any():
            predicts = (found.prediction == value).any()
            why = "no feature there speaks for" if predicts else "it predicts no"
            print(f"the map of network {found.network} is 0: {why} {arguments.class_name}")
    heat_picture(
        picture,
        title=f"{arguments.case}, {arguments.class_name}: Grad-CAM at the {arguments.layer}, {arguments.trainer}",
        image=image.array,
        geometry=image.geometry,
        truth=None if truth is None else truth == value,
        shown=[ShownHeat(name=each.network, heat=each.heat, predicted=each.prediction == value) for each in maps],
    )
    print(f"written: {picture} and {stem}_{{{','.join(each.network for each in maps)}}}.nii.gz")
    print(f"next: look at the picture; the maps open as overlays on {scans[arguments.case][0]} in any viewer")


def _value(labels: dict[str, int], name: str) -> int:
    """The value of a foreground class."""
    classes = {each: value for each, value in labels.items() if each != "ignore" and value != 0}
    if name not in classes:
        raise UserError(f"the model knows no class {name}, only {', '.join(classes)}; check --class")
    return classes[name]


def _truth(folder: Path, case: str, geometry: Geometry) -> LabelMap:
    from sparse_annotation_tools.files.label_maps import find_label_maps
    from sparse_annotation_tools.files.volumes import read_label_of_scan

    found = find_label_maps(folder)
    if case not in found:
        raise UserError(f"{folder} holds no label map of case {case}; check -gt, or leave it out")
    return read_label_of_scan(found[case], geometry, "check -gt, or leave it out")
