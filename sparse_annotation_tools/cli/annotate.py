"""`rada-annotate`: paint the suggested slices of each scan in a browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_annotation_tools.cli.command import command

if TYPE_CHECKING:
    from sparse_annotation_tools.annotate.session import Session

NAME = "rada-annotate"

_FILES = """\
what it writes to -o:
  labels/{case}.nii.gz  finished slices: 0 is background, 1, 2, ... the classes, 255 everywhere nobody annotated
  planes.csv            which slices are finished
  cases.csv             all scans, those without a finished slice as unlabelled ones
  annotate/             everything that is painted, also on slices that are not finished; keep it to go on later

The same command goes on where it stopped, or was killed. Label maps that lie in the folder already are gone on from,
and so is a folder of rada-suggest-slices.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Paint the suggested slices of each scan, on a page that only this computer can open.",
        epilog=_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-i", type=Path, required=True, metavar="DIR", help="scans {case}_0000.nii.gz")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--label-names", nargs="+", metavar="CLASS", help="names of the classes 1, 2, ... (default: organ)"
    )
    parser.add_argument(
        "--channel", type=int, metavar="CHANNEL", help="image channel to show, and to carry labels by (default 0)"
    )
    parser.add_argument("--port", type=int, default=0, metavar="PORT", help="of the page (default: any free one)")
    return parser


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C."""
    args = _parser().parse_args(argv)

    from sparse_annotation_tools.annotate.server import PageServer
    from sparse_annotation_tools.annotate.session import AnnotationRequest, Session
    from sparse_annotation_tools.annotate.workers import Workers

    request = AnnotationRequest(
        images=args.i,
        output=args.o,
        label_names=tuple(args.label_names) if args.label_names else None,
        channel=args.channel,
    )
    workers = Workers(2)
    session = Session(request, workers=workers)
    with PageServer(session, args.port) as server:
        workers.start()  # they load ANTs while the person opens the page
        try:
            print(_welcome(session, server.url, server.server_port), flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            print(_farewell(session))
        finally:
            session.close()


def _welcome(session: Session, url: str, port: int) -> str:
    return "\n".join(
        [
            f"{len(session.scans)} scans; classes: {', '.join(session.classes)}",
            f"open in a browser on this computer:  {url}",
            f"from another computer, first:  ssh -L {port}:127.0.0.1:{port} THIS_COMPUTER",
            "every stroke is saved at once; end with Ctrl-C",
        ]
    )


def _farewell(session: Session) -> str:
    finished = {case: len(record.done) for case, record in session.folder.records.items() if record.done}
    if not finished:
        return "\nno slice is finished yet; the same command goes on"
    return (
        f"\n{sum(finished.values())} slices of {len(finished)} of {len(session.scans)} scans are finished: "
        f"{session.folder.labels}, {session.folder.planes_file}\nnext: {session.next_command()}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
