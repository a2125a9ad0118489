"""`rada-figure`: several methods side by side on one slice of each scan, with Dice."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

NAME = "rada-figure"
_ENDINGS = (".png", ".pdf", ".svg")


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-figure`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Draw the predictions of several methods side by side: a row a scan, a column a method, the "
        "truth's outline in white below the prediction's, and Dice of the whole scan beneath.",
        epilog=f"example: {NAME} -i imagesTs -gt labelsTs --predictions MT=mt RADA=rada -o figure.pdf",
    )
    result.add_argument("-i", dest="images", type=Path, required=True, metavar="DIR", help="scans {case}_0000.nii.gz")
    result.add_argument("-gt", type=Path, required=True, metavar="DIR", help="their true label maps {case}.nii.gz")
    result.add_argument(
        "--predictions", nargs="+", required=True, metavar="NAME=DIR", help="name of a method and its label maps"
    )
    result.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE", help=f"{', '.join(_ENDINGS)}")
    result.add_argument(
        "--cases",
        nargs="+",
        default=[],
        metavar="CASE",
        help="scans to show (default: the worst, the middle and the best by the mean Dice of all methods)",
    )
    result.add_argument(
        "--view",
        choices=("sagittal", "coronal", "axial"),
        help="of the slice (default: the one that shows most of the truth)",
    )
    result.add_argument(
        "--index", type=int, metavar="N", help="slice of --view, from 0 (default: the one that shows most of the truth)"
    )
    result.add_argument(
        "--labels", nargs="+", metavar="NAME", help="names of values 1, 2, ..., or a dataset.json, as for rada-evaluate"
    )
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Draw one figure."""
    arguments = parser().parse_args(argv)
    predictions = _named_folders(arguments.predictions)
    if arguments.output.suffix not in _ENDINGS:
        raise UserError(f"-o is {arguments.output}, expected a name that ends in {', '.join(_ENDINGS)}")
    if arguments.index is not None and arguments.view is None:
        raise UserError("--index says which slice of a view; give --view sagittal, coronal or axial too")

    from sparse_annotation_tools.cli.evaluate import named_labels
    from sparse_annotation_tools.files.label_maps import find_labels
    from sparse_annotation_tools.report.comparison import ComparisonRequest, comparison_figure

    labels = (
        named_labels(arguments.labels)
        if arguments.labels
        else find_labels(arguments.gt, next(iter(predictions.values())))
    )
    request = ComparisonRequest(
        images=arguments.images,
        truth=arguments.gt,
        predictions=predictions,
        labels=labels,
        cases=tuple(arguments.cases),
        view=arguments.view,
        index=arguments.index,
    )
    for line in comparison_figure(request, arguments.output):
        print(line)
    print(f"written: {arguments.output}")
    print(f"next: for all numbers, rada-evaluate -gt {arguments.gt} -pred {next(iter(predictions.values()))}")


def _named_folders(texts: Sequence[str]) -> dict[str, Path]:
    """Read NAME=DIR."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, found, folder = text.partition("=")
        if not (name and found and folder):
            raise UserError(f"--predictions {text} is unfit, expected NAME=DIR, such as RADA=predictions")
        if name in folders:
            raise UserError(f"--predictions names {name} twice; give each method a name of its own")
        folders[name] = Path(folder)
    return folders
