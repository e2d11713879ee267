"""Many runs: grid files, the trial of --jobs, scheduling, and interruption."""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import start, wait_for
from typer.testing import CliRunner

from lt_core import records
from lt_core.cli import app
from lt_core.training import RunConfig, TrainingError, grid, progress, trial
from lt_core.training.configs import (
    expand,
    load_config,
    load_contrasts,
    load_grid,
    parse_value,
    read_yaml,
    run_directory,
)
from lt_core.training.locking import locked

SMALL = {"dataset": "synthetic", "recipe": "short", "imbalance_factor": 50, "epochs": 4, "batch_size": 64}


def write(folder: Path, content: Any, name: str = "grid.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def numbers(folder: Path) -> dict[str, Any]:
    record = records.load(folder)
    return {key: record[key] for key in ("config", "final", "posthoc", "epochs")}


RUNS = {"defaults": SMALL, "runs": [{"loss": "ce", "seed": 0}, {"loss": "gala"}, {"imbalance_factor": 1000}]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[grid.Run]]:
    """A grid of two runs, and a third that cannot work (the synthetic set is too small for it)."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "out", grid.run_grid(write(folder, RUNS), folder / "out", jobs=2, device="cpu")


# Files


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"seed": 1}, [{"seed": 1}]),
        ({"seed": [0, 1], "loss": "ce"}, [{"seed": 0, "loss": "ce"}, {"seed": 1, "loss": "ce"}]),
        (
            {"loss": ["ce", "la"], "seed": [0, 1]},
            [{"loss": loss, "seed": seed} for loss in ("ce", "la") for seed in (0, 1)],
        ),
        ({"class_order": [1, 0]}, [{"class_order": [1, 0]}]),
        ({"class_order": [[1, 0], [0, 1]]}, [{"class_order": [1, 0]}, {"class_order": [0, 1]}]),
        ({"class_order": [None, [0, 1]]}, [{"class_order": None}, {"class_order": [0, 1]}]),
        ({"loss_options": {"tau": [1, 2]}}, [{"loss_options": {"tau": 1}}, {"loss_options": {"tau": 2}}]),
        ({"loss_options": [{}, {"tau": [1, 2]}]}, [{"loss_options": o} for o in ({}, {"tau": 1}, {"tau": 2})]),
        ({"loss_options": {"weight": [1, 2]}}, [{"loss_options": {"weight": [1, 2]}}]),
        ({"loss_options": {"weight": [[1, 2]]}}, [{"loss_options": {"weight": [1, 2]}}]),
        (
            {"loss_options": {"weight": [None, [1, 2], [2, 1]], "gamma": [0, 1]}},
            [{"loss_options": {"weight": w, "gamma": g}} for w in (None, [1, 2], [2, 1]) for g in (0, 1)],
        ),
    ],
)
def test_a_list_becomes_a_run_for_each_value(values: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    assert expand(values) == expected


def test_a_grid_file_becomes_its_runs_in_order(tmp_path: Path) -> None:
    text = """
defaults: {dataset: cifar100_lt, recipe: strong, imbalance_factor: 100}
runs:            # in this order
  - {loss: ce, seed: [0, 1, 2]}
  - {loss: ldam, drw: true, imbalance_factor: [100, 50]}
  - {loss: gala, loss_options: {eps: 1e-4}}
"""
    found = load_grid(write(tmp_path, text))
    assert [run_directory(config) for config in found] == [
        "strong/ce-if100-s0",
        "strong/ce-if100-s1",
        "strong/ce-if100-s2",
        "strong/ldam-drw-if100-s0",
        "strong/ldam-drw-if50-s0",
        "strong/gala-eps_0.0001-if100-s0",
    ]
    assert found[-1].loss_options == {"eps": 1e-4}


def test_contrasts_are_questions_that_the_runs_ignore(tmp_path: Path) -> None:
    text = """
defaults: {recipe: [plain, strong], loss: [ce, ala]}
contrasts:
  - {recipe: strong, method: ALA, minus: cross-entropy}
  - {recipe: plain, method: cross-entropy, minus: ALA}
runs: [{seed: [0, 1]}]
"""
    path = write(tmp_path, text)
    without = write(tmp_path, "defaults: {recipe: [plain, strong], loss: [ce, ala]}\nruns: [{seed: [0, 1]}]")
    plain = load_grid(without)
    path = write(tmp_path, text)
    assert load_grid(path) == plain
    assert load_contrasts(path, "strong") == [("ALA", "cross-entropy")]
    assert load_contrasts(path, "plain") == [("cross-entropy", "ALA")]
    assert load_contrasts(path, "short") == []
    assert load_contrasts(write(tmp_path, "runs: [{}]"), "short") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: [", "line 1: not YAML"),
        ("runs: [{seed: 0, seed: 1}]", "'seed' twice"),
        ("runs:\n - {loss: ce}\n - loss: &x [ce\n", "not YAML"),
        ("- 1", "holds list; a mapping"),
        ("run: []", "the key is 'run'; allowed are 'defaults', 'runs' and 'contrasts'"),
        ("defaults: {}", "runs is None"),
        ("runs: []", "runs is []"),
        ("runs: [{}]\ndefaults: 3", "defaults is 3"),
        ("runs: [{}, ce]", "run 2 is 'ce'"),
        ("runs: [{}, {los: ce}]", "run 2: configuration key is 'los'"),
        ("runs: [{1: 2}]", "run 1: configuration key is 1"),
        ("runs: [{}, {loss: [la, hinge]}]", "run 2: loss is 'hinge'"),
        ("runs: [{seed: []}]", "run 1: seed is an empty list"),
        ("runs: [{class_order: []}]", "run 1: class_order is an empty list"),
        ("runs: [{seed: [[1]]}]", "run 1: seed is [1]"),
        ("runs: [{epochs: many}]", "run 1: epochs is 'many'"),
        ("runs: [{drw: 1}]", "run 1: drw is 1"),
        ("runs: [{loss_options: 1}]", "run 1: loss_options is 1"),
        ("runs: [{loss: gala, loss_options: {eps: -1}}]", "run 1: eps is -1"),
        ("runs: [{loss: gala, loss_options: {tau: 1}}]", "run 1: loss 'gala' has no option 'tau'"),
        ("runs: [{loss_options: {weight: []}}]", "run 1: weight is an empty list"),
        ("runs: [{loss_options: {weight: 2}}]", "run 1: weight is 2; a list of numbers is needed, one for each class"),
        ("runs: [{loss_options: {weight: [1, -2]}}]", "run 1: weight[1] is -2; every class weight must be"),
        ("runs: [{loss_options: {weight: [1, [2, 3]]}}]", "run 1: weight is 1; a list of numbers"),
        ("runs: [{loss: cb, loss_options: {weight: [1, 2]}}]", "run 1: loss 'cb' has no option 'weight'"),
        ("runs: [{drw: yes}]", "run 1: drw is 'yes'; allowed are true and false"),
        ("runs: [{epochs: 1_000}]", "run 1: epochs is '1_000'"),
        ("runs: " + "[" * 5000, "not YAML: nested too deeply"),
        ("defaults: {seed: [0, 1]}\nruns: [{}, {loss: [la, ce]}]", "run 2 is also run 1: both are short/digits_lt-ce"),
        ("runs: [{seed: [1, 1]}]", "run 1 is also run 1"),
        ("\x00", "not YAML"),
        ("runs: [{}]\ncontrasts: 3", "contrasts is 3; a list of mappings"),
        ("runs: [{}]\ncontrasts: [{method: ALA}]", "contrast 1 is {'method': 'ALA'}; 'method', 'minus' and perhaps"),
        ("runs: [{}]\ncontrasts: [{method: ALA, minus: GALA, seed: 1}]", "contrast 1 is {"),
        (
            "runs: [{loss: [la, ce]}]\ncontrasts: [{method: LA, minus: cross-entropy}]",
            "contrast 1 names 'LA'; the runs",
        ),
        ("runs: [{loss: [ala, ce]}]\ncontrasts: [{method: ALA, minus: ALA}]", "contrast 1 sets 'ALA' against itself"),
        (
            "runs: [{loss: [ala, ce]}]\ncontrasts: [{method: ALA, minus: cross-entropy}, "
            "{method: cross-entropy, minus: ALA}]",
            "contrast 2 sets 'cross-entropy' against 'ALA' again",
        ),
        (
            "runs: [{recipe: [plain, short], loss: [ala, ce]}]\ncontrasts: [{method: ALA, minus: cross-entropy}]",
            "contrast 1: recipe is None; the runs have plain, short",
        ),
        (
            "runs: [{loss: [ala, ce, cb, la, focal]}]\ncontrasts:"
            + "".join(
                f"\n  - {{method: {a}, minus: {b}}}"
                for a, b in combinations(("ALA", "cross-entropy", "class-balanced", "logit-adjusted", "focal"), 2)
            ),
            "contrast 9 is one more than the 8",
        ),
    ],
)
def test_a_bad_grid_file_is_one_line_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=r"grid\.yaml") as caught:
        load_grid(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_class_weights_are_one_value_and_a_list_of_lists_varies_them(tmp_path: Path) -> None:
    text = """
defaults: {dataset: synthetic, recipe: short, loss_options: {weight: [1, 2, 3]}}
runs:
  - {loss: [ce, focal]}
  - {loss: la, loss_options: {weight: [[1, 2, 3], [3, 2, 1]], tau: [1, 2]}}
"""
    found = load_grid(write(tmp_path, text))
    assert [(config.loss, config.loss_options) for config in found] == [
        ("ce", {"weight": [1, 2, 3]}),
        ("focal", {"weight": [1, 2, 3]}),
        *(("la", {"weight": weight, "tau": tau}) for weight in ([1, 2, 3], [3, 2, 1]) for tau in (1, 2)),
    ]
    assert len({run_directory(config) for config in found}) == 6


VALUES = [
    ("3", 3),
    ("-3", -3),
    ("010", 10),  # not eight
    ("0x10", 16),
    ("0o10", 8),
    ("0.5", 0.5),
    ("+.5", 0.5),
    ("5.", 5.0),
    ("1e-3", 0.001),
    ("1E3", 1000.0),
    ("1e400", math.inf),
    ("-.inf", -math.inf),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("[1, 2.5, 1e-3]", [1, 2.5, 0.001]),
    ("[[1, 2], null]", [[1, 2], None]),
    ("{a: 1e-3}", {"a": 0.001}),
    ("'3'", "3"),
    ('"true"', "true"),
    *((word, word) for word in ("log2", "yes", "No", "on", "off", "y", "nan", "inf", "1_000", "1:30", "0b1", "=")),
    *((word, word) for word in ("2024-01-01", "1e", "e3", "0x", "1.2.3", "a b", "NULLs", "<")),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_means_the_same_on_the_command_line_and_in_a_file(tmp_path: Path, text: str, value: Any) -> None:
    for found in (
        parse_value(text),
        read_yaml(write(tmp_path, f"key: {text}"))["key"],
        read_yaml(write(tmp_path, f"{{key: {text}}}"))["key"],
        read_yaml(write(tmp_path, f"keys:\n- {text}\n"))["keys"][0],
    ):
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["[1,", "a: b", "-", "- 1", "*x", "@x", "1\nkey: 2", "!!int x", "!!python/name:os.system", "\0", "[" * 5000]
)
def test_what_no_key_can_have_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^.{3,60} (cannot be read: |holds several keys)") as caught:
        parse_value(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_an_unreadable_grid_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.yaml cannot be read: No such file"):
        load_grid(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        load_grid(tmp_path / "binary.yaml")


def test_a_configuration_survives_its_files(whole: tuple[Path, list[grid.Run]], tmp_path: Path) -> None:
    config = RunConfig(**SMALL, loss="gala", loss_options={"eps": 1.23456789e-5}, class_order=tuple(range(12)))
    run = grid.Run(config, tmp_path, "run")
    assert load_config(run.write_config()) == config
    records.save(records.load(whole[1][0].folder) | {"config": config.to_dict()}, tmp_path / "record.json")
    assert load_config(tmp_path / "record.json") == config


@pytest.mark.parametrize(
    ("text", "message"), [("loss: hinge", "c.yaml: loss is 'hinge'"), ("lr: 1", "c.yaml: configuration key is 'lr'")]
)
def test_a_bad_configuration_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, text, "c.yaml"))


def test_train_takes_a_file_or_options_but_not_both(tmp_path: Path) -> None:
    path = write(tmp_path, {**SMALL, "epochs": 1}, "c.yaml")
    arguments = ["train", "--config", str(path), "--out", str(tmp_path / "run"), "--device", "cpu"]
    mixed = CliRunner().invoke(app, [*arguments, "--loss", "ce", "--batch-size", "32"])
    assert str(mixed.exception) == "--config is given together with --loss, --batch-size; the file decides these"
    assert not (tmp_path / "run").exists()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert records.load(tmp_path / "run")["config"] == RunConfig(**{**SMALL, "epochs": 1}).to_dict()


# The trial


@pytest.mark.parametrize(
    ("device", "cores", "runs", "expected"),
    [
        ("cuda", 2, 20, [1, 2, 4, 8]),
        ("cuda", 64, 3, [1, 2, 3]),
        ("cpu", 1, 20, [1]),
        ("cpu", 2, 20, [1, 2]),
        ("cpu", 6, 20, [1, 2, 4, 6]),
        ("cpu", 16, 20, [1, 2, 4, 8, 16]),
        ("cpu", 16, 1, [1]),
    ],
)
def test_candidates(monkeypatch: pytest.MonkeyPatch, device: str, cores: int, runs: int, expected: list[int]) -> None:
    monkeypatch.setattr(trial, "cores", lambda: cores)
    assert trial.candidates(device, runs) == expected


@pytest.mark.parametrize(
    ("rates", "best", "measured"),
    [
        ({1: 100, 2: 180, 4: 300, 8: 290}, 4, [1, 2, 4, 8]),
        ({1: 100, 2: 95, 4: 120, 8: 110}, 4, [1, 2, 4, 8]),  # a small loss does not end the trial
        ({1: 100, 2: 50, 4: 500}, 1, [1, 2]),  # a large one does
        ({1: 100, 2: 150, 4: None, 8: 900}, 2, [1, 2, 4]),  # four do not fit
        ({1: 100, 2: 100}, 1, [1, 2]),
    ],
)
def test_the_fastest_number_of_jobs_is_taken(rates: dict[int, float | None], best: int, measured: list[int]) -> None:
    def measure(jobs: int) -> float:
        if rates[jobs] is None:
            raise TrainingError("out of memory")
        return rates[jobs]

    jobs, found = trial.choose_jobs(list(rates), measure)
    assert jobs == best
    assert list(found) == measured
    assert found == {number: rates[number] or 0.0 for number in measured}


def test_the_trial_ends_after_a_minute() -> None:
    clock = iter([0.0, 30.0, 61.0])
    assert trial.choose_jobs([1, 2, 4], float, lambda: next(clock)) == (2, {1: 1.0, 2: 2.0})


def test_a_trial_that_does_not_even_run_once_is_an_error() -> None:
    def measure(jobs: int) -> float:
        raise TrainingError("no data")

    with pytest.raises(TrainingError, match="no data"):
        trial.choose_jobs([1, 2], measure)


def test_workers_measure_themselves_and_end(tmp_path: Path) -> None:
    path = grid.Run(RunConfig(**SMALL), tmp_path, "run").write_config()
    with trial.Workers(path, "cpu", None, tmp_path / "log", os.environ, seconds=0.2) as workers:
        assert workers.measure(1) > 0
        assert len(workers.processes) == 1
        assert workers.measure(2) > 0
        assert len(workers.processes) == 2
        process = workers.processes[0]
    assert process.returncode == -signal.SIGKILL


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    path = grid.Run(RunConfig(**{**SMALL, "dataset": "cifar10_lt"}), tmp_path, "run").write_config()
    with (
        trial.Workers(path, "cpu", tmp_path / "nowhere", tmp_path / "log", os.environ) as workers,
        pytest.raises(TrainingError, match=r"a trial process ended: .*nowhere"),
    ):
        workers.measure(1)


@pytest.mark.parametrize(
    ("text", "start", "line"),
    [
        ("a\nerror: b\n\n", 0, "b"),
        ("error: old\nnew\r 10%\rlast", 11, "last"),
        ("error: old\n", 11, "nothing is said in "),
    ],
)
def test_last_line(tmp_path: Path, text: str, start: int, line: str) -> None:
    path = write(tmp_path, text, "log.txt")
    assert trial.last_line(path, start).startswith(line)


# The state of a run


@pytest.fixture
def copied(whole: tuple[Path, list[grid.Run]], tmp_path: Path) -> Path:
    """A copy of a finished run of `SMALL`."""
    return Path(shutil.copytree(whole[1][0].folder, tmp_path / "run"))


def state(folder: Path, **values: Any) -> grid.Run:
    run = grid.Run(RunConfig(**{**SMALL, **values}), folder, "run")
    run.inspect()
    return run


def test_a_finished_run_is_known(copied: Path) -> None:
    run, record = state(copied), records.load(copied)
    assert (run.state, run.epoch, run.error) == ("finished", 4, "")
    assert run.top1 == record["final"]["last"]["top1"]
    assert run.minutes == pytest.approx(record["environment"]["seconds"] / 60)


def test_a_broken_record_is_made_anew_only_where_there_is_a_checkpoint(copied: Path) -> None:
    (copied / "record.json").write_text("{")
    assert state(copied).state == "waiting"
    for name in ("last.pt", "previous.pt"):
        (copied / name).unlink()
    run = state(copied)
    assert run.state == "failed"
    assert "not a readable record" in run.error
    assert "move" in run.error


def test_another_configuration_is_reported_and_left_alone(copied: Path) -> None:
    run = state(copied, batch_size=32)
    assert run.state == "failed"
    assert "another configuration: batch_size 64 there, 32 here" in run.error
    content = json.loads((copied / "record.json").read_text())
    content["config"]["loss"] = "hinge"
    (copied / "record.json").write_text(json.dumps(content))
    assert "loss is 'hinge'" in state(copied).error


def test_progress_comes_from_the_history(copied: Path) -> None:
    (copied / "record.json").unlink()
    run = state(copied)
    assert (run.state, run.epoch) == ("waiting", 4)
    history = copied / "history.csv"
    images = int(next(csv.DictReader(history.open()))["images"])
    for second, epoch in ((100, 1), (102, 3)):  # two epochs in two seconds
        lines = history.read_text().splitlines()[: epoch + 1]
        history.write_text("\n".join(lines) if epoch == 1 else "\n".join([*lines, lines[-1].replace("1,", "3,", 1)]))
        os.utime(history, (second, second))
        run.read_history()
    assert run.epoch == 3
    assert run.speed == pytest.approx(images)
    history.write_text("damaged")
    run.read_history()
    assert run.epoch == 3


# Scheduling, with processes that do not train


def script(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let every run execute ``code`` in its directory instead of training; {n} is its seed."""
    real = grid.Run.start

    def start(run: grid.Run, command: Any, env: dict[str, str], keep_open: Any = ()) -> None:
        real(run, [sys.executable, "-c", code.replace("{n}", str(run.config.seed)), str(run.folder)], env, keep_open)

    monkeypatch.setattr(grid.Run, "start", start)


def grid_of(folder: Path, seeds: int) -> Path:
    return write(folder, {"defaults": SMALL, "runs": [{"seed": list(range(seeds))}]})


def test_no_more_than_jobs_at_a_time_and_all_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os, sys, time
start = time.time(); time.sleep(0.4)
env = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR")}
json.dump([start, time.time(), env], open(sys.argv[1] + "/seen.json", "w"))
"""
    script(monkeypatch, code)
    monkeypatch.setattr(trial, "cores", lambda: 5)
    runs = grid.run_grid(grid_of(tmp_path, 5), tmp_path / "out", jobs=2, device="cpu")
    assert [run.state for run in runs] == ["failed"] * 5  # they wrote no record
    seen = [json.loads((run.folder / "seen.json").read_text()) for run in runs]
    for begin, _, env in seen:
        assert sum(start <= begin < end for start, end, _ in seen) <= 2
        assert env["OMP_NUM_THREADS"] == "2"
        assert env["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "out" / ".compile_cache")
    assert any(start < begin < end for begin, _, _ in seen for start, end, _ in seen)  # and two at a time there were


def test_how_runs_fail_is_in_the_status_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    code = """
import os, sys
if {n} == 0: os.kill(os.getpid(), 9)
if {n} == 3: sys.exit(1)
print("error: a reason,\\nerror: the last one", file=sys.stderr); sys.exit(1)
"""
    script(monkeypatch, code)
    out = tmp_path / "out"
    (out / "short").mkdir(parents=True)
    names = [run_directory(RunConfig(**SMALL, seed=seed)) for seed in range(4)]
    (out / names[3]).mkdir()
    (out / names[3] / "log.txt").write_text("error: of another day\n")
    (out / names[2]).write_text("a file where the directory should be")
    runs = grid.run_grid(grid_of(tmp_path, 4), out, jobs=1, device="cpu")
    errors = [run.error for run in runs]
    assert errors[0].startswith("killed by SIGKILL; see ")
    assert errors[1] == "the last one"
    assert names[2] in errors[2]
    assert errors[3].startswith("nothing is said in ")
    with open(out / "status.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["run", "state", "epoch", "epochs", "top1", "minutes", "error"]
    assert [(row["run"], row["state"], row["error"]) for row in rows] == [
        (name, "failed", error) for name, error in zip(names, errors, strict=True)
    ]
    assert f"{names[1]}: failed: the last one" in capsys.readouterr().err
    table = progress.status_table(runs).splitlines()
    assert table[0].split() == list(progress.STATUS)
    assert table[2].split()[:4] == [names[1], "failed", "0", "4"]


def test_default_jobs_are_the_trials_and_a_single_run_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    script(monkeypatch, "import os, sys; open(sys.argv[1] + '/omp', 'w').write(os.environ['OMP_NUM_THREADS'])")
    monkeypatch.setattr(trial, "cores", lambda: 4)
    monkeypatch.setattr(trial.Workers, "measure", lambda workers, jobs: {1: 100.0, 2: 300.0, 4: 200.0}[jobs])
    runs = grid.run_grid(grid_of(tmp_path, 4), tmp_path / "out", device="cpu")
    assert {(run.folder / "omp").read_text() for run in runs} == {"2"}
    shown = capsys.readouterr().out
    assert "300  <- taken" in shown
    (run,) = grid.run_grid(grid_of(tmp_path, 1), tmp_path / "single", device="cpu")
    assert (run.folder / "omp").read_text() == "4"
    assert capsys.readouterr().out == ""


def test_jobs_and_device_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        grid.run_grid(grid_of(tmp_path, 1), tmp_path / "out", jobs=0)
    with pytest.raises(ValueError, match="device is 'tpu'"):
        grid.run_grid(grid_of(tmp_path, 1), tmp_path / "out", device="tpu")
    assert not (tmp_path / "out").exists()


def test_runs_keep_their_memory_and_get_what_is_asked_for_only_when_they_start_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint has its own precision and tested epochs; `train` refuses others."""
    seen: list[tuple[list[str], dict[str, str]]] = []
    real = grid.Run.start

    def start(run: grid.Run, command: Any, env: dict[str, str], keep_open: Any = ()) -> None:
        seen.append((list(command), env))
        real(run, [sys.executable, "-c", ""], env, keep_open)

    monkeypatch.setattr(grid.Run, "start", start)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")
    out = tmp_path / "out"
    begun = out / run_directory(RunConfig(**SMALL, seed=1))
    begun.mkdir(parents=True)
    (begun / "last.pt").write_bytes(b"begun")
    grid.run_grid(grid_of(tmp_path, 2), out, jobs=1, device="cpu", precision="bfloat16", test_every=5)
    (anew, env), (resumed, _) = seen
    assert " ".join(anew).endswith("--resume --device cpu --precision bfloat16 --test-every 5")
    assert " ".join(resumed).endswith("--resume --device cpu")
    assert env["MALLOC_TOP_PAD_"] == "7"
    assert env["MALLOC_MMAP_THRESHOLD_"] == str(2**31)
    assert env["THP_MEM_ALLOC_ENABLE"] == "1"
    with pytest.raises(ValueError, match="test_every is 4"):
        grid.run_grid(grid_of(tmp_path, 2), out, jobs=1, device="cpu", test_every=4)


def test_a_second_grid_in_the_same_folder_is_refused_while_a_run_lives(tmp_path: Path) -> None:
    refused = pytest.raises(TrainingError, match="another grid, or a run that it left, is at work")
    what = "grid, or a run that it left,"
    with locked(tmp_path, what) as lock:
        with refused, locked(tmp_path, what):
            pass
        run = grid.Run(RunConfig(**SMALL), tmp_path / "run", "run")
        run.start([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), [lock])
    with refused, locked(tmp_path, what):
        pass
    assert run.process is not None
    run.process.kill()
    run.process.wait()
    with locked(tmp_path, what):
        pass


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_interrupt_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    script(monkeypatch, stubborn)
    monkeypatch.setattr(grid, "PATIENCE", 0.5)
    outside = signal.signal(getattr(signal, name), signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    processes: list[subprocess.Popen[bytes]] = []

    def when_started(board: Any) -> None:
        processes[:] = [run.process for run in board.runs if run.process is not None]
        if all(run.log.stat().st_size for run in board.runs[:2]):
            os.kill(os.getpid(), getattr(signal, name))

    monkeypatch.setattr(progress.Board, "show", when_started)
    with pytest.raises(KeyboardInterrupt):
        grid.run_grid(grid_of(tmp_path, 3), tmp_path / "out", jobs=2, device="cpu")
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2
    with open(tmp_path / "out" / "status.csv") as file:
        assert [(row["state"], row["error"]) for row in csv.DictReader(file)] == [("waiting", "")] * 3
    assert signal.signal(getattr(signal, name), outside) == signal.SIG_DFL


# What is shown


@pytest.fixture
def runs(tmp_path: Path) -> list[grid.Run]:
    made = [grid.Run(RunConfig(**SMALL, seed=seed), tmp_path / str(seed), f"run{seed}") for seed in range(4)]
    made[0].state, made[0].epoch, made[0].top1 = "finished", 4, 50.0
    made[1].state, made[1].epoch, made[1].top1, made[1].speed = "running", 0, 25.04, 12345.0
    made[2].state, made[2].error = "failed", "no"
    return made


def test_plain_lines_now_and_then(runs: list[grid.Run], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with progress.Board(runs, 2, live=False) as board:
        board.show()
        assert capsys.readouterr().err == ""  # not yet
        runs[1].epoch = 1
        board.start -= 60  # an epoch in a minute: 3 + 4 are left
        board.printed -= progress.QUIET
        board.show()
        board.show()
        assert capsys.readouterr().err.splitlines() == [
            "run1: epoch 1/4, top-1 25.0, 12,345 images/s",
            "1 of 4 runs finished, 1 failed, about 7 min left",
        ]
        board.say(runs[2].line())
    assert capsys.readouterr().err == "run2: failed: no\n"


def test_live_lines_fit_the_terminal(runs: list[grid.Run], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with progress.Board(runs, 2, live=True) as board:
        board.show()
        board.say("a line that stays")
    shown = capsys.readouterr().err
    assert "run1: epoch 0/4, top-1 25.0, 12,345"[:29] in shown
    assert "12,345" not in shown
    assert "1 of 4 runs finished" in shown
    assert "a line that stays\n" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(20, "less than a minute"), (61, "about 1 min"), (3599, "about 1 h 0 min"), (4800, "about 1 h 20 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


# The whole, with real training


def test_one_failure_leaves_the_others(whole: tuple[Path, list[grid.Run]]) -> None:
    _, runs = whole
    assert [run.state for run in runs] == ["finished", "finished", "failed"]
    assert "imbalance_factor is 1000" in runs[2].error
    for run in runs[:2]:
        assert records.load(run.folder)["config"] == run.config.to_dict()
        assert run.top1 == records.load(run.folder)["final"]["last"]["top1"]


def test_finished_runs_are_skipped_and_broken_ones_rerun_or_reported(
    whole: tuple[Path, list[grid.Run]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole[0], tmp_path / "out"))
    ce, gala, _ = (out / run.name for run in whole[1])
    expected, log = numbers(ce), (gala / "log.txt").read_bytes()
    (ce / "record.json").write_text("{")
    result = CliRunner().invoke(app, ["grid", str(write(tmp_path, RUNS)), "--out", str(out), "--jobs", "2"])
    assert result.exit_code == 1  # the third run failed again
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["state", "finished", "finished", "failed"]
    assert numbers(ce) == expected
    assert (gala / "log.txt").read_bytes() == log

    (ce / "record.json").unlink()
    (ce / "last.pt").write_bytes((ce / "last.pt").read_bytes()[:5000])
    before = {path.name: path.read_bytes() for path in ce.glob("*.pt")}
    only = write(tmp_path, {"defaults": SMALL, "runs": RUNS["runs"][:2]})
    run, other = grid.run_grid(only, out, jobs=2, device="cpu")
    assert (run.state, other.state) == ("failed", "finished")
    assert "last.pt is damaged: it is cut short" in run.error
    assert "previous.pt" in run.error
    assert {path.name: path.read_bytes() for path in ce.glob("*.pt")} == before


def test_after_ctrl_c_the_numbers_are_those_of_an_uninterrupted_grid(
    whole: tuple[Path, list[grid.Run]], tmp_path: Path
) -> None:
    out, file = tmp_path / "out", write(tmp_path, {"defaults": SMALL, "runs": RUNS["runs"][:2]})
    command = ["grid", str(file), "--out", str(out), "--jobs", "2", "--device", "cpu"]
    said, errors = tmp_path / "said", tmp_path / "errors"
    process = start(*command, output=said, errors=errors)
    wait_for(lambda: any(out.rglob("history.csv")), process)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    stderr = errors.read_text()
    assert process.exitcode == 130, stderr
    assert said.read_text() == ""
    last = stderr.splitlines()[-1]  # a slow machine also prints a line of progress now and then
    assert last == f"error: interrupted; {out / 'status.csv'} says how far, and the same command goes on"
    assert "Traceback" not in stderr
    with open(out / "status.csv") as status:
        rows = list(csv.DictReader(status))
    assert "waiting" in {row["state"] for row in rows}
    assert all(row["error"] == "" for row in rows)
    with open(out / ".lock") as lock:  # the runs hold it too: none is left
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    runs = grid.run_grid(file, out, jobs=2, device="cpu")
    assert [run.state for run in runs] == ["finished", "finished"]
    for run, reference in zip(runs, whole[1], strict=False):
        assert numbers(run.folder) == numbers(reference.folder)
