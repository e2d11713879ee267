"""Run records: reading, writing, tables."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from lt_core import records
from lt_core.training import RunConfig


def make(top1: float = 40.0, few: float | None = 10.0, **config: Any) -> dict[str, Any]:
    result = {"epoch": 2, "top1": top1, "many": 60.0, "medium": 40.0, "few": few, "per_class": [top1]}
    return {
        "schema": records.SCHEMA,
        "config": RunConfig(recipe="short", **config).to_dict(),
        "environment": {},
        "epochs": [{"epoch": 1, "lr": 1e-5}, {"epoch": 2, "lr": 0.1}],
        "final": {"last": result, "best_on_test": {**result, "top1": top1 + 1}},
        "posthoc": {},
        "adjustment": [],
    }


def test_round_trip_keeps_small_numbers_and_turns_nan_into_null(tmp_path: Path) -> None:
    record = make()
    record["epochs"][0] |= {"train_loss": 1.23456789, "few": float("nan"), "lr": 1.23456789e-5}
    records.save(record, tmp_path / "record.json")
    row = records.load(tmp_path)["epochs"][0]
    assert row == {"epoch": 1, "lr": 1.23457e-5, "train_loss": 1.2346, "few": None}


def test_the_configuration_is_not_rounded(tmp_path: Path) -> None:
    record = make(loss="gala", loss_options={"eps": 1.23456789e-5, "lambda_pos": 1.23456789})
    records.save(record, tmp_path / "record.json")
    assert records.load(tmp_path)["config"] == record["config"]


def test_infinity_is_refused(tmp_path: Path) -> None:
    record = make()
    record["epochs"][0]["train_loss"] = float("inf")
    with pytest.raises(ValueError, match="Out of range"):
        records.save(record, tmp_path / "record.json")


def test_a_record_that_is_too_large_or_incomplete_is_refused(tmp_path: Path) -> None:
    large = make()
    large["epochs"] = [{"epoch": n, "x": "y" * 100} for n in range(200)]
    with pytest.raises(records.RecordError, match="at most 16384"):
        records.save(large, tmp_path / "record.json")
    with pytest.raises(records.RecordError, match="lacks posthoc"):
        records.save({k: v for k, v in make().items() if k != "posthoc"}, tmp_path / "record.json")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    records.save(make(), path)
    before = path.read_text()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        records.save(make(50.0), path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no record"),
        ("{", "not a readable record"),
        ("[]", "not a run record"),
        ('{"schema": 99}', "schema 1"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "record.json").write_text(text)
    with pytest.raises(records.RecordError, match=message):
        records.load(tmp_path)


def test_load_all_is_ordered_and_refuses_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(records.RecordError, match="no record"):
        records.load_all(tmp_path)
    for name, top1 in (("b", 2.0), ("a", 1.0)):
        records.save(make(top1), tmp_path / name / "record.json")
    assert [r["final"]["last"]["top1"] for r in records.load_all(tmp_path)] == [1.0, 2.0]


def test_table_gives_mean_and_sample_deviation_over_seeds() -> None:
    runs = [make(40.0), make(42.0, seed=1), make(45.0, few=None, loss="ldam", drw=True)]
    table = records.accuracy_table(runs)
    assert table.index.tolist() == ["cross-entropy", "LDAM-DRW"]
    assert table.loc["cross-entropy", "top1"] == "41.0 ± 1.4"
    assert table.loc["cross-entropy", "few"] == "10.0 ± 0.0"
    assert table.loc["LDAM-DRW", "top1"] == "45.0"
    assert table.loc["LDAM-DRW", "few"] == "–"
    assert records.accuracy_table(runs, "best_on_test").loc["LDAM-DRW", "top1"] == "46.0"


@pytest.mark.parametrize("other", [{"imbalance_factor": 50}, {"epochs": 7}, {"dataset": "cifar10_lt"}])
def test_a_table_never_mixes_settings(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mix 2 settings"):
        records.accuracy_table([make(), make(**other)])
    with pytest.raises(ValueError, match="which is 'best'"):
        records.accuracy_table([make()], "best")


def test_labels() -> None:
    assert records.label(make(loss="ce", classifier="cosine")) == "cross-entropy (cosine)"
    assert records.label(make(loss="gala", loss_options={"lambda_pos": 1.2})) == "GALA (lambda_pos 1.2)"
    assert records.label(make(loss="gala", classifier="cosine")) == "GALA (cosine)"
    assert records.label(make(loss="ala", classifier="cosine")) == "ALA"


def test_find_results_walks_up_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "book" / "part1").mkdir()
    assert records.find_results(tmp_path / "book" / "part1") == tmp_path / "book" / "results"
    with pytest.raises(records.RecordError, match="clone of the book"):
        records.find_results("/")


RESULTS = Path(__file__).parents[2] / "book" / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("record.json")), ids=lambda p: p.parent.name)
def test_committed_records_are_whole_and_name_their_run(path: Path) -> None:
    record = records.load(path)
    assert path.stat().st_size <= records.MAX_BYTES
    config = RunConfig.from_dict(record["config"])
    if config.class_order is None:
        assert path.parent.name == config.run_name
    elif path.parent.name != config.run_name:  # a number stands for the order's check sum
        assert path.parent.name[:-1] == config.run_name[:-8]
    assert config.recipe == path.parent.parent.name
    environment = record["environment"]
    assert environment["commit"], "the commit is not recorded"
    assert not environment["commit"].endswith("-dirty"), "the code had uncommitted changes"
    last = record["final"]["last"]
    assert last["epoch"] == config.epochs == record["epochs"][-1]["epoch"]
    assert sum(last["per_class"]) / len(last["per_class"]) == pytest.approx(last["top1"], abs=0.06)


def test_results_stay_small() -> None:
    assert sum(p.stat().st_size for p in RESULTS.rglob("*") if p.is_file()) <= 8 * 2**20


def test_dumps_is_json_and_does_not_change_its_input() -> None:
    record = make()
    before = copy.deepcopy(record)
    assert json.loads(records.dumps(record))["schema"] == records.SCHEMA
    assert record == before
