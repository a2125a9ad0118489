"""`rada-embed`: encode the annotated slices and class names of a dataset, or encode them anew with another encoder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.prompts.options import add_encoder_arguments, options_from_arguments


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-embed`."""
    result = argparse.ArgumentParser(
        prog="rada-embed",
        description="Encode the annotated slices and class names of a dataset made with rada-make-sparse-dataset, "
        "and store the embeddings in its rada/prompts.safetensors.",
    )
    result.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="dataset id or name")
    add_encoder_arguments(result)
    return result


@command("rada-embed")
def main(argv: Sequence[str] | None = None) -> None:
    """Encode one dataset."""
    args = parser().parse_args(argv)
    options = options_from_arguments(args)

    from sparse_annotation_tools.processes.lock import only_writer
    from sparse_annotation_tools.prompts import embed_dataset
    from sparse_annotation_tools.prompts.raw_dataset import raw_dataset_folder

    folder = raw_dataset_folder(args.dataset)
    with only_writer(folder):
        embed_dataset(folder, options)
    if options.encoder == "none":
        print(f"{folder.name} stores no embeddings")
    else:
        print(f"embeddings of encoder {options.encoder}; written: {folder / 'rada' / 'prompts.safetensors'}")
    print(f"next: rada-check-dataset -d {args.dataset}")
