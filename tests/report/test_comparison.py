"""One run beside others: the rows, the differences, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lt_core.cli import table
from lt_core.report.comparison import check_comparable, comparison
from lt_core.training import RunConfig


def make(top1: float, few: float | None, **config: Any) -> dict[str, Any]:
    last = {"epoch": 40, "top1": top1, "many": 98.0, "medium": 90.0, "few": few, "ece": 1.0}
    best = {**last, "epoch": 39, "top1": 99.9, "few": 99.9}  # must not be what is compared
    return {"config": RunConfig(**config).to_dict(), "final": {"last": last, "best_on_test": best}}


OTHERS = {"runs/ce": make(70.25, 50.0), "runs/la": make(81.0, None, loss="la")}


def test_rows_differences_and_their_signs() -> None:
    record = make(80.0, 75.5, loss="balanced_softmax")
    rows, differences, notes = comparison(record, OTHERS)
    assert {name: (row["top1"], row["few"]) for name, row in rows.items()} == {
        "cross-entropy (runs/ce)": (70.25, 50.0),
        "logit-adjusted (runs/la)": (81.0, None),
    }
    assert differences == {
        "points more than runs/ce": {"top1": 9.75, "many": 0.0, "medium": 0.0, "few": 25.5},
        "points more than runs/la": {"top1": -1.0, "many": 0.0, "medium": 0.0, "few": None},
    }
    assert notes == []
    lines = table({"epoch 40 (last)": record["final"]["last"], **rows}, differences).splitlines()
    assert [line.split()[-4:] for line in lines] == [
        ["top1", "many", "medium", "few"],
        ["80.00", "98.00", "90.00", "75.50"],
        ["70.25", "98.00", "90.00", "50.00"],
        ["81.00", "98.00", "90.00", "–"],
        ["+9.75", "+0.00", "+0.00", "+25.50"],
        ["-1.00", "+0.00", "+0.00", "–"],
    ]


def test_without_others_there_is_nothing() -> None:
    assert comparison(make(80.0, 75.5), {}) == ({}, {}, [])


def test_what_differs_beside_the_loss_is_said() -> None:
    record = make(80.0, 75.5, loss="ala", seed=1)
    (note,) = comparison(record, {"runs/ce": make(70.0, 50.0, loss_options={"weight": [1.0] * 10})})[2]
    assert note.startswith("runs/ce differs in more than the loss: ")
    assert note.endswith("classifier 'linear' there, 'cosine' here, seed 0 there, 1 here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "synthetic"}, "compared: it has another dataset ('digits_lt' there, 'synthetic' here)"),
        ({"imbalance_factor": 50}, "another imbalance_factor (100 there, 50 here)"),
        ({"subset_seed": 1}, "another subset_seed (0 there, 1 here)"),
        ({"class_order": tuple(range(9, -1, -1))}, "another class_order"),
        (
            {"strategy": "l2rw", "strategy_options": {"meta_per_class": 10}},
            "another meta_per_class (None there, 10 here)",
        ),
    ],
)
def test_runs_on_other_data_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="runs/ce") as caught:
        check_comparable(RunConfig(**values), OTHERS)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_runs_on_other_files_are_refused() -> None:
    one, two = ({**make(80.0, 50.0), "data": {"checksum": name}} for name in ("aaa", "bbb"))
    comparison(one, {"runs/same": one})
    with pytest.raises(ValueError, match="runs/other cannot be compared: its data are others"):
        comparison(one, {"runs/other": two})
