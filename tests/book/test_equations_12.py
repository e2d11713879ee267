"""The displayed equations of chapter 12, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lt_core.report import class_lines, crossed
from lt_core.report.class_lines import Fit, fit_line

Check = Callable[..., None]
CLASSES, ORDERS = 8, 3


def random_counts(generator: torch.Generator) -> Tensor:
    return torch.randint(5, 500, (CLASSES, ORDERS), generator=generator).double()


def noise(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def random_cells(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Accuracies and counts (C, O): effects that hang together with the counts, slopes of their own, and noise."""
    counts = random_counts(generator)
    effects = 10 * noise(generator, CLASSES, 1) + 3 * counts.log().mean(1, True)
    slopes = 5 + 2 * noise(generator, CLASSES, 1)
    return 20 + effects + slopes * counts.log2() + 4 * noise(generator, CLASSES, ORDERS), counts


def fitted(a: Tensor, counts: Tensor) -> Fit:
    return fit_line(a.numpy(), counts.numpy())


def dummies(counts: Tensor) -> Tensor:
    """A column for log2 n and one of its own for every class."""
    columns = torch.eye(CLASSES, dtype=torch.float64).repeat_interleave(ORDERS, 0)
    return torch.cat([counts.log2().reshape(-1, 1), columns], 1)


