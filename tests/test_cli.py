"""The commands, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lt_core import records
from lt_core.cli import parse_options


def lt(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "LT_DATA_ROOT"} | environment
    return subprocess.run(
        [sys.executable, "-m", "lt_core", *arguments], capture_output=True, text=True, env=env, timeout=120
    )


SMALL = ("--recipe", "short", "--epochs", "1", "--device", "cpu")


def test_train_then_evaluate(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = lt("train", *SMALL, "--loss", "gala", "--loss-option", "lambda_pos=1.5", "--seed", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    record = records.load(out)
    assert record["config"]["loss_options"] == {"lambda_pos": 1.5}
    assert record["config"]["seed"] == 2
    assert f"{record['final']['last']['top1']:.2f}" in done.stdout
    plain = lt("evaluate", str(out))
    assert f"{record['final']['last']['top1']:.2f}" in plain.stdout
    rebalanced = lt("evaluate", str(out), "--posthoc", "rebalance", "--tau", "1.0")
    assert f"{record['posthoc']['rebalance']['top1']:.2f}" in rebalanced.stdout
    assert "whole test set" in rebalanced.stdout


def test_data_shows_the_counts_of_the_synthetic_set() -> None:
    done = lt("data", "--dataset", "synthetic")
    assert done.returncode == 0, done.stderr
    assert "12 classes" in done.stdout


@pytest.mark.realdata
def test_data_verifies_cifar(cifar_root: Path) -> None:
    done = lt("data", "--root", str(cifar_root))
    assert "10847 training and 10000 test images of 100 classes" in done.stdout
    assert "many 35, medium 35, few 30" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "Missing option"),
        (("fly",), "No such command"),
        (("train", "--out", "x", "--epochs", "many"), "--epochs"),
        (("train", "--out", "x", "--loss", "hinge"), "loss is 'hinge'; allowed are"),
        (("train", "--out", "x", "--loss-option", "gamma"), "allowed is name=value"),
        (("train", "--out", "x", "--loss", "ce", "--loss-option", "gamma=1"), "gamma"),
        (("train", "--out", "x", "--loss", "gala", "--loss-option", "eps=-1", *SMALL), "eps is -1"),
        (("train", "--out", "x", "--class-order", "0,b"), "labels separated by commas"),
        (("train", "--out", "x", "--dataset", "cifar100_lt", *SMALL), "no data root is given"),
        (("train", "--out", "x", "--dataset", "cifar100_lt", "--data-root", "/nowhere", *SMALL), "/nowhere"),
        (("train", "--out", "/proc/run", *SMALL), "/proc"),
        (("evaluate", "/nowhere"), "there is no checkpoint at /nowhere"),
        (("evaluate", "/nowhere", "--posthoc", "magic"), "posthoc is 'magic'"),
        (("data", "--root", "/nowhere"), "does not exist"),
    ],
)
def test_errors_are_one_line_and_a_status(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lt_core", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "LT_DATA_ROOT"},
        timeout=120,
    )
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_options_become_values() -> None:
    assert parse_options(["a=1", "b=0.5", "c=false", "d=null", "e=log2", "f=1e-3"]) == {
        "a": 1, "b": 0.5, "c": False, "d": None, "e": "log2", "f": 1e-3,
    }  # fmt: skip


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, lt_core; lt_core.losses, lt_core.posthoc, lt_core.metrics, lt_core.models, lt_core.data, "
        "lt_core.training; heavy = {'matplotlib', 'torchvision', 'torchmetrics', 'typer', 'anywidget', 'pandas'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    bare = "import sys, lt_core; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True).stdout.strip() == "False"
