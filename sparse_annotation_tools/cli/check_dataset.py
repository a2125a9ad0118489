"""`rada-check-dataset`: look for what would make a training go wrong, before it does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from sparse_annotation_tools.cli.arguments import add_processes, processes_of
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

NAME = "rada-check-dataset"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-check-dataset`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Check a dataset made with rada-make-sparse-dataset, and what nnU-Net made of it: one line for "
        "each finding, with what to type next.",
        epilog="exit status: 0 training can start, 2 something must be mended first",
    )
    result.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="dataset id or name")
    result.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write the findings to this JSON file")
    add_processes(result)
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Check one dataset; raise if the user must mend something."""
    args = parser().parse_args(argv)
    processes = processes_of(args)

    from sparse_annotation_tools.check.dataset import TRAINERS_WITHOUT_PROMPTS, check_dataset
    from sparse_annotation_tools.check.findings import counts, to_json
    from sparse_annotation_tools.files.atomic import write_json
    from sparse_annotation_tools.prompts.raw_dataset import raw_dataset_folder
    from sparse_annotation_tools.schema import RadaFolder

    folder = raw_dataset_folder(args.dataset)
    root = os.environ.get("nnUNet_preprocessed")  # noqa: SIM112 (nnU-Net's own spelling)
    findings = check_dataset(folder, Path(root) / folder.name if root else None, processes=processes)
    for finding in findings:
        print(finding)
    if args.output is not None:
        write_json(args.output, to_json(folder.name, findings))
        print(f"written: {args.output}")
    found = counts(findings)
    print(f"{folder.name}: " + ", ".join(f"{count} {level}" for level, count in found.items()))
    if found["error"]:
        raise UserError(
            f"{found['error']} of the lines above start with error; type what they say, then {NAME} -d {args.dataset}"
        )
    waiting = [finding for finding in findings if finding.check in ("plans", "preprocessed") and finding.mend]
    if not waiting:
        embedded = RadaFolder(root=folder / "rada").prompts_file.is_file()
        trainer = (
            "nnUNetTrainerRADA" if embedded else f"{TRAINERS_WITHOUT_PROMPTS[0]}, or another that needs no embeddings"
        )
        print(f"next: nnUNetv2_train {int(folder.name[7:10])} 3d_fullres all -tr {trainer}")
    else:
        print(f"next: {waiting[0].mend}")
