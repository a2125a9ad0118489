"""`rada-evaluate`: Dice, Jaccard, HD95, ASD and ASSD of a folder of predictions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_annotation_tools.cli.arguments import add_processes, processes_of
from sparse_annotation_tools.cli.command import command

if TYPE_CHECKING:
    from sparse_annotation_tools.evaluation.evaluate import Evaluation
    from sparse_annotation_tools.files.label_maps import Labels


@command("rada-evaluate")
def main(argv: Sequence[str] | None = None) -> None:
    """Compare each label map of one folder with its namesake in another; print a table, write a JSON file."""
    arguments = _parser().parse_args(argv)
    processes = processes_of(arguments)

    from sparse_annotation_tools.evaluation.evaluate import evaluate_pairs
    from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind
    from sparse_annotation_tools.files.atomic import write_json
    from sparse_annotation_tools.files.label_maps import find_labels, find_pairs

    pairs, extra = find_pairs(arguments.gt, arguments.pred)
    labels = named_labels(arguments.labels) if arguments.labels else find_labels(arguments.gt, arguments.pred)
    evaluation = evaluate_pairs(
        pairs,
        labels,
        keep_largest_component=arguments.largest_component,
        processes=processes,
    )
    embeddings = embeddings_behind(arguments.pred)
    print(table(evaluation))
    if embeddings is not None:
        print(f"predicted with embeddings: {embeddings}")
    if extra:
        print(f"not evaluated, as {arguments.gt} has no truth for them: {', '.join(extra)}")
    if arguments.o is not None:
        write_json(arguments.o, {**evaluation.to_json(), "embeddings": embeddings})
        print(f"written: {arguments.o}")
    folders = f"-gt {arguments.gt} --predictions NAME={arguments.pred}"
    print(f"next: to see them, rada-figure -i IMAGES {folders} -o FILE.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rada-evaluate",
        description="Compare predicted with true label maps: Dice, Jaccard, HD95, ASD, ASSD, in voxels and in mm.",
        epilog="example: rada-evaluate -gt $nnUNet_raw/Dataset101_LA/labelsTs -pred predictions -o results.json",
    )
    parser.add_argument("-gt", type=Path, required=True, metavar="DIR", help="folder of true label maps")
    parser.add_argument("-pred", type=Path, required=True, metavar="DIR", help="folder of predictions, names as in -gt")
    parser.add_argument("-o", type=Path, metavar="FILE", help="write every number and its definition to this JSON file")
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="names of values 1, 2, ..., or a dataset.json (default: the dataset.json in or above -gt, or in -pred)",
    )
    parser.add_argument(
        "--largest-component",
        action="store_true",
        help="first keep only the largest connected part of each predicted class (off by default)",
    )
    add_processes(parser)
    return parser


def named_labels(names: Sequence[str]) -> Labels:
    """Return the classes that --labels names, by themselves or in a dataset.json."""
    from sparse_annotation_tools.files.label_maps import Labels

    if len(names) == 1 and names[0].endswith(".json"):
        return Labels.from_dataset_json(Path(names[0]))
    return Labels.from_names(names)


def table(evaluation: Evaluation) -> str:
    """One line per case and class, then mean and standard deviation per class, then what the means leave out."""
    from sparse_annotation_tools.evaluation.metrics import METRICS

    rows: list[tuple[str, str, dict[str, float]]] = [
        (case, name, evaluation.measures(case, name)) for case in evaluation.results for name in evaluation.classes
    ]
    rows += [("mean", name, evaluation.mean(name)) for name in evaluation.classes]
    rows += [("sd", name, evaluation.sd(name)) for name in evaluation.classes]
    case_width = max(len("case"), *(len(case) for case, _, _ in rows)) if rows else 4
    name_width = max([len("class"), *(len(name) for name in evaluation.classes)])
    lines = [f"{'case':{case_width}}  {'class':{name_width}}" + "".join(f"{metric:>12}" for metric in METRICS)]
    for case, name, measures in rows:
        numbers = "".join(f"{_number(metric, measures[metric]):>12}" for metric in METRICS)
        lines.append(f"{case:{case_width}}  {name:{name_width}}{numbers}")
    lines += [_left_out(evaluation, name) for name in evaluation.classes]
    if evaluation.partly_annotated:
        lines.append(
            f"{len(evaluation.partly_annotated)} cases have a partly ignored truth: overlap on the rest, no distances"
        )
    return "\n".join(lines)


def _left_out(evaluation: Evaluation, name: str) -> str:
    return (
        f"{name}: {len(evaluation.results)} cases, {evaluation.empty_predictions(name)} with an empty prediction "
        f"(Dice 0, no distances), {evaluation.both_empty(name)} with empty prediction and truth (left out)"
    )


def _number(metric: str, value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.4f}" if metric in ("dice", "jaccard") else f"{value:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
