"""The displayed equations of chapter 10, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
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


@pytest.mark.display("9fd7c6ee")
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
    rising = 0.5 + 0.5 * (e - 1) / max(warmup - 1, 1)  # not used where the warm-up has one epoch
    falling = 0.5 * (1 + sign * torch.cos(math.pi * (e - warmup) / (epochs - warmup)))
    return peak * torch.where(e < warmup, rising, falling)


@pytest.mark.display("954a976f")
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
    # Of 40 epochs E / 100 is rounded up to one: the run starts at its peak, and the first line is empty.
    short, wrong = cosine_schedule(40, 0.1, 1), [cosine_schedule(40, 0.1, 2)]
    assert_equation(recorded_rates("strong", 40), short, wrong=wrong)


@pytest.mark.display("3a6a7149")
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


@pytest.mark.display("2d5aaccc")
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


@pytest.mark.display("cd4566ef")
@pytest.mark.parametrize("accuracy", [0.05, 0.35, 0.5, 0.9])
def test_10_binomial(assert_equation: Check, accuracy: float) -> None:
    size = 100
    pmf = [math.comb(size, c) * accuracy**c * (1 - accuracy) ** (size - c) for c in range(size + 1)]
    shares = [c / size for c in range(size + 1)]
    mean = math.fsum(w * s for w, s in zip(pmf, shares, strict=True))
    left = math.sqrt(math.fsum(w * (s - mean) ** 2 for w, s in zip(pmf, shares, strict=True)))
    right = math.sqrt(accuracy * (1 - accuracy) / size)
    wrong = [math.sqrt(accuracy * (1 + accuracy) / size), right**2, right * math.sqrt(size)]
    assert_equation(left, right, wrong=wrong)


@pytest.mark.display("d6b08459")
def test_10_images(assert_equation: Check, generator: torch.Generator) -> None:
    images = 400
    first, second = torch.rand(2, images, generator=generator) < torch.tensor([[0.4], [0.6]])
    # By definition: the standard error of a mean of differences, one a test image.
    differences = first.double() - second.double()
    left = ((differences - differences.mean()).square().mean() / images).sqrt()
    alone = float((first & ~second).sum()), float((second & ~first).sum())

    def right(sign: float = -1.0, middle: float = 1.0, share: float = 1.0) -> float:
        net = (alone[0] - middle * alone[1]) ** 2
        return math.sqrt(alone[0] + alone[1] + sign * share * net / images) / images

    assert alone[0] - alone[1] == pytest.approx(float(differences.sum()))
    wrong = [right(1.0), right(middle=-1.0), right(share=0.0), right() * images, right() ** 2]
    assert_equation(left, right(), wrong=wrong)
    assert math.sqrt(18 - 1) == pytest.approx(4.1, abs=0.05)  # the page's example, in points of 100 images


@pytest.mark.display("ed2c40f2")
@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (6, 3), (4, 5)])
def test_10_residual(assert_equation: Check, generator: torch.Generator, methods: int, seeds: int) -> None:
    values = torch.randn(methods, seeds, dtype=torch.float64, generator=generator)
    values += 5 * torch.rand(methods, 1, dtype=torch.float64, generator=generator)
    values += torch.rand(1, seeds, dtype=torch.float64, generator=generator)
    # Least squares on an indicator for each method and each seed: residual sum of squares over values less rank.
    rows = torch.cartesian_prod(torch.arange(methods), torch.arange(seeds))
    design = torch.cat([torch.eye(methods)[rows[:, 0]], torch.eye(seeds)[rows[:, 1]]], 1).double()
    v = values.flatten()
    fitted = design @ torch.linalg.pinv(design) @ v
    left = (v - fitted).square().sum() / (len(v) - torch.linalg.matrix_rank(design))
    of_method, of_seed, of_all = values.mean(1, keepdim=True), values.mean(0, keepdim=True), values.mean()
    squares = (values - of_method - of_seed + of_all).square().sum()
    right = squares / ((methods - 1) * (seeds - 1))
    others = [values - of_method + of_seed + of_all, values - of_method - of_seed - of_all, values - of_method]
    wrong = [other.square().sum() / ((methods - 1) * (seeds - 1)) for other in others]
    wrong += [squares / (methods * (seeds - 1)), squares / ((methods - 1) * seeds), right.sqrt()]
    assert_equation(left, right, wrong=wrong)
    # The page's small example.
    table = torch.tensor([[30.0, 31.0, 32.0], [33.0, 36.0, 36.0]])
    residuals = table - table.mean(1, keepdim=True) - table.mean(0) + table.mean()
    assert torch.allclose(residuals, torch.tensor([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0]]))


def chi_density(degrees: int) -> tuple[Tensor, Tensor]:
    """v and its density, where v^2 = f times estimated over true variance is chi-squared with f degrees of freedom."""
    v = torch.linspace(0, 15, 60_001, dtype=torch.float64)
    density = v ** (degrees - 1) * torch.exp(-(v**2) / 2)
    return v, density / torch.trapezoid(density, v)


@pytest.mark.display("6dc0e631")
@pytest.mark.parametrize("degrees", [2, 10])
def test_10_sd(assert_equation: Check, degrees: int) -> None:
    """The multiples of the estimate between which sigma lies in 95 % of cases, 2.5 % on either side, by integration."""
    from scipy import stats

    v, density = chi_density(degrees)
    below = torch.cumulative_trapezoid(density, v)
    ends = [float(np.interp(level, below, v[1:])) for level in (0.975, 0.025)]
    left = torch.tensor([math.sqrt(degrees) / end for end in ends])  # sigma over sigma-hat = sqrt(f) / v

    def right(levels: tuple[float, float], degrees: int) -> Tensor:
        quantiles = torch.tensor([float(stats.chi2.ppf(level, degrees)) for level in levels])
        return (degrees / quantiles).sqrt()

    sides = right((0.975, 0.025), degrees)
    wrong = [sides.flip(0), 1 / sides, sides**2, right((0.95, 0.05), degrees), right((0.975, 0.025), degrees + 1)]
    assert_equation(left, sides, wrong=wrong, tolerance=1e-6)


@pytest.mark.display("18e0944f")
@pytest.mark.parametrize(("degrees", "compared", "shared"), [(10, 1, 1), (10, 5, 1), (2, 1, 3)])
def test_10_needed(assert_equation: Check, degrees: int, compared: int, shared: int) -> None:
    """The multiple of the estimate beyond which a difference falls in one case of 20 K, by integration."""
    from scipy import stats

    v, density = chi_density(degrees)
    spread = (2 / shared) ** 0.5  # of a difference of two means, in sigmas

    def outside(factor: float) -> float:
        tail = 2 * torch.special.ndtr(-factor * v / degrees**0.5 / spread)
        return float(torch.trapezoid(density * tail, v))

    low, high = 0.0, 100.0
    for _ in range(60):  # bisection for a chance of 5 % / K
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) > 0.05 / compared else (low, middle)

    def right(tail: float, degrees: int, variance: float) -> float:
        return float(stats.t.ppf(1 - tail, degrees)) * variance**0.5

    sides = right(0.025 / compared, degrees, 2 / shared)
    wrong = [right(0.025 / compared, degrees + 1, 2 / shared), right(0.05 / compared, degrees, 2 / shared)]
    wrong += [right(0.025 / compared, degrees, 1 / shared), right(0.025 / (compared + 1), degrees, 2 / shared)]
    assert_equation(low, sides, wrong=wrong, tolerance=1e-6)


def normal_density(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


@pytest.mark.display("83088c94")
@pytest.mark.parametrize("epochs", [2, 3, 8, 40, 200])
def test_10_maximum(assert_equation: Check, epochs: int) -> None:
    sigma = 0.7
    # The mean of any variable is the area above its distribution function right of 0, less the area below it left of 0.
    half = torch.linspace(0, 12, 24_001, dtype=torch.float64)
    right_of_zero = torch.trapezoid(1 - torch.special.ndtr(half) ** epochs, sigma * half)
    left_of_zero = torch.trapezoid(torch.special.ndtr(-half) ** epochs, sigma * half)
    left = right_of_zero - left_of_zero
    x = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    below = torch.special.ndtr(x)
    right = sigma * torch.trapezoid(x * epochs * normal_density(x) * below ** (epochs - 1), x)
    smallest = sigma * torch.trapezoid(x * epochs * normal_density(x) * (1 - below) ** (epochs - 1), x)
    assert_equation(left, right, wrong=[smallest, right / sigma, right / epochs], tolerance=1e-6)
    closed = {2: sigma / math.sqrt(math.pi), 3: 1.5 * sigma / math.sqrt(math.pi)}
    assert left == pytest.approx(closed.get(epochs, float(left)), abs=1e-6)
