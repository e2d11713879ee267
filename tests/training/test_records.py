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
    accuracies = {"top1": top1, "many": 60.0, "medium": 40.0, "few": few}
    result = {"epoch": 2, **accuracies, "balanced_error": 100 - top1, "ece": 5.0, "per_class": [top1]}
    row = {"train_loss": 2.0, "test_loss": 3.0, "train_top1": 50.0, **accuracies}
    return {
        "schema": records.SCHEMA,
        "config": RunConfig(**{"dataset": "synthetic", "recipe": "short", **config}).to_dict(),
        "environment": {
            **dict.fromkeys(("python", "torch", "torchvision", "numpy"), "1.0"),
            **{"commit": "0123456789", "device": "CPU", "precision": "float32", "threads": 1, "seconds": 60.0},
        },
        "epochs": [{"epoch": 1, "lr": 1e-5, **row}, {"epoch": 2, "lr": 0.1, **row}],
        "final": {"last": result, "best_on_test": {**result, "top1": top1 + 1}},
        "posthoc": {"adjust": result, "rebalance": result},
        "adjustment": [],
    }


def test_round_trip_keeps_small_numbers_and_turns_nan_into_null(tmp_path: Path) -> None:
    record = make()
    record["epochs"][0] |= {"train_loss": 1.23456789, "few": float("nan"), "lr": 1.23456789e-5}
    records.save(record, tmp_path / "record.json")
    row = records.load(tmp_path)["epochs"][0]
    assert {key: row[key] for key in ("epoch", "lr", "train_loss", "few")} == {
        "epoch": 1, "lr": 1.23457e-5, "train_loss": 1.2346, "few": None,
    }  # fmt: skip


def test_the_configuration_is_not_rounded(tmp_path: Path) -> None:
    record = make(loss="gala", loss_options={"eps": 1.23456789e-5, "lambda_pos": 1.23456789})
    records.save(record, tmp_path / "record.json")
    assert records.load(tmp_path)["config"] == record["config"]


def test_infinity_becomes_null_in_results_and_is_refused_in_a_configuration(tmp_path: Path) -> None:
    record = make()
    for row, loss in zip(record["epochs"], (float("inf"), 1.0), strict=True):
        row["test_loss"] = loss
    records.save(record, tmp_path / "record.json")
    assert [row["test_loss"] for row in records.load(tmp_path)["epochs"]] == [None, 1.0]
    record["config"]["weight_decay"] = float("inf")
    with pytest.raises(ValueError, match="Out of range"):
        records.save(record, tmp_path / "record.json")


def test_epochs_lie_in_the_file_by_column_and_rows_are_read_too(tmp_path: Path) -> None:
    record = make()
    records.save(record, tmp_path / "record.json")
    text = (tmp_path / "record.json").read_text()
    assert '"epochs": {"epoch":[1,2],"lr":[1e-05,0.1],' in text
    assert records.load(tmp_path)["epochs"] == record["epochs"]
    old = json.loads(text) | {"schema": 1, "epochs": record["epochs"]}
    (tmp_path / "record.json").write_text(json.dumps(old))
    assert records.load(tmp_path)["epochs"] == record["epochs"]


def test_a_record_that_is_too_large_is_refused_but_not_lost(tmp_path: Path) -> None:
    large = make()
    large["epochs"] = [{**large["epochs"][0], "epoch": n, "x": "y" * 100} for n in range(300)]
    with pytest.raises(records.RecordError, match=r"at most 24576 are allowed; it was written to .*too_large\.json"):
        records.save(large, tmp_path / "record.json")
    assert [p.name for p in tmp_path.iterdir()] == ["record.too_large.json"]
    assert records.load(tmp_path / "record.too_large.json")["epochs"] == large["epochs"]


