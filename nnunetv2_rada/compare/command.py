"""`rada-compare`: the paper's comparison and ablations, rerun by one command."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_rada.compare.paper import DATASETS
from nnunetv2_rada.compare.rows import TABLE_NAMES
from sparse_annotation_tools.cli.arguments import positive
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

if TYPE_CHECKING:
    from nnunetv2_rada.compare.comparison import Comparison
    from nnunetv2_rada.compare.folder import ComparisonFolder
    from nnunetv2_rada.compare.given import GivenDataset
    from nnunetv2_rada.compare.rows import Row, Table

_ASK_ABOVE_SECONDS = 3600
_CONFIGURATION = "3d_fullres"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rada-compare",
        description="Train, predict and evaluate the rows of the paper's tables on a dataset that "
        "rada-make-sparse-dataset made, and write results.csv, results.md and plots. Killed and started again, it goes "
        "on where it stopped; started with more rows or seeds, it adds them.",
        epilog="example: rada-compare -d 101 --table I --iterations 6000 --seeds 3 --paper-dataset LA -o comparison",
    )
    parser.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="dataset id or name")
    parser.add_argument(
        "--table", nargs="+", required=True, choices=TABLE_NAMES, metavar="TABLE", help=f"{', '.join(TABLE_NAMES)}"
    )
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder of this comparison")
    parser.add_argument("--methods", nargs="+", metavar="ROW", help="some rows of the tables (default: all)")
    parser.add_argument("--iterations", type=positive, metavar="N", help="of every row (default: the paper's 6000)")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="runs of each row (default 3)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings of all runs, as for RADA_CONFIG (JSON)")
    parser.add_argument("-device", "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument(
        "--paper-dataset", choices=tuple(DATASETS), help="the dataset is this one of the paper: show its numbers"
    )
    parser.add_argument(
        "--embedding",
        metavar="OPTIONS",
        help="options of rada-embed for rows with other prompts (default: those that made the dataset)",
    )
    parser.add_argument("--yes", action="store_true", help="start though it takes more than an hour")
    return parser


@command("rada-compare")
def main(argv: Sequence[str] | None = None) -> None:
    """Carry out a comparison, or go on with one."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)

    from nnunetv2_rada.compare.folder import ComparisonFolder
    from nnunetv2_rada.compare.given import GivenDataset
    from nnunetv2_rada.compare.rows import select_rows, select_tables
    from nnunetv2_rada.compare.settings import check_settings, common_settings
    from nnunetv2_rada.device import pick_device
    from sparse_annotation_tools.prompts.raw_dataset import raw_dataset_folder

    tables = select_tables(arguments.table)
    rows = select_rows(tables, arguments.methods)
    settings = common_settings(arguments.settings, arguments.iterations)
    check_settings(settings, rows)
    folder = raw_dataset_folder(arguments.dataset)
    given = GivenDataset.read(folder.resolve(), embedding=arguments.embedding)
    device = pick_device(arguments.device)
    place = ComparisonFolder(root=arguments.o.resolve())
    place.open({**given.identity(), "settings": settings, "device": device})

    comparison = _comparison(place, given, tables, rows, settings, device, arguments)
    comparison.sort_out()
    comparison.write_tables()
    _announce(comparison, yes=arguments.yes)
    failed = comparison.run()
    comparison.console.line(f"tables: {place.root / 'results.md'}, {place.root / 'results.csv'}")
    if failed:
        raise UserError(
            f"{len(failed)} runs failed ({', '.join(failed)}); {place.root / 'results.md'} says why; mend it and run "
            "the same command again"
        )
    comparison.console.line(f"next: read {place.root / 'results.md'}; pictures of every table lie beside it")


def _announce(comparison: Comparison, *, yes: bool) -> None:
    """Say how long it will take; refuse to start something long that was not agreed to.

    Raises:
        UserError: it takes more than an hour and `yes` was not given.
    """
    comparison.measure_first()
    left = comparison.estimate()
    runs = comparison.keys()
    finished = sum(comparison.run_folder(key).is_finished for key in runs)
    if finished == len(runs):
        comparison.console.line(f"all {len(runs)} runs are finished")
        return
    comparison.console.line(f"{len(runs)} runs, {finished} of them finished; left: {left or 'not known'}")
    if left is not None and left.seconds > _ASK_ABOVE_SECONDS and not yes:
        raise UserError(f"this takes {left}, more than an hour; add --yes to start it, or fewer --methods or --seeds")


def _comparison(
    place: ComparisonFolder,
    given: GivenDataset,
    tables: Sequence[Table],
    rows: Sequence[Row],
    settings: Mapping[str, Any],
    device: str,
    arguments: argparse.Namespace,
) -> Comparison:
    from nnunetv2_rada.compare.comparison import Comparison
    from nnunetv2_rada.compare.datasets import Datasets
    from nnunetv2_rada.compare.external import External
    from nnunetv2_rada.compare.report import Report
    from nnunetv2_rada.compare.runs import Training
    from nnunetv2_rada.compare.settings import trainers_with_prompts
    from nnunetv2_rada.stages import Console

    external = External(console=Console())
    comparison = Comparison(
        folder=place,
        datasets=Datasets(folder=place, given=given, configuration=_CONFIGURATION, external=external),
        training=Training(
            configuration=_CONFIGURATION,
            device=device,
            truth=given.folder / "labelsTs",
            images=given.folder / "imagesTs",
            external=external,
        ),
        rows=rows,
        seeds=arguments.seeds,
        settings=settings,
        with_prompts=trainers_with_prompts(),
        write_tables=lambda: None,
    )
    report = Report(
        comparison=comparison,
        tables=tables,
        paper_dataset=arguments.paper_dataset,
        settings_text=", ".join(f"{name} {value}" for name, value in settings.items()),
    )
    comparison.write_tables = report.write
    return comparison


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
