"""`rada-suggest-slices`: which slices to annotate first, and which one next."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_annotation_tools.cli.arguments import add_processes, processes_of
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import some

if TYPE_CHECKING:
    from sparse_annotation_tools.suggestion.files import Record

NAME = "rada-suggest-slices"
_SHOWN = 10  # lines of the printed list

_RULES = """\
rules:
  first slices, one a view, of a scan that nobody has labelled
    through the centre of the image's edges (about the middle of what was scanned: the image alone does not say where
    an organ is); through the point that --centres gives; or, with --reference, the slices of largest area of that
    scan's label after an affine registration
  next slices by --labels
    views without a slice first, with their largest slice; then the slice with the largest area x distance to the
    nearest slice of its view. Where only slices are drawn, areas are estimated from the lines along which they cross a
    slice. Dense labels, such as predictions of new scans, give the largest slice of each view
  next slices by --predictions
    the slice with the largest expected error in mm2: the sum of the probability that a voxel is wrong, of all voxels
    that are less than 99 % sure and lie on no drawn slice; times 1 - exp(-d / 0.3 object sizes) at the distance d from
    the nearest slice of its view

what it writes to -o:
  planes.csv  the drawn and the suggested slices, for rada-make-sparse-dataset --planes
  labels/     label maps to paint on: what is drawn so far, else 0
  pictures/   where the slices lie
  Delete the lines of slices that you do not paint: a listed slice without paint says that there is no organ on it.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Suggest slices to annotate, with pictures and label maps to paint on. "
        "A run that was killed goes on when the same command is typed again; painted label maps are never overwritten.",
        epilog=_RULES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-i", type=Path, required=True, metavar="DIR", help="scans {case}_0000.nii.gz")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder to write to")
    known = parser.add_argument_group("what is known of the scans", "(nothing: the first slices are suggested)")
    known.add_argument(
        "--labels", type=Path, metavar="DIR", help="label maps {case}.nii.gz drawn so far: a few slices, or dense ones"
    )
    known.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="one folder made with nnUNetv2_predict --save_probabilities; or several folders of predictions of the "
        "same scans, such as the three networks'; or a dataset of rada-make-sparse-dataset, for its labels' confidence",
    )
    known.add_argument("--planes", type=Path, metavar="FILE", help="CSV of the planes drawn so far: case,view,index")
    known.add_argument(
        "--not-annotated", type=int, default=255, metavar="VALUE", help="of voxels nobody annotated (default 255)"
    )
    known.add_argument(
        "--label-names",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="names of the label values 1, 2, ..., as for rada-make-sparse-dataset; needed where --labels holds "
        "segmentations of 3D Slicer (.seg.nrrd) with several segments, which are told apart by their names",
    )
    first = parser.add_argument_group("where the organ lies in scans of which nothing is known")
    first.add_argument("--centres", type=Path, metavar="FILE", help="CSV: case,r,a,s; a point in the organ, in mm")
    first.add_argument(
        "--reference",
        type=Path,
        nargs=2,
        metavar=("IMAGE", "LABEL"),
        help="a scan that looks alike, and its dense label map",
    )
    parser.add_argument("--slices", type=int, default=1, metavar="N", help="next slices in each scan (default 1)")
    add_processes(parser)
    return parser


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Suggest slices for every scan of a folder."""
    args = _parser().parse_args(argv)
    processes = processes_of(args)

    from sparse_annotation_tools.suggestion.suggest import SuggestionRequest, suggest_slices

    records, left_out = suggest_slices(
        SuggestionRequest(
            images=args.i,
            output=args.o,
            labels=args.labels,
            predictions=tuple(args.predictions),
            planes_file=args.planes,
            not_annotated=args.not_annotated,
            label_names=tuple(args.label_names),
            centres_file=args.centres,
            reference=tuple(args.reference) if args.reference else None,
            slices=args.slices,
            processes=processes,
        )
    )
    print(_report(records, left_out, args.i, args.o))


def _report(records: Sequence[Record], left_out: Sequence[str], images: Path, output: Path) -> str:
    """The best suggestions over all scans, and what to do with them."""
    lines = []
    for rule in dict.fromkeys(record.rule for record in records):
        found = [(record.case, each) for record in records if record.rule == rule for each in record.suggested]
        found.sort(key=lambda pair: -pair[1].score)
        lines.append(f"{rule}: {len(found)} slices")
        for case, each in found[:_SHOWN]:
            score = f"  score {each.score:.0f}" if each.score else ""
            lines.append(
                f"  {case} {each.view} {each.index}  (Slicer {each.ras_mm} mm, ITK-SNAP {each.itk_snap}){score}"
            )
        if len(found) > _SHOWN:
            lines.append(f"  ... and {len(found) - _SHOWN} more in planes.csv")
    nothing = [record.case for record in records if not record.suggested]
    if nothing:
        lines.append(
            f"no slice to suggest in {len(nothing)} scans, as no label shows the organ on a further slice, or "
            f"nothing is in doubt: {some(nothing)}"
        )
    if left_out:
        lines.append(f"{len(left_out)} scans of {images} have no label map or prediction and were left out")
    lines += [
        f"written: {output}/planes.csv, {output}/pictures, {output}/labels",
        f"next: look at the pictures, paint the slices on the label maps, delete the lines of slices that you did not "
        f"paint, then: rada-make-sparse-dataset --labels {output}/labels --planes {output}/planes.csv ...",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
