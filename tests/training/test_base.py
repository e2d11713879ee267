"""A second stage and the run that it starts from: found, trained, refused; in a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from lt_core import records
from lt_core.cli import app
from lt_core.training import RunConfig, TrainingError, base, train
from lt_core.training.checkpoint import load_checkpoint
from lt_core.training.grid import run_grid

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


def test_without_a_base_it_is_trained_first_and_an_interruption_there_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = RunConfig(**SETTING, epochs=2)
    monkeypatch.setattr(base, "base_config", lambda config: short)
    run = RunConfig(**SETTING, method="crt", epochs=1)
    record = train(run, tmp_path / "a", progress=False)
    assert records.load(tmp_path / "a" / "base")["config"]["loss"] == "ce"
    assert record["base"]["run"] == f"short/{short.run_name}"
    (tmp_path / "a" / "record.json").unlink()
    for name in ("last.pt", "previous.pt"):
        (tmp_path / "a" / name).unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(run, tmp_path / "a", progress=False)
    again = train(run, tmp_path / "a", progress=False, resume=True)
    assert again["final"] == record["final"]


def test_the_base_of_a_method_is_its_first_stage_with_the_same_seeds() -> None:
    run = RunConfig(dataset="digits_lt", recipe="short", method="crt", seed=3, subset_seed=2, epochs=7)
    first = base.base_config(run)
    assert (first.seed, first.subset_seed, first.loss, first.epochs) == (3, 2, "ce", 40)
    assert first.strategy == "plain"


@pytest.mark.parametrize(
    ("values", "folder", "message"),
    [
        ({"method": "ce"}, True, "'ce' starts from no other run"),
        ({"method": "crt", "imbalance_factor": 50}, True, "has imbalance_factor 100, but this run has 50"),
        ({"method": "crt", "base": "short/other-s0"}, True, "starts from short/other-s0, but .* holds short/digits"),
        ({"method": "crt", "base": "short/other-s0"}, False, "say where that is with --from"),
    ],
)
def test_a_base_that_does_not_fit_is_named(
    values: dict[str, Any], folder: bool, message: str, first: Path, tmp_path: Path
) -> None:
    run = RunConfig(**SETTING, epochs=1, **values)
    with pytest.raises(TrainingError, match=message):
        train(run, tmp_path / "run", progress=False, base=first if folder else None)


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
    config = records.load(tmp_path / "run")["config"]
    assert config["from"] == "short/digits_lt-ce-e2-b64-if100-s0"
    assert RunConfig.from_stored(config).run_name == "digits_lt-crt-e1-b64-if100-s0-from_digits_lt-ce-e2-b64-if100-s0"


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
