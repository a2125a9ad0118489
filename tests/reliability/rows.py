"""All rows, in the order of the document."""

from __future__ import annotations

from reliability.row import Row
from reliability.rows_dataset import DATASETS
from reliability.rows_evaluate import EVALUATE
from reliability.rows_make import MAKE_VOLUMES
from reliability.rows_make_other import MAKE_OTHER
from reliability.rows_programs import PROGRAMS
from reliability.rows_suggest import SUGGEST

ROWS: list[Row] = [*MAKE_VOLUMES, *MAKE_OTHER, *SUGGEST, *DATASETS, *EVALUATE, *PROGRAMS]
