"""The rows of the paper's tables."""

from __future__ import annotations

import pytest

from nnunetv2_rada.compare.paper import DATASETS, find
from nnunetv2_rada.compare.rows import TABLES, Table, select_rows, select_tables
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.errors import UserError


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_row_has_a_trainer_and_a_name_of_its_own(table: Table) -> None:
    """Names are what --methods takes."""
    names = [row.name.lower() for row in table.rows]
    assert len(set(names)) == len(names)
    assert {row.trainer_class for row in table.rows} <= set(TRAINERS)


def test_one_name_means_one_row_in_all_tables() -> None:
    """A run of one table serves the others."""
    rows = {}
    for table in TABLES.values():
        for row in table.rows:
            assert rows.setdefault(row.name, row) == row


@pytest.mark.parametrize(("name", "count"), [("I", 9), ("IV", 4), ("VII", 4), ("VIII", 22), ("fig4", 2), ("fig5", 1)])
def test_every_number_of_the_paper_has_a_row(name: str, count: int) -> None:
    """Of LA2018: all of its rows, and what the text says of the figures."""
    table = TABLES[name]
    found = [find("LA", table.paper_tables, entry.paper) for entry in table.entries]
    assert sum(result is not None for result in found) == count


def test_the_papers_numbers_are_those_of_the_dataset() -> None:
    """RADA on each of the three, by the same row."""
    entry = TABLES["I"].entries[0]
    dice = {}
    for dataset in DATASETS:
        result = find(dataset, TABLES["I"].paper_tables, entry.paper)
        assert result is not None
        dice[dataset] = result.mean["dice"]
    assert dice == {"LA": 0.8652, "KiTS": 0.9448, "LiTS": 0.9363}
    assert find(None, TABLES["I"].paper_tables, entry.paper) is None


def test_tables_of_the_other_datasets_are_the_same_rows() -> None:
    """II and III are Table I, V and VI are Table IV."""
    assert select_tables(["III", "V"]) == [TABLES["I"], TABLES["IV"]]
    assert select_tables(["all"]) == list(TABLES.values())


def test_a_row_that_no_table_has_is_refused_with_the_known_ones() -> None:
    """Names are taken in any case."""
    assert [row.name for row in select_rows([TABLES["I"]], ["rada", "mt-sa"])] == ["RADA", "MT-SA"]
    with pytest.raises(UserError, match=r"nnU-Netty.*rows are RADA, SGTC"):
        select_rows([TABLES["I"]], ["nnU-Netty"])
