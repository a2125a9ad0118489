"""Scans of a folder that a person opens and paints in a page; each change is on disk before the answer.

One page at a time may change things. Nothing here knows of HTTP.
"""

from __future__ import annotations

import shlex
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_annotation_tools.annotate.adoption import adopt, read_geometry
from sparse_annotation_tools.annotate.folder import OutputFolder, Record
from sparse_annotation_tools.annotate.open_scan import OpenScan, RefusedError
from sparse_annotation_tools.annotate.paint import Paint
from sparse_annotation_tools.annotate.preview import Previewer, Propagate
from sparse_annotation_tools.annotate.viewer_frame import ViewerFrame
from sparse_annotation_tools.annotate.workers import Workers
from sparse_annotation_tools.dataset.sources import unlabelled_cases
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.label_reading import check_label_names
from sparse_annotation_tools.files.volumes import read_volume
from sparse_annotation_tools.propagation.chain import propagate
from sparse_annotation_tools.report.palette import class_colour
from sparse_annotation_tools.slices.planes import axes_of_scan

DEFAULT_CLASSES = ("organ",)


@dataclass(frozen=True, kw_only=True)
class AnnotationRequest:
    """What the user wants annotated.

    Attributes:
        images: folder of scans.
        output: folder to write to.
        label_names: names of the classes 1, 2, ...; None for those of an earlier run.
        channel: image channel to show and to register; None for that of an earlier run.
    """

    images: Path
    output: Path
    label_names: tuple[str, ...] | None = None
    channel: int | None = None