def by_dummies(a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, class levels and residuals (C, O) by least squares with a column of its own for every class."""
    design = dummies(counts)
    solution = torch.linalg.lstsq(design, a.flatten()[:, None]).solution[:, 0]
    return solution[0], solution[1:], (a.flatten() - design @ solution).reshape(a.shape)


def by_the_model(mu: float, b: float, delta: Tensor, epsilon: Tensor, counts: Tensor) -> Tensor:
    """The right side of the display, cell by cell."""
    logs = [[math.log2(n) for n in row] for row in counts.tolist()]
    middle = math.fsum(math.fsum(row) for row in logs) / counts.numel()
    cells = [
        [mu + float(delta[k]) + b * (logs[k][o] - middle) + float(epsilon[k, o]) for o in range(ORDERS)]
        for k in range(CLASSES)
    ]
    return torch.tensor(cells, dtype=torch.float64)


@pytest.mark.display("e87c0da0")
def test_12_model(assert_equation: Check, generator: torch.Generator) -> None:
    # Two studies whose errors are each other's negative: whatever the errors are, the mean of the two fits is the
    # truth, since the fit is linear and, without errors, exact.
    counts, mu, b = random_counts(generator), 31.0, 5.0
    delta = 10 * noise(generator, CLASSES)
    delta -= delta.mean()
    epsilon = 4 * noise(generator, CLASSES, ORDERS)
    fits = [fitted(by_the_model(mu, b, delta, sign * epsilon, counts), counts) for sign in (1, -1)]

    def numbers(mu: float, b: float, delta: Tensor) -> Tensor:
        return torch.cat([torch.tensor([mu, b], dtype=torch.float64), delta])

    found = sum(numbers(fit.mean, fit.slope, torch.from_numpy(fit.effects)) for fit in fits) / 2
    wrong = [numbers(mu, b, -delta), numbers(mu, -b, delta), numbers(-mu, b, delta), numbers(mu, b, delta + 1)]
    wrong.append(numbers(mu + b * float(counts.log2().mean()), b, delta))  # the logs not taken off their mean
    assert_equation(found, numbers(mu, b, delta), wrong=wrong)
    assert abs(fits[0].slope - b) > 0.01, "the errors must be no errors that a fit never sees"


@pytest.mark.display("c8faa115")
def test_12_confounded(assert_equation: Check, generator: torch.Generator) -> None:
    counts = torch.randint(5, 500, (40,), generator=generator).double()
    x, b, mu = counts.log2(), 6.0, 30.0
    delta = 2 * x + 8 * noise(generator, 40)
    delta -= delta.mean()
    epsilon = noise(generator, 40)
    a = mu + delta + b * (x - x.mean()) + epsilon
    left = class_lines.single_order_slope(a.numpy(), counts.numpy())
    bias = torch.cov(torch.stack([delta + epsilon, x]))[0, 1] / x.var()
    assert_equation(left, b + bias, wrong=[b - bias, bias - b, b])
    assert_equation(torch.cov(torch.stack([a, x]))[0, 1] / x.var(), b + bias)


@pytest.mark.display("753b2db6")
def test_12_slope(assert_equation: Check, generator: torch.Generator) -> None:
    a, counts = random_cells(generator)
    slope, levels, _ = by_dummies(a, counts)
    x = counts.log2()
    u = x - x.mean(1, keepdim=True)
    right = (u * a).sum() / u.square().sum()
    pooled = ((x - x.mean()) * a).sum() / (x - x.mean()).square().sum()
    assert_equation(slope, right, wrong=[pooled])
    assert abs(fitted(a, counts).slope - float(right)) < 1e-9
    shift = right * (x.mean(1) - x.mean())
    effects = a.mean(1) - a.mean() - shift
    plain = a.mean(1) - a.mean()
    assert_equation(levels - levels.mean(), effects - effects.mean(), wrong=[plain, plain + shift])
    assert_equation(torch.from_numpy(fitted(a, counts).effects), effects, wrong=[plain, plain + shift])


@pytest.mark.display("cac1547a")
def test_12_variance(assert_equation: Check, generator: torch.Generator) -> None:
    a, counts = random_cells(generator)
    slope, levels, residual = by_dummies(a, counts)
    x = counts.log2()
    effects = (levels - levels.mean())[:, None].expand_as(x)
    quantity, classes, rest = slope**2 * x.var(correction=0), effects.var(correction=0), residual.var(correction=0)
    both = 2 * slope * ((effects - effects.mean()) * (x - x.mean())).mean()
    parts = torch.stack([quantity, classes, both, rest])
    variance = a.var(correction=0)
    wrong = [variance - 2 * part for part in parts]
    assert_equation(variance, parts.sum(), wrong=wrong)
    shares = fitted(a, counts).shares
    found = torch.tensor([shares[name] for name in ("count", "class", "both", "rest")], dtype=torch.float64)
    assert_equation(found, parts / variance)


def interval(a: Tensor, counts: Tensor) -> Tensor:
    """Both ends by the display, in loops."""
    x = counts.log2().tolist()
    u = [[v - math.fsum(row) / len(row) for v in row] for row in x]
    slope, _, residual = by_dummies(a, counts)
    power = math.fsum(v**2 for row in u for v in row)
    scores = [math.fsum(v * e for v, e in zip(u[k], residual[k].tolist(), strict=True)) for k in range(CLASSES)]
    root = math.sqrt(CLASSES / (CLASSES - 1) * math.fsum(s**2 for s in scores))
    half = float(stats.t.ppf(0.975, CLASSES - 1)) / power * root
    return torch.stack([slope - half, slope + half])


@pytest.mark.display("e4ddb3b9")
def test_12_interval(assert_equation: Check, generator: torch.Generator) -> None:
    a, counts = random_cells(generator)
    fit, right = fitted(a, counts), interval(a, counts)
    _, _, residual = by_dummies(a, counts)
    x = counts.log2()
    u = x - x.mean(1, keepdim=True)
    t = float(stats.t.ppf(0.975, CLASSES - 1))
    one_by_one = t * residual.square().sum().div(CLASSES * (ORDERS - 1) - 1).div(u.square().sum()).sqrt()
    unscored = t * (u * residual).square().sum().sqrt() / u.square().sum()  # cells in place of classes
    wrong = [fit.slope + half * torch.tensor([-1.0, 1.0]) for half in (float(one_by_one), float(unscored))]
    assert_equation([fit.low, fit.high], right, wrong=[*wrong, right.flip(0)])
    # The usual sandwich of a regression with a column for every class, from matrices.
    design = dummies(counts)
    bread = torch.linalg.inv(design.T @ design)
    scores = torch.stack([design[3 * k : 3 * k + 3].T @ residual[k] for k in range(CLASSES)])
    error = CLASSES / (CLASSES - 1) * (bread @ scores.T @ scores @ bread)[0, 0]
    assert_equation(t * error.sqrt(), (right[1] - right[0]) / 2)
    # Equal spreads: Student's interval of the classes' own slopes, by scipy.
    counts = torch.tensor([16.0, 64.0, 256.0]).double().expand(CLASSES, ORDERS) * torch.arange(1, CLASSES + 1)[:, None]
    own = [np.polyfit(n, v, 1)[0] for n, v in zip(counts.log2().numpy(), a.numpy(), strict=True)]
    ends = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    assert_equation([ends.low, ends.high], interval(a, counts))


@pytest.mark.display("01682ff7")
def test_12_noise(assert_equation: Check, generator: torch.Generator) -> None:
    runs = 40 + 5 * noise(generator, 3, CLASSES) + 9 * noise(generator, 3, 1)  # S seeds of C classes, each with a shift
    grand, total, shifted = runs.mean(), 0.0, 0.0
    for seed in range(3):
        for k in range(CLASSES):
            own = runs[seed, k] - runs[:, k].mean()
            total += (own - runs[seed].mean() + grand).item() ** 2
            shifted += own.item() ** 2
    variance = total / ((CLASSES - 1) * (3 - 1))
    wrong = [variance * 2 / 3, variance * CLASSES, shifted / (CLASSES * 2), total / (CLASSES * 3)]
    assert_equation(class_lines.run_variance(runs.numpy()), variance, wrong=wrong)
    found = 100.0
    right = found - variance / ORDERS
    wrong = [found + variance / ORDERS, found - variance, found - variance / ORDERS**2]
    assert_equation(class_lines.without_run_noise(found, variance, ORDERS), right, wrong=wrong)
    assert class_lines.without_run_noise(1.0, 99.0, 2) == 0


@pytest.mark.display("4f0298a4")
def test_12_ceiling(assert_equation: Check, generator: torch.Generator) -> None:
    # Three vectors that are exactly uncorrelated: the difficulty of both losses, and the runs' noise of either.
    vectors, _ = torch.linalg.qr(torch.cat([torch.ones(50, 1).double(), noise(generator, 50, 3)], 1))
    delta, first, second = 70 * vectors[:, 1], 30 * vectors[:, 2], 50 * vectors[:, 3]
    ours, theirs = delta + first, 1.5 * delta + second
    left = torch.corrcoef(torch.stack([ours, theirs]))[0, 1]
    kept = delta.var() / ours.var(), (1.5 * delta).var() / theirs.var()
    right = (kept[0] * kept[1]).sqrt()
    assert_equation(
        left, right, wrong=[kept[0] * kept[1], (kept[0] / kept[1]).sqrt(), (1 / (kept[0] * kept[1])).sqrt()]
    )
    noises = 2 * float(first.var()), 2 * float(second.var())  # of one run; an effect is the mean of two
    assert_equation(class_lines.ceiling((float(ours.var()), float(theirs.var())), noises, 2), right)


@pytest.mark.display("136745ef")
def test_12_odds(assert_equation: Check, generator: torch.Generator) -> None:
    # Accuracies whose log odds, with the halves, are made by the display: the fit finds what they were made from.
    counts, mu, b = random_counts(generator), -1.0, 0.6
    delta = noise(generator, CLASSES)
    delta -= delta.mean()
    made = by_the_model(mu, b, delta, torch.zeros(CLASSES, ORDERS), counts)
    odds = made.exp()  # (a + 1/2) / (100 - a + 1/2)
    a = (odds * 100.5 - 0.5) / (1 + odds)
    assert_equation(((a + 0.5) / (100 - a + 0.5)).log(), made, wrong=[((a + 0.5) / (100 - a - 0.5)).log()])
    fit = fit_line(class_lines.log_odds(a.numpy(), 100), counts.numpy())
    left = torch.cat([torch.tensor([fit.mean, fit.slope]).double(), torch.from_numpy(fit.effects)])
    right = torch.cat([torch.tensor([mu, b]).double(), delta])
    plain = fit_line((a / (100 - a)).log().numpy(), counts.numpy())  # without the halves
    wrong = [torch.cat([torch.tensor([plain.mean, plain.slope]).double(), torch.from_numpy(plain.effects)])]
    assert_equation(left, right, wrong=[*wrong, torch.cat([right[:2], -delta])])


@pytest.mark.display("40f3c673")
def test_12_bend(assert_equation: Check, generator: torch.Generator) -> None:
    counts, linear, square = random_counts(generator), 9.0, -0.7
    x = counts.log2().requires_grad_()
    a = 10 + linear * x + square * x**2
    (left,) = torch.autograd.grad(a.sum(), x)
    right = linear + 2 * square * counts.log2()
    wrong = [linear - 2 * square * counts.log2(), linear + square * counts.log2(), linear + 2 * square * counts.log()]
    assert_equation(left, right, wrong=wrong)
    bend, line, both = crossed._bend((a.detach() + noise(generator, CLASSES, 1)).numpy(), counts.numpy())
    assert_equation(torch.from_numpy(bend), [linear, square])
    assert both == pytest.approx(1)
    assert line < 0.999


@pytest.mark.display("284a306e")
def test_12_partial(assert_equation: Check, generator: torch.Generator) -> None:
    count = noise(generator, 60)
    effect = noise(generator, 60) + 0.5 * count
    signal = 3 * count - 0.4 * effect + 0.3 * noise(generator, 60)
    design = torch.stack([torch.ones(60).double(), count], 1)

    def left_over(v: Tensor) -> Tensor:
        return v - design @ torch.linalg.lstsq(design, v[:, None]).solution[:, 0]

    left = torch.corrcoef(torch.stack([left_over(signal), left_over(effect)]))[0, 1]
    rho = torch.corrcoef(torch.stack([signal, effect, count]))
    ve, vn, en = rho[0, 1], rho[0, 2], rho[1, 2]
    right = (ve - vn * en) / ((1 - vn**2) * (1 - en**2)).sqrt()
    wrong = [(ve + vn * en) / ((1 - vn**2) * (1 - en**2)).sqrt(), ve, (ve - vn * en) / (1 - vn**2).sqrt()]
    assert_equation(left, right, wrong=wrong)
    assert_equation(class_lines.partial_correlation(signal.numpy(), effect.numpy(), count.numpy()), right, wrong=wrong)
    assert right < -0.7 < ve  # the count had covered it up
