"""`MethodTable`: what it refuses, and the rows that it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import lt_core as lt
from lt_core.methods import FIDELITY
from lt_core.widgets import method_table
from lt_core.widgets.base import read

STUDY = Path(__file__).parents[2] / "book" / "results" / "study"


def row(method: str, **values: Any) -> dict[str, Any]:
    texts = dict.fromkeys(method_table.TEXTS, "")
    numbers = dict.fromkeys(method_table.NUMBERS)
    return {**texts, **numbers, "method": method, "changes": [], "fidelity": "released", "seeds": 1, **values}


ROWS = [
    row("cross-entropy", top1=38.0, cost=100),
    row("mixup", top1=39.5, changes=["data"], control="cross-entropy", difference=1.5),
    row("MiSLAS", top1=44.0, changes=["data", "loss", "procedure"], fidelity="adapted", cost=110, seeds=3),
    row("LDAM", top1=36.5, changes=["loss", "network"], cost=90, recipe="of its authors"),
]


def test_rows_stand_as_given_until_something_sorts_them() -> None:
    widget = lt.widgets.MethodTable(ROWS)
    assert repr(widget) == "MethodTable(sort_by='map', descending=True, changes='any', fidelity='any')"
    assert widget.shown == ["cross-entropy", "mixup", "MiSLAS", "LDAM"]
    widget.sort_by = "top1"
    assert widget.shown == ["MiSLAS", "mixup", "cross-entropy", "LDAM"]
    widget.descending = False
    assert widget.shown == ["LDAM", "cross-entropy", "mixup", "MiSLAS"]


def test_what_is_not_known_stands_last_either_way() -> None:
    widget = lt.widgets.MethodTable(ROWS, sort_by="cost")
    assert widget.shown == ["MiSLAS", "cross-entropy", "LDAM", "mixup"]
    widget.descending = False
    assert widget.shown == ["LDAM", "cross-entropy", "MiSLAS", "mixup"]


def test_words_are_sorted_without_their_case() -> None:
    assert lt.widgets.MethodTable(ROWS, sort_by="method", descending=False).shown == [
        "cross-entropy", "LDAM", "MiSLAS", "mixup"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"changes": "loss"}, ["MiSLAS", "LDAM"]),
        ({"changes": "prediction"}, []),
        ({"fidelity": "adapted"}, ["MiSLAS"]),
        ({"search": " CROSS "}, ["cross-entropy", "mixup"]),
        ({"search": "authors"}, ["LDAM"]),
        ({"search": "data", "changes": "loss"}, ["MiSLAS"]),
    ],
)
def test_filters_and_search_keep_what_fits_all(settings: dict[str, str], shown: list[str]) -> None:
    widget = lt.widgets.MethodTable(ROWS)
    for name, value in settings.items():
        setattr(widget, name, value)
    assert widget.shown == shown


def test_the_rows_of_the_records_fit() -> None:
    rows = lt.report.systems.load_systems("short", STUDY).rows()
    assert lt.widgets.MethodTable(rows).shown == [row["method"] for row in rows]


def test_the_page_offers_every_fidelity_that_a_row_can_have() -> None:
    offered = re.search(r"const FIDELITY = (\[.*?\]);", read("method_table.js"))
    assert offered is not None
    assert json.loads(offered[1]) == [name for name in FIDELITY if name != "refused"]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("mixup", TypeError, "rows is a str"),
        ([5], TypeError, r"rows\[0\] is a int"),
        ([{k: v for k, v in ROWS[0].items() if k != "seeds"}], ValueError, r"rows\[0\] has other keys .* seeds"),
        ([row("a", rank=1)], ValueError, "differ in rank"),
        ([row("a", recipe=None)], TypeError, r"rows\[0\]\['recipe'\] is None"),
        ([row("a", top1="38")], TypeError, r"rows\[0\]\['top1'\] is '38'"),
        ([row("a", top1=float("nan"))], ValueError, r"rows\[0\]\['top1'\] is nan"),
        ([row("a", seeds=None)], TypeError, r"rows\[0\]\['seeds'\] is None"),
        ([row("a", fidelity="exact")], ValueError, r"rows\[0\]\['fidelity'\] is 'exact'"),
        ([row("a", changes=["weights"])], ValueError, r"a change of rows\[0\] is 'weights'"),
        ([row("a"), row("a")], ValueError, r"rows\[1\] is a second 'a'"),
    ],
)
def test_bad_rows(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lt.widgets.MethodTable(rows)


@pytest.mark.parametrize(("name", "value"), [("sort_by", "rank"), ("changes", "weights"), ("fidelity", "exact")])
def test_bad_choices_are_refused_live(name: str, value: str) -> None:
    widget = lt.widgets.MethodTable(ROWS)
    with pytest.raises(ValueError, match=name):
        setattr(widget, name, value)
