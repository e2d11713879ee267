"""The displayed equations of chapter 12, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import lt_core as lt
from lt_core.report.crossed import Fit, fit_line

Check = Callable[..., None]
CLASSES, TURNS = 8, 3


def random_cells(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Accuracies and counts (C, R): several frequencies a class, effects that hang together with them, and noise."""
    counts = torch.randint(5, 500, (CLASSES, TURNS), generator=generator).double()
    effects = 10 * torch.randn(CLASSES, 1, dtype=torch.float64, generator=generator) + 3 * counts.log().mean(1, True)
    noise = 4 * torch.randn(CLASSES, TURNS, dtype=torch.float64, generator=generator)
    return 20 + effects + 5 * counts.log2() + noise, counts


def fitted(a: Tensor, counts: Tensor) -> Fit:
    return fit_line(a.numpy(), counts.numpy())


def by_dummies(a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, class levels and residuals (C, R) by least squares with a column of its own for every class."""
    x = counts.log2().flatten()
    columns = torch.eye(CLASSES, dtype=torch.float64).repeat_interleave(TURNS, 0)
    design = torch.cat([x[:, None], columns], 1)
    solution = torch.linalg.lstsq(design, a.flatten()[:, None]).solution[:, 0]
    return solution[0], solution[1:], (a.flatten() - design @ solution).reshape(a.shape)


@pytest.mark.display("2553b0fb")
def test_12_model(assert_equation: Check, generator: torch.Generator) -> None:
    # Cells made by the display from known numbers; the fit of lt_core, which the tables use, has to find these again.
    counts = torch.randint(5, 500, (CLASSES, TURNS), generator=generator).double()
    x, mu, beta = counts.log2(), 31.0, 5.0
    alpha = 10 * torch.randn(CLASSES, dtype=torch.float64, generator=generator)
    alpha -= alpha.mean()
    # What the line leaves over: noise from which a fit has taken its own slope and levels.
    _, _, epsilon = by_dummies(4 * torch.randn(CLASSES, TURNS, dtype=torch.float64, generator=generator), counts)
    a = torch.zeros(CLASSES, TURNS, dtype=torch.float64)
    for c in range(CLASSES):
        for r in range(TURNS):
            a[c, r] = mu + alpha[c] + beta * (x[c, r] - x.mean()) + epsilon[c, r]
    fit = fitted(a, counts)
    left = torch.cat([torch.tensor([fit.mean, fit.slope], dtype=torch.float64), torch.from_numpy(fit.effects)])

    def numbers(mu: float, beta: float, alpha: Tensor) -> Tensor:
        return torch.cat([torch.tensor([mu, beta], dtype=torch.float64), alpha])

    wrong = [numbers(mu, beta, -alpha), numbers(mu, -beta, alpha), numbers(-mu, beta, alpha)]
    wrong.append(numbers(mu + beta * float(x.mean()), beta, alpha))  # x not taken off its mean
    assert_equation(left, numbers(mu, beta, alpha), wrong=wrong)
    lifted = torch.from_numpy(fitted(a + 7, counts).effects)  # a common part belongs to mu
    assert_equation(lifted, alpha, wrong=[alpha + 7])


@pytest.mark.display("e794b939")
def test_12_confounded(assert_equation: Check, generator: torch.Generator) -> None:
    counts = torch.randint(5, 500, (40,), generator=generator).double()
    x, beta, mu = counts.log2(), 6.0, 30.0
    alpha = 2 * x + 8 * torch.randn(40, dtype=torch.float64, generator=generator)
    alpha -= alpha.mean()
    noise = torch.randn(40, dtype=torch.float64, generator=generator)
    a = mu + alpha + beta * (x - x.mean()) + noise
    design = torch.stack([torch.ones_like(x), x], 1)
    left = torch.linalg.lstsq(design, a[:, None]).solution[1, 0]
    bias = torch.cov(torch.stack([alpha + noise, x]))[0, 1] / x.var()
    assert_equation(left, beta + bias, wrong=[beta - bias, bias - beta, beta])


@pytest.mark.display("69624bdd")
def test_12_slope(assert_equation: Check, generator: torch.Generator) -> None:
    a, counts = random_cells(generator)
    slope, levels, _ = by_dummies(a, counts)
    x = counts.log2()
    within = x - x.mean(1, keepdim=True)
    right = (within * a).sum() / within.square().sum()
    pooled = ((x - x.mean()) * a).sum() / (x - x.mean()).square().sum()
    assert_equation(slope, right, wrong=[pooled])
    assert abs(fitted(a, counts).slope - float(right)) < 1e-9
    shift = right * (x.mean(1) - x.mean())
    effects = a.mean(1) - a.mean() - shift
    plain = a.mean(1) - a.mean()
    assert_equation(levels - levels.mean(), effects - effects.mean(), wrong=[plain, plain + shift])
    assert_equation(torch.from_numpy(fitted(a, counts).effects), effects, wrong=[plain, plain + shift])


@pytest.mark.display("fd624a45")
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
    expected = parts / variance
    found = torch.tensor([shares[name] for name in ("quantity", "class", "both", "residual")], dtype=torch.float64)
    assert_equation(found, expected)


@pytest.mark.display("cf090451")
def test_12_column(assert_equation: Check, generator: torch.Generator) -> None:
    counts = torch.tensor([500, 120, 40, 11, 5])
    logits = torch.randn(60, 5, dtype=torch.float64, generator=generator) + 0.6 * counts.log()
    p = logits.softmax(1)
    means = [math.fsum(column) / 60 for column in p.T.tolist()]
    u, v = [math.log(n) for n in counts.tolist()], [math.log(m) for m in means]
    mu, mv = math.fsum(u) / 5, math.fsum(v) / 5
    covariance = math.fsum((s - mu) * (t - mv) for s, t in zip(u, v, strict=True))
    right = covariance / math.fsum((s - mu) ** 2 for s in u)
    turned = covariance / math.fsum((t - mv) ** 2 for t in v)
    mean_log = torch.corrcoef(torch.stack([p.log().mean(0), counts.log().double()]))[0, 1]
    assert_equation(lt.metrics.column_mean_slope(p, counts), right, wrong=[turned, mean_log])


@pytest.mark.display("4b76fce3")
def test_12_ece(assert_equation: Check, generator: torch.Generator) -> None:
    p = (3 * torch.randn(300, 6, dtype=torch.float64, generator=generator)).softmax(1)
    labels = torch.randint(6, (300,), generator=generator)
    bins: dict[int, list[tuple[float, float]]] = {}
    for row, y in zip(p.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        bins.setdefault(min(int(confidence * 15), 14), []).append((float(row.index(confidence) == y), confidence))
    right = summed = 0.0
    for members in bins.values():
        hits = math.fsum(hit for hit, _ in members) / len(members)
        mean = math.fsum(confidence for _, confidence in members) / len(members)
        right += len(members) / 300 * abs(hits - mean)
        summed += len(members) / 300 * abs(hits + mean)
    assert_equation(lt.metrics.expected_calibration_error(p, labels), right, wrong=[summed], tolerance=1e-6)
