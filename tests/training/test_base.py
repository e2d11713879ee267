"""A second stage and the run that it starts from: found, trained, refused; in a grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from lt_core import methods, records
from lt_core.cli import app
from lt_core.training import RunConfig, TrainingError, base, devices, engine, grid, train
from lt_core.training.checkpoint import load_checkpoint
from lt_core.training.grid import run_grid

RESULTS = Path(__file__).parents[2] / "book" / "results"
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    train(RunConfig(**SETTING, epochs=2), folder, progress=False)
    return folder


def test_features_stay_and_the_record_names_the_base(first: Path, tmp_path: Path) -> None:
    run = RunConfig(**SETTING, method="crt", epochs=2)
    record = train(run, tmp_path / "run", progress=False, base=first)
    before, after = load_checkpoint(first)["model"], load_checkpoint(tmp_path / "run")["model"]
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (not name.startswith("classifier.")), name
    assert record["base"]["run"] == "short/digits_lt-ce-e2-b64-if100-s0"
    assert record["base"]["checksum"] == base.weights_checksum(before)
    assert record["base"]["top1"] == records.load(first)["final"]["last"]["top1"]


def test_batchnorm_in_training_mode_moves_the_statistics_alone(first: Path, tmp_path: Path) -> None:
    options = {"batchnorm": "train"}
    run = RunConfig(**SETTING, strategy="crt", strategy_options=options, sampler="class_balanced", epochs=1)
    train(run, tmp_path / "run", progress=False, base=first)
    before, after = load_checkpoint(first)["model"], load_checkpoint(tmp_path / "run")["model"]
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name for name in moved if "running" in name or "num_batches" in name}
    assert all("running" in name or "num_batches" in name or name.startswith("classifier.") for name in moved)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """What a second stage without a base trains first: two epochs of it."""
    short = RunConfig(**SETTING, epochs=2)
    monkeypatch.setattr(base, "base_config", lambda config: short)
    return short


def test_without_a_base_it_is_trained_first_and_an_interruption_there_is_resumed(
    short: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunConfig(**SETTING, method="crt", epochs=1)
    record = train(run, tmp_path / "a", progress=False)
    assert records.load(tmp_path / "a" / "base")["config"]["loss"] == "ce"
    assert record["base"]["run"] == f"short/{short.run_name}"

    original, epochs = engine.Trainer.run_epoch, []

    def interrupted_once(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
        epochs.append((self.config.method, self.epoch))
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return original(self, bar)

    monkeypatch.setattr(engine.Trainer, "run_epoch", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "b", progress=False)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(run, tmp_path / "b", progress=False)
    again = train(run, tmp_path / "b", progress=False, resume=True)
    assert epochs == [(None, 0), (None, 1), (None, 1), ("crt", 0)]  # the base goes on where it was, then the run begins
    assert again["final"] == record["final"]
    assert again["base"]["checksum"] == record["base"]["checksum"]


def test_the_base_of_a_method_is_its_first_stage_with_the_same_seeds() -> None:
    run = RunConfig(dataset="digits_lt", recipe="short", method="crt", seed=3, subset_seed=2, epochs=7)
    first = base.base_config(run)
    assert (first.seed, first.subset_seed, first.loss, first.epochs) == (3, 2, "ce", 40)
    assert (first.strategy, first.batch_size) == ("plain", 128)


def test_a_base_has_the_batch_size_and_the_pretrained_network_of_its_run() -> None:
    assert base.base_config(RunConfig(method="mislas", batch_size=48)).batch_size == 48
    run = RunConfig(dataset="folder", backbone="resnet50", pretrained=True, method="crt")
    assert base.base_config(run).pretrained


@pytest.mark.parametrize("progress", [True, "lines", False])
def test_both_stages_are_announced(progress: bool | str, short: RunConfig, capsys: pytest.CaptureFixture) -> None:
    train(RunConfig(**SETTING, method="crt", epochs=1), progress=progress)
    said = [line for line in capsys.readouterr().err.splitlines() if " stage: " in line]
    both = [f"first stage: {short.run_name}, 2 epochs", "second stage: digits_lt-crt-e1-b64-if100-s0, 1 epochs"]
    assert said == (both if progress else [])


def test_what_the_second_stage_refuses_is_said_before_the_first_is_trained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a step of 'bals' cannot be compiled"):
        train(RunConfig(**SETTING, method="bals"), tmp_path / "run", progress=False, compile="on")
    assert not (tmp_path / "run" / "base").exists()
    run = RunConfig(**SETTING, strategy="disalign", loss_options={"weight": [1.0] * 10})
    with pytest.raises(TrainingError, match="'disalign' sets class weights itself"):
        train(run, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "base").exists()


@pytest.mark.parametrize(
    ("values", "folder", "message"),
    [
        ({"method": "ce"}, True, "'ce' starts from no other run"),
        ({"method": "crt", "imbalance_factor": 50}, True, "has imbalance_factor 100, but this run has 50"),
        ({"method": "crt", "base": "short/other-s0"}, True, "starts from short/other-s0, but .* holds short/digits"),
        ({"method": "crt", "base": "short/other-s0"}, False, "say where that is with --from"),
        ({"method": "mislas"}, True, "'mislas' starts from a run with mixing 'mixup', but that in .* has 'none'"),
        ({"method": "mixup_crt"}, True, "'mixup_crt' starts from a run with mixing 'mixup', but that in .* has 'none'"),
        ({"method": "gcl"}, True, "'gcl' starts from a run with loss 'gcl', but that in .* has 'ce'"),
        ({"method": "lfme"}, True, "'lfme' starts from a run with strategy 'lfme_experts', but .* has 'plain'"),
        ({"strategy": "lfme"}, True, "'lfme' starts from a run with strategy 'lfme_experts', but .* has 'plain'"),
    ],
)
def test_a_base_that_does_not_fit_is_named(
    values: dict[str, Any], folder: bool, message: str, first: Path, tmp_path: Path
) -> None:
    run = RunConfig(**SETTING, epochs=1, **values)
    with pytest.raises(TrainingError, match=message):
        train(run, tmp_path / "run", progress=False, base=first if folder else None)


def test_a_method_takes_no_other_methods_base_and_a_strategy_takes_it(tmp_path: Path) -> None:
    train(RunConfig(**SETTING, loss="balanced_softmax", epochs=1), tmp_path / "balanced", progress=False)
    message = "'pc_softmax' starts from a run with loss 'ce', but that in .*balanced has 'balanced_softmax'"
    with pytest.raises(TrainingError, match=message):
        base.load_base(tmp_path / "balanced", RunConfig(**SETTING, method="pc_softmax"))
    loaded = base.load_base(tmp_path / "balanced", RunConfig(**SETTING, strategy="pc_softmax"))
    assert loaded.facts["run"] == "short/digits_lt-balanced_softmax-e1-b64-if100-s0"


@pytest.mark.parametrize("values", [{"method": "mixup"}, {"mixing": "mixup"}])
def test_a_base_is_known_by_its_settings_and_not_by_its_name(values: dict[str, Any], tmp_path: Path) -> None:
    train(RunConfig(**SETTING, **values, epochs=1), tmp_path / "mixup", progress=False)
    assert base.load_base(tmp_path / "mixup", RunConfig(**SETTING, method="mislas")).weights


def test_the_recorded_second_stages_started_from_their_methods_first_stages() -> None:
    """By the settings of that run where its record is committed, too, else by its name."""
    compared = 0
    for path in sorted(RESULTS.glob("systems*/*/*/record.json")):
        record = records.load(path)
        if "base" not in record:
            continue
        name, config = record["base"]["run"], RunConfig.from_stored(record["config"])
        needed = base.base_config(config)
        places = [place / name for place in (path.parents[2], RESULTS / "study") if (place / name).exists()]
        if not places:
            assert name == f"{config.recipe}/{needed.run_name}"
            continue
        there = RunConfig.from_stored(records.load(places[0])["config"])
        assert [key for key in methods.DECIDED if getattr(there, key) != getattr(needed, key)] == [], path
        compared += 1
    assert compared > 60


def test_an_unfinished_base_is_refused(first: Path, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch\n1\n")
    with pytest.raises(TrainingError, match=r"needs a finished run: .*the run is not finished"):
        train(RunConfig(**SETTING, method="crt", epochs=1), tmp_path / "run", progress=False, base=tmp_path)
    with pytest.raises(ValueError, match="from is 'here'; RECIPE/RUN is needed"):
        RunConfig(method="crt", base="here")
    with pytest.raises(ValueError, match="strategy 'plain' starts from no other run"):
        RunConfig(method="ce", base="short/ce-if100-s0")


def test_the_command_line_names_the_base_in_the_configuration(first: Path, tmp_path: Path) -> None:
    command = ["train", "--method", "crt", "--dataset", "digits_lt", "--recipe", "short", "--batch-size", "64"]
    command += ["--epochs", "1", "--from", str(first), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "note: the base in" not in done.output
    config = records.load(tmp_path / "run")["config"]
    assert config["from"] == "short/digits_lt-ce-e2-b64-if100-s0"
    assert RunConfig.from_stored(config).run_name == "digits_lt-crt-e1-b64-if100-s0-from_digits_lt-ce-e2-b64-if100-s0"


def test_a_base_of_another_seed_is_noted(first: Path, tmp_path: Path) -> None:
    command = ["train", "--method", "ncm", "--dataset", "digits_lt", "--batch-size", "64", "--seed", "1"]
    command += ["--from", str(first), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert f"note: the base in {first} has seed 0, this run has seed 1\n" in done.output


def test_a_grid_waits_for_the_base_and_a_failed_one_takes_its_stages_along(tmp_path: Path) -> None:
    grid = {
        "defaults": {**SETTING},
        "runs": [
            {"method": "crt", "epochs": 1, "from": "short/digits_lt-ce-e2-b64-if100-s0"},
            {"method": "ce", "epochs": 2, "batch_size": 65},  # keeps the other place busy
            {"loss": "ce", "epochs": 2},
        ],
    }
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(grid))
    runs = run_grid(file, tmp_path / "out", jobs=2, device="cpu", precision="float32")
    assert [run.state for run in runs] == ["finished"] * 3
    assert records.load(runs[0].folder)["base"]["run"] == "short/digits_lt-ce-e2-b64-if100-s0"

    grid["runs"][2]["loss_options"] = {}
    grid["runs"][0]["from"] = "short/nowhere-s0"
    file.write_text(yaml.safe_dump(grid))
    with pytest.raises(ValueError, match="starts from short/nowhere-s0, which is no run of the grid"):
        run_grid(file, tmp_path / "out", jobs=1, device="cpu", precision="float32")


def test_a_first_stage_on_other_data_is_refused(first: Path) -> None:
    run = RunConfig(**SETTING, method="crt", epochs=1)
    data = engine.load_data(run, None, False)
    found = base.load_base(first, run)
    engine.Trainer(run, data, torch.device("cpu"), base=found)
    other = replace(found, data={"checksum": "02e3a16c"})
    with pytest.raises(TrainingError, match="starts from is of other data"):
        engine.Trainer(run, data, torch.device("cpu"), base=other)


def test_a_grid_ends_where_a_first_stage_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "grid.yaml"
    first_stage = RunConfig(dataset="cifar100_lt", recipe="short", method="ce")
    runs = [{"method": "ce"}, {"method": "crt", "from": f"short/{first_stage.run_name}"}]
    file.write_text(yaml.safe_dump({"defaults": {"dataset": "cifar100_lt", "recipe": "short"}, "runs": runs}))
    left = iter(range(600))  # polls, far more than a run needs that finds no data

    def sleep(seconds: float) -> None:
        next(left)
        time.sleep(seconds)

    monkeypatch.setattr(grid, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    (tmp_path / "empty").mkdir()
    done = run_grid(file, tmp_path / "out", jobs=1, device="cpu", precision="float32", data_root=tmp_path / "empty")
    assert [run.state for run in done] == ["failed", "failed"]
    assert "which it starts from, has failed" in (tmp_path / "out" / "status.csv").read_text()


def test_a_first_stage_goes_on_in_the_precision_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: Callable[[], AbstractContextManager[None]]
) -> None:
    """Where another machine, or none, would have picked another."""
    run = RunConfig(**SETTING, method="crt", epochs=2)
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    with interrupted():
        train(run, tmp_path / "run", progress=False, device="cpu")
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    train(run, tmp_path / "run", progress=False, device="cpu", resume=True)
    assert load_checkpoint(tmp_path / "run" / "base")["precision"] == "bfloat16"
