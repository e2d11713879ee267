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
RARE = 0.02  # of 620 images: the last two classes
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


def vs_row(row: list[float], y: int) -> list[float]:
    return [z / (max(COUNTS) / n) ** 0.4 + 0.7 * math.log(n / sum(COUNTS)) for z, n in zip(row, COUNTS, strict=True)]


def mean_draw() -> float:
    """Mean of |e| for a normal e of deviation 1/3, cut at -1 and 1: Simpson's rule, and the tails, which are 1."""
    steps = 2000
    heights = [i / steps * 6 / math.sqrt(2 * math.pi) * math.exp(-4.5 * (i / steps) ** 2) for i in range(steps + 1)]
    inside = heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
    return inside / (3 * steps) + math.erfc(3 / math.sqrt(2))


MEAN_DRAW = mean_draw()


def gcl_row(row: list[float], y: int) -> list[float]:
    spread = math.log(max(COUNTS) / min(COUNTS))
    clouds = [0.8 * MEAN_DRAW * math.log(max(COUNTS) / n) / spread + 0.1 * (j == y) for j, n in enumerate(COUNTS)]
    return [SCALE * (c - cloud) for c, cloud in zip(row, clouds, strict=True)]


def cosface_row(row: list[float], y: int) -> list[float]:
    return [SCALE * (c - 0.35 if j == y else c) for j, c in enumerate(row)]


def arcface_row(row: list[float], y: int) -> list[float]:
    return [SCALE * (math.cos(min(math.acos(c) + 0.3, math.pi)) if j == y else c) for j, c in enumerate(row)]


def sphereface_row(row: list[float], y: int) -> list[float]:
    def psi(c: float) -> float:
        k = int(1.7 * math.acos(c) // math.pi)
        return (-1) ** k * math.cos(1.7 * math.acos(c)) - 2 * k

    return [SCALE * (psi(c) if j == y else c) for j, c in enumerate(row)]


def eql_row(row: list[float], y: int) -> list[float]:
    rare = [n / sum(COUNTS) < RARE for n in COUNTS]
    return [z + math.log(1 - 0.8) if rare[j] and j != y else z for j, z in enumerate(row)]


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


def lade_call(form: str, scores: Tensor, targets: Tensor, **options: object) -> Tensor:
    return lt.losses.lade_loss(scores, targets, COUNTS, 0.3, 0.05, form, **options)


@dataclass(frozen=True)
class LossCase:
    name: str
    build: Callable[..., torch.nn.Module]
    call: Callable[..., Tensor] | None
    literal: Callable[[list[float], int], list[float]]
    cosine: bool = False
    modulate: Callable[[float], float] = one
    rho: Callable[[float], float] = one
    # The options under which the gradient that autograd gives is that of the value (not where a margin is detached).
    pure: tuple[dict[str, object], ...] = ({},)
    temperatures: tuple[float, ...] = (1.0,) * len(COUNTS)  # what the input is divided by
    rowwise: bool = True  # a softmax of the image's own scores, one of them the target's

    @property
    def slopes(self) -> list[float]:
        return [(SCALE if self.cosine else 1.0) / t for t in self.temperatures]

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
    LossCase(
        "ala",
        counted(lt.losses.ALALoss),
        counted_call(lt.losses.ala_loss),
        ala_row,
        cosine=True,
        pure=({"difficulty": False}, {"detach": False}),
    ),
    LossCase(
        "ala_probability",
        lambda **options: lt.losses.ALALoss(COUNTS, **{"difficulty": "probability", **options}),
        lambda scores, targets, **options: lt.losses.ala_loss(
            scores, targets, COUNTS, difficulty="probability", **options
        ),
        ala_probability_row,
        cosine=True,
        pure=({"difficulty": False}, {"detach": False}),
    ),
    LossCase("gala_released", build_gala("released"), call_gala("released"), gala_released_row),
    LossCase("gala_formula", build_gala("formula"), call_gala("formula"), gala_formula_row),
    LossCase(
        "vs",
        lambda **options: lt.losses.VSLoss(COUNTS, 0.4, 0.7, **options),
        lambda scores, targets, **options: lt.losses.vs_loss(scores, targets, COUNTS, 0.4, 0.7, **options),
        vs_row,
        temperatures=tuple((max(COUNTS) / n) ** 0.4 for n in COUNTS),
    ),
    # The two that draw, in eval mode: test_random_losses.py has them drawing.
    LossCase(
        "gcl",
        lambda **options: lt.losses.GCLLoss(COUNTS, margin=0.1, noise=0.8, **options).eval(),
        lambda scores, targets, **options: lt.losses.gcl_loss(
            scores, targets, COUNTS, margin=0.1, noise=0.8, training=False, **options
        ),
        gcl_row,
        cosine=True,
    ),
    LossCase(
        "eql",
        lambda **options: lt.losses.EqualizationLoss(COUNTS, RARE, 0.8, **options).eval(),
        lambda scores, targets, **options: lt.losses.equalization_loss(
            scores, targets, COUNTS, RARE, 0.8, training=False, **options
        ),
        eql_row,
    ),
    LossCase(
        "cosface",
        lambda **options: lt.losses.CosFaceLoss(len(COUNTS), **options),
        lt.losses.cosface_loss,
        cosface_row,
        cosine=True,
    ),
    LossCase(
        "arcface",
        lambda **options: lt.losses.ArcFaceLoss(len(COUNTS), 0.3, **options),
        lambda scores, targets, **options: lt.losses.arcface_loss(scores, targets, 0.3, **options),
        arcface_row,
        cosine=True,
        pure=({"detach": False},),
    ),
    LossCase(
        "sphereface",
        lambda **options: lt.losses.SphereFaceLoss(len(COUNTS), **options),
        lt.losses.sphereface_loss,
        sphereface_row,
        cosine=True,
        pure=(),
    ),
    # Its literal formula, of a whole batch, is in test_lade_loss.py.
    *(
        LossCase(
            f"lade_{form}",
            partial(lt.losses.LADELoss, COUNTS, 0.3, 0.05, form),
            partial(lade_call, form),
            plain,
            rowwise=False,
        )
        for form in ("released", "derived")
    ),
    # In test_label_aware_loss.py.
    LossCase(
        "label_aware",
        counted(lt.losses.LabelAwareSmoothingLoss),
        counted_call(lt.losses.label_aware_smoothing_loss),
        plain,
        rowwise=False,
    ),
    # Its literal formula, which is no softmax, is in test_sigmoid_focal_loss.py.
    LossCase(
        "cb_focal",
        lambda **options: lt.losses.ClassBalancedFocalLoss(COUNTS, GAMMA, 0.9, **options),
        lambda scores, targets, **options: lt.losses.class_balanced_focal_loss(
            scores, targets, COUNTS, GAMMA, 0.9, **options
        ),
        plain,
        rowwise=False,
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> LossCase:
    return request.param


@pytest.fixture(params=[case for case in CASES if case.rowwise], ids=lambda case: case.name)
def row_case(request: pytest.FixtureRequest) -> LossCase:
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
