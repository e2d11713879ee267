"""The commands of the README's first run: what they print, and that the rare digits come back."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from lt_core import records
from lt_core.cli import main

README = Path(__file__).parents[1] / "README.md"


def commands() -> list[list[str]]:
    """The training commands of the section's first block."""
    section = README.read_text(encoding="utf-8").split("## Train something")[1]
    lines = re.findall(r"^python -m lt_core (train .*)$", section.split("```")[1], re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["lt_core", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_balanced_softmax_wins_the_rare_digits_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = commands()
    assert call(first, monkeypatch) == 0
    assert call(second, monkeypatch) == 0
    printed = capsys.readouterr().out
    ce, balanced = (records.load(tmp_path / "runs" / name) for name in ("ce", "balanced"))
    few = [record["final"]["last"]["few"] for record in (ce, balanced)]
    assert few[1] - few[0] >= 10
    assert f"{few[0]:.2f}" in printed
    assert printed.splitlines()[-2].split()[-1] == f"{few[1] - few[0]:+.2f}"
    assert ce["config"]["augmentation"] == "none"


def test_a_comparison_that_cannot_be_made_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["train", "--out", "runs/x", "--compare", "nowhere"], monkeypatch) == 1
    small = ["--dataset", "digits_lt", "--epochs", "1"]
    assert call(["train", *small, "--imbalance-factor", "50", "--out", "runs/y"], monkeypatch) == 0
    assert call(["train", *small, "--out", "runs/x", "--compare", "runs/y"], monkeypatch) == 1
    missing, other = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert missing == "error: there is no record at nowhere"
    assert other == "error: runs/y cannot be compared: it has another imbalance_factor (50.0 there, 100 here)"
    assert not (tmp_path / "runs" / "x").exists()
    (tmp_path / "runs" / "y" / "record.json").unlink()
    assert call(["train", *small, "--out", "runs/x", "--compare", "runs/y"], monkeypatch) == 1
    unfinished = capsys.readouterr().err.splitlines()[-1]
    assert unfinished == f"error: there is no record at {Path('runs/y/record.json')}; the run is not finished"


def test_a_refused_run_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["train", "--dataset", "cifar100_lt", "--data-root", "nowhere", "--out", "run"], monkeypatch) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_unfinished_and_what_was_finished_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "--dataset", "digits_lt", "--epochs", "2", "--out", "run"]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lt_core.training.engine.write_history", stop)  # right after the first checkpoint
        assert call(command, monkeypatch) == 130
    assert call(["evaluate", "run"], monkeypatch) == 0
    assert "note: the run is not finished: this is epoch 1 of 2" in capsys.readouterr().out
    assert call([*command, "--resume"], monkeypatch) == 0
    assert "nothing was trained" not in capsys.readouterr().out
    assert call(["evaluate", "run"], monkeypatch) == 0
    assert "not finished" not in capsys.readouterr().out
    assert call([*command, "--resume"], monkeypatch) == 0
    assert "note: the run was finished already; nothing was trained" in capsys.readouterr().out
