"""The solutions of hw3 compute what `lt_core` computes, and its toy shows what question 8 says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_assignments import solution_of

import lt_core as lt

COUNTS = torch.tensor([500, 100, 20, 5])


@pytest.fixture(scope="module")
def solved() -> dict[str, Any]:
    return solution_of("hw3")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cosines = 1.8 * torch.rand(30, 4, generator=generator, dtype=torch.float64) - 0.9
    return cosines.requires_grad_(), torch.randint(4, (30,), generator=generator)


def test_cosines(solved: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    classifier = lt.models.CosineClassifier(5, 4).double()
    torch.testing.assert_close(solved["cosine_scores"](features, classifier.weight), classifier(features))


def test_factors(solved: dict[str, Any], batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    cosines, labels = batch
    factors = lt.losses.ALALoss(COUNTS).factors(cosines, labels)
    torch.testing.assert_close(solved["difficulty_factor"](cosines, labels), factors["DF"])
    torch.testing.assert_close(solved["quantity_factor"](COUNTS)[labels], factors["QF"])
    torch.testing.assert_close(solved["ala_margin"](cosines, labels, COUNTS), factors["A"])
    for name, means in solved["mean_factors"](cosines, labels, COUNTS).items():
        right = torch.stack([factors[name][labels == k].mean() for k in range(4)])
        torch.testing.assert_close(means, right)


def test_loss_and_gradients(solved: dict[str, Any], batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    cosines, labels = batch
    detached, attached = (lt.losses.ala_loss(cosines, labels, COUNTS, detach=detach) for detach in (True, False))
    mine = solved["ala_loss"](cosines, labels, COUNTS)
    torch.testing.assert_close(mine, detached)
    gradients = [torch.autograd.grad(loss, cosines)[0] for loss in (mine, detached, attached)]
    torch.testing.assert_close(gradients[0], gradients[1])
    fixed = cosines.detach()
    margins = solved["ala_margin"](fixed, labels, COUNTS)
    torch.testing.assert_close(solved["margin_gradient"](fixed, labels, margins), gradients[1])
    torch.testing.assert_close(solved["attached_gradient"](fixed, labels, COUNTS), gradients[2])


def test_toy(solved: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    solved["toy"]()
    shown = capsys.readouterr().out
    said = (  # by question 8's answer
        "constant   0.723  0.953  0.658  0.778 ± 0.023",
        "class      0.717  0.953  0.819  0.829 ± 0.021",
        "ala        0.722  0.957  0.806  0.829 ± 0.017",
        "A          0.087  0.069  0.348",
    )
    assert [line for line in said if line not in shown] == []
