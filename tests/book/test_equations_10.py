"""The displayed equations of chapter 10, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from lt_core.training.recipes import RECIPES

Check = Callable[..., None]


def recorded_rates(recipe: str, epochs: int) -> Tensor:
    """What the engine uses, epoch by epoch."""
    rates = [RECIPES[recipe].learning_rate_at(e, epochs) for e in range(epochs)]
    return torch.tensor(rates, dtype=torch.float64)


def step_schedule(epochs: int, peak: float, warmup: int, drop: float = 1e-2) -> Tensor:
    """The display, with the epochs counted from 1."""
    e = torch.arange(1, epochs + 1, dtype=torch.float64)
    drops = (e > 0.8 * epochs).double() + (e > 0.9 * epochs).double()
    return peak * torch.clamp(e / warmup, max=1.0) * drop**drops


@pytest.mark.display("cfde33a6")
def test_10_step(assert_equation: Check) -> None:
    released = []  # the branches of LDAM-DRW's code, for its 200 epochs
    for epoch in range(1, 201):
        rate = 0.1 * epoch / 5 if epoch <= 5 else 0.1
        if epoch > 180:
            rate = 0.1 * 1e-4
        elif epoch > 160:
            rate = 0.1 * 1e-2
        released.append(rate)
    wrong = [step_schedule(200, 0.1, 5, 1e-1), step_schedule(200, 0.1, 4), step_schedule(200, 0.1, 5).flip(0)]
    assert_equation(torch.tensor(released, dtype=torch.float64), step_schedule(200, 0.1, 5), wrong=wrong)
    assert_equation(recorded_rates("plain", 200), step_schedule(200, 0.1, 5), wrong=wrong)
    assert_equation(recorded_rates("short", 40), step_schedule(40, 0.1, 1), wrong=[step_schedule(40, 0.1, 2)])


def cosine_schedule(epochs: int, peak: float, warmup: int, sign: float = 1.0) -> Tensor:
    e = torch.arange(1, epochs + 1, dtype=torch.float64)
    rising = 0.5 + 0.5 * (e - 1) / (warmup - 1)
    falling = 0.5 * (1 + sign * torch.cos(math.pi * (e - warmup) / (epochs - warmup)))
    return peak * torch.where(e < warmup, rising, falling)


@pytest.mark.display("61135aca")
@pytest.mark.parametrize(("epochs", "warmup"), [(200, 2), (400, 4)])
def test_10_cosine(assert_equation: Check, epochs: int, warmup: int) -> None:
    # A quarter of a turn at a time: the half cosine is the height of a point that goes round at constant speed.
    point, turn = complex(1, 0), complex(math.cos(math.pi / (epochs - warmup)), math.sin(math.pi / (epochs - warmup)))
    rates = [0.05 + 0.05 * number / (warmup - 1) for number in range(warmup - 1)]
    for _ in range(warmup, epochs + 1):
        rates.append(0.1 * (1 + point.real) / 2)
        point *= turn
    right = cosine_schedule(epochs, 0.1, warmup)
    wrong = [cosine_schedule(epochs, 0.1, warmup, sign=-1.0), cosine_schedule(epochs, 0.1, warmup + 1)]
    assert_equation(torch.tensor(rates, dtype=torch.float64), right, wrong=wrong)
    assert_equation(recorded_rates("strong", epochs), right, wrong=wrong)


@pytest.mark.display("ae10a3d9")
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_10_displacement(assert_equation: Check, generator: torch.Generator, batch: int) -> None:
    gradients = torch.randn(3, 2, dtype=torch.float64, generator=generator)  # of three images, two weights
    ratio, images = 0.3, 4
    rate = ratio * batch
    moves = []
    for drawn in product(range(3), repeat=images):  # every sequence of images, all equally likely
        picked = gradients[list(drawn)].reshape(images // batch, batch, 2)
        moves.append(-rate * picked.mean(1).sum(0))
    moved = torch.stack(moves)
    mean, covariance = gradients.mean(0), torch.cov(gradients.T, correction=0)
    right_mean, right_covariance = -images * ratio * mean, images * ratio**2 * covariance
    assert_equation(moved.mean(0), right_mean, wrong=[-images * rate * mean * 1.01, -ratio * mean])
    left = torch.cov(moved.T, correction=0)
    assert_equation(left, right_covariance, wrong=[images * ratio * covariance, images**2 * ratio**2 * covariance])


@pytest.mark.display("e28fb434")
def test_10_decay(assert_equation: Check, generator: torch.Generator) -> None:
    steps, decay = 12, 0.2
    rates = torch.rand(steps, dtype=torch.float64, generator=generator)
    gradients = torch.randn(steps, 3, dtype=torch.float64, generator=generator)
    start = torch.randn(3, dtype=torch.float64, generator=generator)

    def right(decay: float, sign: float = 1.0, shift: int = 1) -> Tensor:
        kept = 1 - decay * rates
        total = kept.prod() * start
        for t in range(steps):
            total = total - sign * rates[t] * kept[t + shift :].prod() * gradients[t]
        return total

    weight = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([weight], lr=1.0, weight_decay=decay)
    for rate, gradient in zip(rates, gradients, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        weight.grad = gradient.clone()
        optimizer.step()
    assert_equation(weight.detach(), right(decay), wrong=[right(-decay), right(decay, -1.0), right(decay, shift=0)])


@pytest.mark.display("93ed5758")
@pytest.mark.parametrize("seeds", [3, 5])
def test_10_needed(assert_equation: Check, seeds: int) -> None:
    """The factor of s beyond which a new run falls in one case of twenty, by integrating over the distribution of s."""
    from scipy import stats

    degrees = seeds - 1
    v = torch.linspace(0, 15, 15_001, dtype=torch.float64)  # v^2 = (S - 1) s^2 / sigma^2 is chi-squared
    density = v**degrees / v.clamp(min=1e-12) * torch.exp(-(v**2) / 2)
    density = density / torch.trapezoid(density, v)
    spread = (1 + 1 / seeds) ** 0.5  # of the new run less the mean of the others, in sigmas

    def outside(factor: float) -> float:
        tail = 2 * torch.special.ndtr(-factor * v / degrees**0.5 / spread)
        return float(torch.trapezoid(density * tail, v))

    low, high = 0.0, 100.0
    for _ in range(60):  # bisection for a chance of 5 %
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) > 0.05 else (low, middle)
    t = float(stats.t.ppf(0.975, degrees))
    wrong = [t * (1 - 1 / seeds) ** 0.5, t, 1.96 * spread, float(stats.t.ppf(0.975, seeds)) * spread]
    assert_equation(low, t * spread, wrong=wrong, tolerance=1e-5)
