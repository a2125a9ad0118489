"""`rada-report`: one page that shows a dataset, its training and its predictions, and opens without a network."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from sparse_annotation_tools.cli.arguments import add_processes, processes_of
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

NAME = "rada-report"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-report`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Make a page of a dataset, its training and its predictions: numbers, curves, and every case in a "
        "viewer. It opens from disk and needs no network. What cannot be found is left out, with what to type for it.",
        epilog="A run that was killed goes on when the same command is typed again; only cases with new inputs are "
        "made anew. The page holds the scans: give it to nobody who may not see them.",
    )
    result.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="dataset id or name")
    result.add_argument(
        "-o", dest="output", type=Path, required=True, metavar="DIR", help="folder to write the page to"
    )
    result.add_argument(
        "-tr",
        dest="trainer",
        default="nnUNetTrainerRADA",
        metavar="TRAINER",
        help="whose training (default: %(default)s)",
    )
    result.add_argument("-p", dest="plans", default="nnUNetPlans", metavar="PLANS", help="default: %(default)s")
    result.add_argument(
        "-c", dest="configuration", default="3d_fullres", metavar="CONFIGURATION", help="default: %(default)s"
    )
    result.add_argument("-pred", dest="predictions", type=Path, metavar="DIR", help="folder of predicted label maps")
    result.add_argument(
        "-i",
        dest="images",
        type=Path,
        metavar="DIR",
        help="scans {case}_0000 of predictions whose scans are not in the dataset",
    )
    result.add_argument(
        "-gt",
        dest="truth",
        type=Path,
        metavar="DIR",
        help="folder of dense label maps (default: the dataset's labelsTs)",
    )
    result.add_argument(
        "--networks",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of predictions, one a network: shows where they disagree (default: the probabilities in -pred, "
        "where nnUNetv2_predict --save_probabilities wrote them)",
    )
    add_processes(result)
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Make one report."""
    args = parser().parse_args(argv)
    processes = processes_of(args)
    for option, folder in (("-pred", args.predictions), ("-gt", args.truth)):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{option} {folder} is not a folder; expected one with label maps {{case}}.nii.gz")
    if args.images is not None and not args.images.is_dir():
        raise UserError(f"-i {args.images} is not a folder; expected one with scans {{case}}_0000.nii.gz")

    from sparse_annotation_tools.prompts.raw_dataset import raw_dataset_folder
    from sparse_annotation_tools.report.page.report import ReportRequest, make_report

    results = os.environ.get("nnUNet_results")  # noqa: SIM112 (nnU-Net's own spelling)
    summary = make_report(
        ReportRequest(
            dataset=raw_dataset_folder(args.dataset),
            output=args.output,
            trainer=args.trainer,
            plans=args.plans,
            configuration=args.configuration,
            results=Path(results) if results else None,
            predictions=args.predictions,
            images=args.images,
            truth=args.truth,
            networks=tuple(args.networks),
            processes=processes,
        )
    )
    for part in summary.missing:
        print(f"left out: {part['part']}. {part['text']} Type: {part['command']}")
    print(
        f"written: a page of {summary.cases} cases, {summary.page}; next: open it in a browser, xdg-open {summary.page}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
