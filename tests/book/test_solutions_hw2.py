"""The solutions of homework 2 are what the package computes, and its toy shows what question 7 says of it."""

from __future__ import annotations

import pytest
import torch
from test_assignments import solution_of

import lt_core as lt
from lt_core.training.recipes import RECIPES

COUNTS = torch.tensor([500, 101, 20, 5])


def test_solutions_of_hw2_are_the_packages() -> None:
    solved, generator = solution_of("hw2"), torch.Generator().manual_seed(0)
    logits = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    labels, cosines = torch.randint(4, (40,), generator=generator), logits.tanh()
    for tau in (0.5, 1.0):
        adjusted = lt.posthoc.adjust_logits(logits, COUNTS, tau)
        torch.testing.assert_close(solved["adjust"](logits, COUNTS, tau), adjusted)
        loss = lt.losses.logit_adjusted_loss(logits, labels, COUNTS, tau)
        torch.testing.assert_close(solved["adjusted_loss"](logits, labels, COUNTS, tau), loss)
    balanced = lt.losses.balanced_softmax_loss(logits, labels, COUNTS)
    torch.testing.assert_close(solved["balanced_softmax_loss"](logits, labels, COUNTS), balanced)
    margins = solved["ldam_margins"](COUNTS)
    torch.testing.assert_close(margins, lt.losses.ldam_margins(COUNTS, dtype=torch.float64))
    losses = lt.losses.ldam_loss(cosines, labels, COUNTS, reduction="none")
    torch.testing.assert_close(solved["margin_losses"](cosines, labels, margins), losses)
    weights = lt.losses.class_balanced_weights(COUNTS, 0.9999, torch.float64)
    torch.testing.assert_close(solved["balanced_weights"](COUNTS), weights)
    late = lt.losses.ldam_loss(cosines, labels, COUNTS, weight=weights)
    torch.testing.assert_close(solved["ldam_drw_loss"](cosines, labels, COUNTS, 160, 200), late)


@pytest.mark.parametrize("epochs", [3, 12, 40, 200])
def test_weights_begin_where_the_packages_do(epochs: int) -> None:
    weights_at, first = solution_of("hw2")["weights_at"], RECIPES["plain"].drw_epoch(epochs)
    assert [bool((weights_at(epoch, epochs, COUNTS) != 1).any()) for epoch in range(epochs)].index(True) == first


def test_toy_of_hw2_shows_what_its_question_says(capsys: pytest.CaptureFixture[str]) -> None:
    solved = solution_of("hw2")
    capsys.readouterr()
    solved["two_clouds"]()
    rows = {line[:27].strip(): line[27:] for line in capsys.readouterr().out.splitlines()}
    assert "boundary  2.51" in rows["cross-entropy"]
    assert "boundary  2.17" in rows["margin 50 for the tail"]
    for name in ("balanced softmax", "weights", "cross-entropy, adjusted"):
        assert "boundary  1.01" in rows[name], name