class Session:
    """One folder of scans that is being annotated."""

    def __init__(
        self,
        request: AnnotationRequest,
        *,
        workers: Workers,
        propagate: Propagate = propagate,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Lock the output folder and go on from what lies in it; `tell` is called with lines for the terminal.

        Raises:
            UserError: the inputs are unfit, or another process annotates into the same folder.
        """
        self.scans = {files.case: files for files in unlabelled_cases(request.images, option="-i")}
        self.images = request.images
        self.folder = OutputFolder(root=request.output)
        self.folder.lock()
        try:
            self._take_up(request, tell)
        except BaseException:
            self.folder.unlock()
            raise
        self._workers = workers
        self._propagate = propagate
        self._lock = threading.RLock()
        self._open: OpenScan | None = None
        self.changed = threading.Condition()
        self._page: str | None = None

    def _take_up(self, request: AnnotationRequest, tell: Callable[[str], None]) -> None:
        """Go on from what lies in the output folder; finish what a killed program left."""
        self.classes, self.channel = self._settings(request)
        self.folder.load(self.scans)
        for line in adopt(self.folder, self.scans, self.class_values):
            tell(line)
        self.folder.write_settings(self.classes, self.channel)
        for case, record in list(self.folder.records.items()):
            if not self.folder.is_exported(case):
                geometry = read_geometry(self.scans[case].images[0])
                self.folder.export(case, Paint.of(record.shape, record.slices), geometry)
        self.folder.write_planes()
        self.folder.write_cases(self.scans)

    @property
    def class_values(self) -> dict[str, int]:
        """Value of each class by name."""
        return {name: value for value, name in enumerate(self.classes, start=1)}

    def take_page(self, page: str) -> None:
        """Let this page, and no other, change things from now on."""
        with self._lock:
            self._page = page
            if self._open is not None:
                self._open.heard.clear()

    def overview(self) -> dict[str, Any]:
        """Return everything but the voxels, as JSON values."""
        with self._lock:
            scans = [{"case": case, **self._progress(self.folder.records.get(case))} for case in sorted(self.scans)]
            colours = [class_colour(value) for value in self.class_values.values()]
            classes = [
                {"name": name, "value": value, "colour": colour}
                for (name, value), colour in zip(self.class_values.items(), colours, strict=True)
            ]
            return {"classes": classes, "scans": scans, "command": self.next_command()}

    def open(self, page: str, case: str) -> dict[str, Any]:
        """Show a scan; return its grid as the viewer has it, its slices and its preview.

        Raises:
            RefusedError: there is no such scan, or another page has taken over.
            UserError: its image cannot be read.
        """
        with self._lock:
            self._check_page(page)
            if case not in self.scans:
                raise RefusedError(f"there is no scan {case}")
            if self._open is None or self._open.case != case:
                if self._open is not None:
                    self._open.previewer.stop()
                self._open = self._load(case)
                self._open.update_preview()
            scan = self._open
            if not scan.paint.slices:
                scan.suggest()
                self.folder.keep(case, scan.paint)
            return {**scan.grid(), **scan.describe()}

    def image(self, case: str) -> bytes:
        """Return the shown channel as a NIfTI file in the viewer's frame."""
        return self._current(case).image()

    def painted(self, case: str) -> bytes:
        """Return what is painted, uint8 in the viewer's order."""
        with self._lock:
            return self._current(case).painted()

    def preview_layer(self, case: str, view: str | None, index: int) -> bytes:
        """Return the fused label, or that carried from one slice, as a NIfTI file in the viewer's frame.

        Raises:
            RefusedError: it is not computed yet.
        """
        return self._current(case).preview_layer(view, index)

    def preview_state(self) -> dict[str, Any]:
        """Return which scan is open and how far its preview is."""
        scan = self._open
        return {} if scan is None else {"case": scan.case, "preview": scan.preview_state()}

    def pixels_of(self, case: str, view: str) -> tuple[int, int]:
        """Return the height and width of the slices of a view, as the viewer's array has them."""
        return self._current(case).pixels_of(view)

    def save(self, page: str, case: str, view: str, index: int, number: int, drawn: NDArray[np.uint8]) -> bool:
        """Keep what is painted on a slice; return False if a later change of it is known already.

        Args:
            page: which page says so.
            case: the open scan.
            view: of the slice.
            index: of the slice on the scan's array.
            number: of this change; the page counts its changes.
            drawn: classes in the viewer's order.

        Raises:
            RefusedError: another page has taken over, the slice is finished or not chosen, or holds an unknown class.
        """
        with self._lock:
            scan = self._for_change(page, case)
            changed = scan.draw(view, index, number, drawn, len(self.classes))
            if changed is None:
                return False
            self.folder.keep(case, scan.paint)
            if changed:  # a line of a finished slice
                self._export(scan)
                scan.update_preview()
            return True

    def act(self, page: str, case: str, action: str, view: str, index: int, number: int) -> dict[str, Any]:
        """Do something with a slice: `add`, `remove`, `finish`, `empty` or `reopen`; or `suggest` one more.

        Returns:
            The scan, as `OpenScan.describe`.

        Raises:
            RefusedError: it cannot be done; the message says why.
        """
        with self._lock:
            scan = self._for_change(page, case)
            if action in ("finish", "empty", "reopen"):
                self.folder.check_mine(case)
            changed = scan.act(action, view, index, number)
            self.folder.keep(case, scan.paint)
            if changed:
                self._export(scan)
                scan.update_preview()
            return scan.describe()

    def next_command(self) -> str:
        """Return what to type when the slices are painted."""
        made = [case for case in self.scans if case in self.folder.records and self.folder.records[case].done]
        if len(made) == len(self.scans):
            inputs = ["--images", str(self.images), "--labels", str(self.folder.labels)]
        else:
            inputs = ["--cases", str(self.folder.cases_file)]
        words = ["rada-make-sparse-dataset", "-d", "101", "-n", "Annotated", *inputs]
        words += ["--planes", str(self.folder.planes_file), "--label-names", *self.classes]
        if self.channel:
            words += ["--registration-channel", str(self.channel)]
        return shlex.join(words)

    def close(self) -> None:
        """Let the processes end, and others into the folder."""
        self._workers.close()
        self.folder.unlock()

    def _settings(self, request: AnnotationRequest) -> tuple[tuple[str, ...], int]:
        """Return the classes and the channel: as asked for, else as before, else the default."""
        before = self.folder.settings()
        known = tuple(before["classes"]) if before else ()
        classes = request.label_names or known or DEFAULT_CLASSES
        check_label_names(classes)
        if classes[: len(known)] != known:
            raise UserError(
                f"{request.output} was painted with --label-names {' '.join(known)}; leave --label-names out, "
                "append to them, or give another -o"
            )
        channel = request.channel if request.channel is not None else before["channel"] if before else 0
        channels = min(len(files.images) for files in self.scans.values())
        if not 0 <= channel < channels:
            raise UserError(f"--channel is {channel}, but the images have 0 to {channels - 1}")
        return classes, channel

    def _load(self, case: str) -> OpenScan:
        path = self.scans[case].images[self.channel]
        volume = read_volume(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oblique scans, as rada-make-sparse-dataset will
            axes = axes_of_scan(path, volume.geometry.direction)
            frame = ViewerFrame.of(volume.geometry)
        record = self.folder.records.get(case)
        if record is not None and record.shape != volume.array.shape:
            raise UserError(f"{path} has shape {volume.array.shape}, but was painted with {record.shape}; restore it")
        return OpenScan(
            case=case,
            volume=volume,
            axes=axes,
            frame=frame,
            paint=Paint.of(volume.geometry.shape, record.slices if record else ()),
            previewer=Previewer(volume, self._workers, self._announce, self._propagate),
        )

    def _export(self, scan: OpenScan) -> None:
        try:
            self.folder.export(scan.case, scan.paint, scan.volume.geometry)
        finally:
            self.folder.write_cases(self.scans)

    def _announce(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _current(self, case: str) -> OpenScan:
        scan = self._open
        if scan is None or scan.case != case:
            raise RefusedError(f"scan {case} is not open")
        return scan

    def _for_change(self, page: str, case: str) -> OpenScan:
        self._check_page(page)
        return self._current(case)

    def _check_page(self, page: str) -> None:
        if page != self._page:
            raise RefusedError("This page is not the one that paints; reload it.")

    @staticmethod
    def _progress(record: Record | None) -> dict[str, Any]:
        slices = record.slices if record is not None else ()
        done = sum(each.done for each in slices)
        begun = done or any(each.drawn is not None and each.drawn.any() for each in slices)
        state = "done" if slices and done == len(slices) else "part" if begun else "todo"
        return {"state": state, "done": done, "slices": len(slices) or 3}