def test_an_incomplete_record_is_refused(tmp_path: Path) -> None:
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
        ('{"schema": 99}', "schema 1 or 2"),
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


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"subset_seed": 5}, "mix 2 settings"),
        ({"class_order": list(range(99, -1, -1))}, "mix 2 settings"),
        ({"schedule": "cosine", "seed": 1}, "differ in one of augmentation, schedule"),
        ({"learning_rate": 0.001, "seed": 1}, "differ in one of"),
        ({"batch_size": 16, "seed": 1}, "differ in one of"),
        ({}, "given twice"),
    ],
)
def test_a_row_is_of_one_experiment_at_several_seeds(other: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        records.accuracy_table([make(), make(**other)])
    one, two = ({**make(seed=seed), "data": {"checksum": f"{seed}abc"}} for seed in (0, 1))
    with pytest.raises(ValueError, match="mix 2 settings"):
        records.accuracy_table([one, two])


def test_a_table_does_not_mix_runs_with_and_without_held_out_images() -> None:
    plain, held_out = (
        make(dataset="digits_lt", strategy="l2rw", strategy_options=options) for options in ({}, {"meta_per_class": 10})
    )
    with pytest.raises(ValueError, match="mix 2 settings"):
        records.accuracy_table([plain, held_out])
    assert len(records.accuracy_table([held_out])) == 1


def test_labels() -> None:
    assert records.label(make(loss="ce", classifier="cosine")) == "cross-entropy (cosine)"
    assert records.label(make(loss="gala", loss_options={"lambda_pos": 1.2})) == "GALA (lambda_pos 1.2)"
    assert records.label(make(loss="ce", strategy="sam")) == "cross-entropy (strategy sam)"
    assert records.label(make(loss="ce", strategy="sam", strategy_options={"rho": 0.5})) == (
        "cross-entropy (rho 0.5, strategy sam)"
    )
    assert records.label(make(loss="gala", classifier="cosine")) == "GALA (cosine)"
    assert records.label(make(loss="ala", classifier="cosine")) == "ALA"


def test_find_results_walks_up_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "book" / "part1").mkdir()
    assert records.find_results(tmp_path / "book" / "part1") == tmp_path / "book" / "results"
    assert records.find_results("/") == RESULTS  # those beside the package, where a notebook lies elsewhere
    monkeypatch.setattr(records, "__file__", str(tmp_path / "site-packages" / "lt_core" / "records.py"))
    with pytest.raises(records.RecordError, match="clone of the book"):
        records.find_results("/")


RESULTS = Path(__file__).parents[2] / "book" / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("record.json")), ids=lambda p: p.parent.name)
def test_committed_records_are_whole_and_name_their_run(path: Path) -> None:
    record = records.load(path)
    assert path.stat().st_size <= records.MAX_BYTES
    config = RunConfig.from_stored(record["config"])
    if config.class_order is None:
        assert path.parent.name == config.run_name
    elif path.parent.name != config.run_name:  # a number stands for the order's check sum
        assert path.parent.name[:-1] == config.run_name[:-8]
    assert config.recipe == path.parent.parent.name
    records.check_commits(record, path)
    last = record["final"]["last"]
    assert last["epoch"] == config.epochs == record["epochs"][-1]["epoch"]
    assert sum(last["per_class"]) / len(last["per_class"]) == pytest.approx(last["top1"], abs=0.06)


def kept(folder: Path, name: str, **environment: Any) -> Path:
    path = folder / "short" / name / "record.json"
    records.save({**make(), "environment": {**make()["environment"], "commit": "abc", **environment}}, path)
    return path


def test_collect_copies_what_can_be_kept_and_names_what_cannot(tmp_path: Path) -> None:
    runs, into = tmp_path / "runs", tmp_path / "results"
    good = kept(runs, "good")
    kept(runs, "dirty", commit="abc-dirty")
    kept(runs, "resumed", commit="abc", commits=["abc", "def-dirty"])
    kept(runs, "unknown", commit=None)
    kept(runs, "damaged").write_text("{")
    kept(runs, "without")
    copied, left = records.collect(runs, into, ["short/without"])
    assert copied == [str(into / "short" / "good" / "record.json")]
    assert (into / "short" / "good" / "record.json").read_bytes() == good.read_bytes()
    assert [p.name for p in (into / "short").iterdir()] == ["good"]
    said = "\n".join(left)
    assert len(left) == 5
    for text in (
        "dirty/record.json names the commit 'abc-dirty'",
        "resumed/record.json names the commit 'def-dirty'",
        "unknown/record.json names the commit None",
        "damaged/record.json is not a readable record",
        "without/probabilities.npz",
    ):
        assert text in said
    assert records.collect(runs, into)[0] == [str(into / "short" / "without" / "record.json")]  # what is new
    with pytest.raises(records.RecordError, match="short/none is not a finished run"):
        records.collect(runs, into, ["short/none"])


def test_the_commit_is_that_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What git says later, when somebody has changed the checkout, is not asked."""
    first = records.git_commit()
    monkeypatch.setattr(records.subprocess, "run", lambda *_, **__: pytest.fail("git was asked again"))
    assert records.git_commit() == first


def test_results_stay_small() -> None:
    assert sum(p.stat().st_size for p in RESULTS.rglob("*") if p.is_file()) <= 8 * 2**20


def test_dumps_is_json_and_does_not_change_its_input() -> None:
    record = make()
    before = copy.deepcopy(record)
    assert json.loads(records.dumps(record))["schema"] == records.SCHEMA
    assert record == before
