"""Training curves kept in nnU-Net's own log, one value per epoch and name, so that checkpoints carry them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparse_annotation_tools.files.atomic import write_json
from sparse_annotation_tools.report.curves import plot_curves

_PREFIX = "rada/"


class Curves:
    """A view of nnU-Net's local log that holds only our own curves.

    Args:
        log: nnU-Net's dict of lists, one value per epoch. Loading a checkpoint replaces it: build a new view then.
    """

    def __init__(self, log: dict[str, list[Any]]) -> None:
        self._log = log

    def append(self, name: str, value: float, epoch: int) -> None:
        """Keep one value of one epoch; epochs without a value are NaN."""
        values = self._log.setdefault(_PREFIX + name, [])
        del values[epoch:]
        values.extend([math.nan] * (epoch - len(values)))
        values.append(value)

    def forget_from(self, epoch: int) -> None:
        """Drop what an unfinished epoch had logged, nnU-Net's own values included: it is logged anew."""
        for values in self._log.values():
            del values[epoch:]

    def as_dict(self) -> dict[str, list[float]]:
        """Return every curve by name."""
        return {
            name.removeprefix(_PREFIX): list(values) for name, values in self._log.items() if name.startswith(_PREFIX)
        }

    def log(self, write_line: Callable[..., None]) -> None:
        """Write the latest value of every curve as one line."""
        write_line(", ".join(f"{name} {values[-1]:.4g}" for name, values in self.as_dict().items()))

    def write(self, folder: Path) -> None:
        """Write curves.json and curves.png."""
        curves = self.as_dict()
        finite = {
            name: [value if math.isfinite(value) else None for value in values] for name, values in curves.items()
        }
        write_json(folder / "curves.json", finite)
        plot_curves(curves, folder / "curves.png")
