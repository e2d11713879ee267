"""The displayed equations of chapter 11, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats

import lt_core as lt

Check = Callable[..., None]


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of an increasing function between ``low`` and ``high``."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2


@pytest.mark.display("377c52ca")
def test_11_max(assert_equation: Check, generator: torch.Generator) -> None:
    a, b = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    right = (a + b) / 2 + (a - b).abs() / 2
    assert_equation(torch.maximum(a, b), right, wrong=[(a + b) / 2 - (a - b).abs() / 2, (a + b) / 2 + (a - b) / 2])


@pytest.mark.display("461a7065")
@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.3, 0.95])
def test_11_better(assert_equation: Check, rho: float) -> None:
    mu, sigma = 34.0, 0.7
    # The density of the larger of two correlated standard normals: one of them is at x, the other, given that, below.
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    normal = torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    density = 2 * normal * torch.special.ndtr((x - rho * x) / math.sqrt(1 - rho**2))
    left = torch.trapezoid((mu + sigma * x) * density, x)
    gain = sigma * math.sqrt((1 - rho) / math.pi)
    wrong = [mu - gain, mu + sigma * math.sqrt((1 + rho) / math.pi)] if rho else [mu - gain]
    assert_equation(left, mu + gain, wrong=[*wrong, mu + gain / math.sqrt(2), mu + gain / sigma])


@pytest.mark.display("b5b65a16")
@pytest.mark.parametrize("pairs", [2, 3, 5, 10])
def test_11_interval(assert_equation: Check, generator: torch.Generator, pairs: int) -> None:
    differences = 1 + torch.randn(pairs, dtype=torch.float64, generator=generator)

    def p_value(shift: float) -> float:
        return float(stats.ttest_1samp(differences.numpy(), shift).pvalue)

    mean, deviation = differences.mean().item(), differences.std().item()
    low = bisect(lambda shift: p_value(shift) - 0.05, mean - 100 * deviation, mean)
    high = bisect(lambda shift: 0.05 - p_value(shift), mean, mean + 100 * deviation)
    half = stats.t.ppf(0.975, pairs - 1) * deviation / math.sqrt(pairs)
    normal, population = half * 1.96 / stats.t.ppf(0.975, pairs - 1), half * math.sqrt((pairs - 1) / pairs)
    wrong = [[mean + half, mean - half], *([mean - h, mean + h] for h in (normal, population, half * math.sqrt(pairs)))]
    assert_equation(torch.tensor([low, high]), torch.tensor([mean - half, mean + half]), wrong=wrong, tolerance=1e-5)


@pytest.mark.display("aa7e0936")
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_11_pays(assert_equation: Check, seeds: int) -> None:
    contrast, sigma = torch.tensor([1.0, -1.0], dtype=torch.float64), 0.6
    paired, unpaired = (stats.t.ppf(0.975, degrees) for degrees in (seeds - 1, 2 * seeds - 2))

    def saving(rho: float) -> float:
        """Mean squared half-width of the unpaired interval less that of the paired one."""
        covariance = sigma**2 * torch.tensor([[1, rho], [rho, 1]], dtype=torch.float64)
        of_difference = float(contrast @ covariance @ contrast)  # expected sample variance of a - b
        pooled = float(covariance.diagonal().mean())  # expected pooled variance
        return unpaired**2 * pooled * 2 / seeds - paired**2 * of_difference / seeds

    ratio = unpaired / paired
    wrong = [1 + ratio**2, 1 - ratio, 1 - 1 / ratio**2]
    assert_equation(bisect(saving, -1.0, 1.0), 1 - ratio**2, wrong=wrong)
    assert saving(1 - ratio**2 + 0.05) > 0 > saving(1 - ratio**2 - 0.05)


@pytest.mark.display("015d1324")
def test_11_break_even(assert_equation: Check, generator: torch.Generator) -> None:
    # Left from the counts of CIFAR100-LT at imbalance factor 100, an accuracy a class; right the printed shares.
    counts = lt.data.class_counts()
    before, after = 100 * torch.rand(2, len(counts), dtype=torch.float64, generator=generator)
    groups = lt.metrics.shot_groups(counts)
    change = torch.stack([(after - before)[groups[name]].mean() for name in ("many", "medium", "few")])
    right = 0.35 * change[0] + 0.35 * change[1] + 0.30 * change[2]
    wrong = [change.mean(), 0.35 * change[0] - 0.35 * change[1] - 0.30 * change[2], right - 0.05 * change[2]]
    assert_equation(after.mean() - before.mean(), right, wrong=wrong)
