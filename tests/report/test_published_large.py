"""The published values of the three large sets: complete, and as their parts and the class counts have them."""

from __future__ import annotations

import pytest

from lt_core.data import FILE_LISTS
from lt_core.report.published_large import GALA_ROWS, GROUPS, ROWS, X50, Row, rows

# Rows whose "All" is farther from its parts than the rounding of four printed numbers allows (0.1): as printed.
OFF = {
    ("1", X50, "DisAlign"), ("1", X50, "OLTR"), ("2", "ResNet-50", "BBN"),
    ("3", "ResNet-152", "OLTR"), ("3", "ResNet-152", "feature augmentation"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILE_LISTS)
def test_the_groups_of_a_set_sum_to_its_published_numbers(name: str) -> None:
    known, groups = FILE_LISTS[name], GROUPS[name]
    assert sum(groups.classes) == known.classes
    assert sum(groups.images) == known.images
    many, medium, few = (images / classes for images, classes in zip(groups.images, groups.classes, strict=True))
    assert 100 < many < known.largest
    assert 20 <= medium <= 100
    assert known.smallest < few < 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.table}, {row.network}: {row.method}")
def test_a_row_is_the_sum_of_its_parts_but_for_five(row: Row) -> None:
    total = row.from_parts()
    if total is None:
        assert row.parts is None
        return
    assert (abs(total - row.top1) > 0.1) == ((row.table, row.network, row.method) in OFF)
    if row.source == "ALA":
        assert abs(total - row.top1) < 0.05


def test_rows_are_found_by_set_network_and_table() -> None:
    assert len(ROWS) == 6 + 11 + 11 + 12 + 3 + 2
    assert rows("imagenet_lt", X50)["DisAlign"].top1 == 52.6
    assert rows("imagenet_lt", table="README")["DisAlign"].top1 == 52.438
    assert set(rows("imagenet_lt", table="4")) == {"DF", "QF", "DF x LDAM's margin"}
    assert rows("inaturalist2018")["LADE"].parts is None
    assert set(GALA_ROWS) == set(GROUPS) == set(FILE_LISTS)
    assert all(plain < balanced for plain, balanced, _ in GALA_ROWS.values())
