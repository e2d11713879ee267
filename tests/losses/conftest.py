"""The losses as one table, so that a single set of tests holds all of them to the same contract.

`literal` spells out a loss's adjusted scores for one sample with plain Python numbers; it shares no code with the
package. `rho` is the factor outside the softmax difference in the closed-form gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

import lt_core as lt

COUNTS = [500, 90, 20, 7, 3]
THETA = [2.5, 1.0, 0.3, 0.05, 0.0]
SCALE = 30.0
GAMMA = 2.0


def one(p: float) -> float:
    return 1.0


def plain(row: list[float], y: int) -> list[float]:
    return list(row)


def with_prior(tau: float) -> Callable[[list[float], int], list[float]]:
    def adjusted(row: list[float], y: int) -> list[float]:
        return [z + tau * math.log(n / sum(COUNTS)) for z, n in zip(row, COUNTS, strict=True)]

    return adjusted


def ldam_row(row: list[float], y: int) -> list[float]:
    raw = [n**-0.25 for n in COUNTS]
    return [SCALE * (c - (0.5 * raw[j] / max(raw) if j == y else 0.0)) for j, c in enumerate(row)]


def ala_row(row: list[float], y: int) -> list[float]:
    margin = (1 - row[y]) / 2 / math.log(COUNTS[y] / min(COUNTS) + 1)
    return [SCALE * (c - margin) if j == y else SCALE * c for j, c in enumerate(row)]


def ala_probability_row(row: list[float], y: int) -> list[float]:
    difficulty = 1 - math.exp(SCALE * row[y]) / sum(math.exp(SCALE * c) for c in row)
    margin = difficulty / math.log(COUNTS[y] / min(COUNTS) + 1)
    return [SCALE * (c - margin) if j == y else SCALE * c for j, c in enumerate(row)]


def gala_released_row(row: list[float], y: int) -> list[float]:
    # With the constant that the released code subtracts and the package leaves out.
    constant = 0.9 * math.log(THETA[y] + 1e-3)
    return [z + 1.2 * math.log(t + 1e-3) - constant for z, t in zip(row, THETA, strict=True)]


def gala_formula_row(row: list[float], y: int) -> list[float]:
    constant = 0.9 * math.log(THETA[y] + 1e-3)
    adjusted = [z + 1.2 * math.log(t + 1e-3) - constant for z, t in zip(row, THETA, strict=True)]
    adjusted[y] = row[y]
    return adjusted


def focal_rho(p: float) -> float:
    return (1 - p) ** GAMMA - GAMMA * p * (1 - p) ** (GAMMA - 1) * math.log(p)


def build_gala(form: str) -> Callable[..., torch.nn.Module]:
    def build(**options: object) -> torch.nn.Module:
        loss = lt.losses.GALALoss(len(COUNTS), lambda_pos=1.2, lambda_neg=0.9, form=form, **options).double()
        loss.theta.copy_(torch.tensor(THETA, dtype=torch.float64))
        return loss.eval()

    return build


def call_gala(form: str) -> Callable[..., Tensor]:
    def call(scores: Tensor, targets: Tensor, **options: object) -> Tensor:
        wide = torch.float32 if isinstance(scores, Tensor) and scores.dtype != torch.float64 else torch.float64
        theta = torch.tensor(THETA, dtype=wide)
        return lt.losses.gala_loss(scores, targets, theta, 1.2, 0.9, form, **options)

    return call


@dataclass(frozen=True)
class LossCase:
    name: str
    build: Callable[..., torch.nn.Module]
    call: Callable[..., Tensor] | None
    literal: Callable[[list[float], int], list[float]]
    cosine: bool = False
    modulate: Callable[[float], float] = one
    rho: Callable[[float], float] = one
    pure: bool = True  # a function of its input whose gradient autograd gives (detached ALA is not)

    @property
    def scale(self) -> float:
        return SCALE if self.cosine else 1.0

    def forms(self, **options: object) -> list[Callable[[Tensor, Tensor], Tensor]]:
        """The Module and, where there is one, the function."""
        forms: list[Callable[[Tensor, Tensor], Tensor]] = [self.build(**options)]
        if self.call is not None:
            forms.append(partial(self.call, **options))
        return forms

    def scores(self, rows: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        draw = torch.randn(rows, len(COUNTS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return (0.9 * torch.tanh(draw) if self.cosine else 3.0 * draw).to(dtype)


def counted(module: Callable[..., torch.nn.Module]) -> Callable[..., torch.nn.Module]:
    return lambda **options: module(COUNTS, **options)


def counted_call(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda scores, targets, **options: function(scores, targets, COUNTS, **options)


CASES = [
    LossCase("ce", lt.losses.CrossEntropyLoss, None, plain),
    LossCase(
        "focal",
        lambda **options: lt.losses.FocalLoss(GAMMA, **options),
        lambda scores, targets, **options: lt.losses.focal_loss(scores, targets, GAMMA, **options),
        plain,
        modulate=lambda p: (1 - p) ** GAMMA,
        rho=focal_rho,
    ),
    LossCase("ldam", counted(lt.losses.LDAMLoss), counted_call(lt.losses.ldam_loss), ldam_row, cosine=True),
    LossCase(
        "la",
        lambda **options: lt.losses.LogitAdjustedLoss(COUNTS, tau=1.4, **options),
        lambda scores, targets, **options: lt.losses.logit_adjusted_loss(scores, targets, COUNTS, 1.4, **options),
        with_prior(1.4),
    ),
    LossCase(
        "balanced_softmax",
        counted(lt.losses.BalancedSoftmaxLoss),
        counted_call(lt.losses.balanced_softmax_loss),
        with_prior(1.0),
    ),
    LossCase("ala", counted(lt.losses.ALALoss), counted_call(lt.losses.ala_loss), ala_row, cosine=True, pure=False),
    LossCase(
        "ala_probability",
        lambda **options: lt.losses.ALALoss(COUNTS, **{"difficulty": "probability", **options}),
        lambda scores, targets, **options: lt.losses.ala_loss(
            scores, targets, COUNTS, difficulty="probability", **options
        ),
        ala_probability_row,
        cosine=True,
        pure=False,
    ),
    LossCase("gala_released", build_gala("released"), call_gala("released"), gala_released_row),
    LossCase("gala_formula", build_gala("formula"), call_gala("formula"), gala_formula_row),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> LossCase:
    return request.param


@pytest.fixture(params=[case for case in CASES if case.cosine], ids=lambda case: case.name)
def cosine_case(request: pytest.FixtureRequest) -> LossCase:
    return request.param


@pytest.fixture
def counts() -> list[int]:
    return list(COUNTS)


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([0, 1, 2, 3, 4, 0, 2, 4])
