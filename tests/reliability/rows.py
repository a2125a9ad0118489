"""All rows, in the order of the document."""

from __future__ import annotations

from reliability.row import Row
from reliability.rows_compare import COMPARE
from reliability.rows_dataset import DATASETS
from reliability.rows_evaluate import EVALUATE
from reliability.rows_make import MAKE_VOLUMES
from reliability.rows_make_other import MAKE_OTHER
from reliability.rows_models import MODELS
from reliability.rows_nnunet import NNUNET
from reliability.rows_pages import PAGES
from reliability.rows_programs import PROGRAMS
from reliability.rows_suggest import SUGGEST

ROWS: list[Row] = [
    *MAKE_VOLUMES,
    *MAKE_OTHER,
    *SUGGEST,
    *DATASETS,
    *EVALUATE,
    *PROGRAMS,
    *NNUNET,
    *MODELS,
    *PAGES,
    *COMPARE,
]
