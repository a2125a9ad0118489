"""All rows, in the order of the document."""

from __future__ import annotations

from reliability.row import Row
from reliability.rows_make import MAKE_VOLUMES
from reliability.rows_make_other import MAKE_OTHER

ROWS: list[Row] = [*MAKE_VOLUMES, *MAKE_OTHER]
