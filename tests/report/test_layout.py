"""A record among good ones that is not whole: its key is named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from lt_core import layout, records
from lt_core.layout import fault, study_fault

from .conftest import make_record

RESULTS = Path(__file__).parents[2] / "book" / "results"


def changed(record: dict[str, Any], *place: Any, **value: Any) -> dict[str, Any]:
    """A copy with the entry at ``place`` deleted, or ``to=`` something else."""
    record = copy.deepcopy(record)
    inner: Any = record
    for key in place[:-1]:
        inner = inner[key]
    if value:
        inner[place[-1]] = value["to"]
    else:
        del inner[place[-1]]
    return record


def by_column(record: dict[str, Any]) -> dict[str, Any]:
    rows = record["epochs"]
    return rows if isinstance(rows, dict) else {key: [row[key] for row in rows] for key in rows[0]}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return make_record(loss="ala")


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("record.json")), ids=lambda p: p.parent.name)
def test_every_committed_record_is_whole(path: Path) -> None:
    record = records.load(path)
    assert fault(record) == ""
    assert fault(record | {"epochs": by_column(record)}) == ""
    if "study" in path.relative_to(RESULTS).parts:
        assert study_fault(record) == ""


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("final", "last", "top1"), {}, "final.last.top1 is missing"),
        (("final", "last"), {}, "final.last is missing"),
        (("final",), {}, "final is missing"),
        (("config", "loss"), {}, "config.loss is missing"),
        (("final",), {"to": [1]}, "final is [1]; an object is needed"),
        (("final", "last", "top1"), {"to": "high"}, "final.last.top1 is 'high'; a finite number is needed"),
        (("final", "last", "top1"), {"to": None}, "final.last.top1 is None; a finite number is needed"),
        (("final", "last", "top1"), {"to": True}, "final.last.top1 is True; a finite number is needed"),
        (("final", "last", "top1"), {"to": float("nan")}, "final.last.top1 is nan; a finite number is needed"),
        (("final", "last", "few"), {"to": "-"}, "final.last.few is '-'; a finite number or null is needed"),
        (("final", "last", "few"), {"to": None}, ""),
        (("final", "best_on_test", "ece"), {"to": None}, ""),
        (("final", "last", "per_class"), {"to": []}, "final.last.per_class is []; a list of numbers and nul"),
        (("final", "last", "per_class", 7), {"to": "x"}, "final.last.per_class is ["),
        (("environment", "commit"), {"to": None}, ""),
        (("environment", "commit"), {"to": 7}, "environment.commit is 7; a text or null is needed"),
        (("environment", "commits"), {"to": ["abc", None]}, ""),
        (("environment", "commits"), {"to": []}, "environment.commits is []; a list of texts and nulls is needed"),
        (("environment", "commits"), {"to": [7]}, "environment.commits is [7]; a list of texts and nulls is needed"),
        (("environment", "cpu_seconds"), {"to": "1"}, "environment.cpu_seconds is '1'; a finite number is needed"),
        (("environment", "torch"), {}, "environment.torch is missing"),
        (("posthoc", "adjust", "many"), {}, "posthoc.adjust.many is missing"),
        (("adjustment",), {"to": {}}, "adjustment is {}; a list is needed"),
        (("adjustment", 2, "epoch"), {}, "adjustment[2].epoch is missing"),
    ],
)
def test_the_first_wrong_key_is_named(whole: dict[str, Any], place: Any, value: Any, words: str) -> None:
    assert fault(whole) == ""
    found = fault(changed(whole, *place, **value))
    assert found.startswith(words)
    assert bool(found) == bool(words)
    assert len(found) < 200


@pytest.mark.parametrize("record", [None, [], 3, "text", {}])
def test_what_is_no_record_at_all(record: Any) -> None:
    assert fault(record)


def test_epochs_by_row_and_by_column(whole: dict[str, Any]) -> None:
    columns = {**whole, "epochs": by_column(whole)}
    assert fault(columns) == ""
    assert fault(changed(columns, "epochs", "lr")) == "epochs.lr is missing"
    assert fault(changed(columns, "epochs", "lr", 3, to=None)).startswith("epochs.lr is [")
    for name in ("top1", "few", "test_loss"):  # an epoch that was not tested
        assert fault(changed(columns, "epochs", name, 3, to=None)) == ""
    assert fault(changed(columns, "epochs", "few", 3)) == "epochs.few has another length than epochs.epoch"
    assert fault(changed(columns, "epochs", to=3)) == "epochs is 3; an object is needed"
    names, values = list(by_column(whole)), zip(*by_column(whole).values(), strict=True)
    rows = {**whole, "epochs": [dict(zip(names, row, strict=True)) for row in values]}
    assert fault(rows) == ""
    assert fault(changed(rows, "epochs", 3, "lr")) == "epochs[3].lr is missing"
    assert fault(changed(rows, "epochs", 3, to=4)) == "epochs[3] is 4; an object is needed"


def test_a_study_needs_more(whole: dict[str, Any]) -> None:
    assert study_fault(whole) == ""
    assert study_fault(changed(whole, "posthoc", "sweep", "tau")) == "posthoc.sweep.tau is missing"
    assert study_fault(changed(whole, "target_probability", "few", to=None)) == ""
    assert study_fault(changed(whole, "final", "last", "per_class", 0, to=None)).startswith("final.last.per_class is [")
    assert study_fault(changed(whole, "adjustment", 0, "DF")) == "adjustment[0].DF is missing"
    assert study_fault(changed(whole, "adjustment_per_class")) == "adjustment_per_class is missing"
    gala = make_record(loss="gala")
    assert study_fault(gala) == ""
    assert study_fault(changed(gala, "adjustment", 0, "log_theta")) == "adjustment[0].log_theta is missing"
    assert study_fault(changed(make_record(loss="ce"), "adjustment_per_class", to={})) == ""


def test_the_groups_are_the_metrics_groups() -> None:
    from lt_core.metrics import shot_groups

    assert tuple(shot_groups([500, 50, 5])) == layout.GROUPS
    assert records.GROUPS == layout.GROUPS
