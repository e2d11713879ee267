"""The examples run as they are printed, and show what the text beside them says."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest
import torch

import lt_core as lt

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    state = torch.get_rng_state()
    runpy.run_path(str(EXAMPLES / name))
    torch.set_rng_state(state)
    return ast.literal_eval(capsys.readouterr().out)


def test_the_own_loop_lifts_the_rare_digits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cross-entropy in place of the adjusted loss, and nothing else changed, rare digits are worse off."""
    adjusted = run("own_loop.py", capsys)
    monkeypatch.setattr(lt.losses, "LogitAdjustedLoss", lambda counts: torch.nn.CrossEntropyLoss())
    plain = run("own_loop.py", capsys)
    assert adjusted["few"] > plain["few"] + 0.08
    assert adjusted["all"] > plain["all"] + 0.03


def test_the_own_loop_is_a_short_program() -> None:
    lines = [line for line in (EXAMPLES / "own_loop.py").read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 110
