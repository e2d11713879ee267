"""The displayed equations of chapter 11, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch.nn.functional import one_hot

import lt_core as lt

Check = Callable[..., None]


def bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of an increasing function between ``low`` and ``high``."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2


@pytest.mark.display("99286217")
def test_11_max(assert_equation: Check, generator: torch.Generator) -> None:
    a, b = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    right = (a + b) / 2 + (a - b).abs() / 2
    assert_equation(torch.maximum(a, b), right, wrong=[(a + b) / 2 - (a - b).abs() / 2, (a + b) / 2 + (a - b) / 2])


@pytest.mark.display("4e172fe4")
@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.3, 0.95])
def test_11_better(assert_equation: Check, rho: float) -> None:
    mu, sigma = 34.0, 0.7
    # The density of the larger of two correlated standard normals: one of them is at x, the other, given that, below.
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    normal = torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    density = 2 * normal * torch.special.ndtr((x - rho * x) / math.sqrt(1 - rho**2))
    left = torch.trapezoid((mu + sigma * x) * density, x)
    scale = math.sqrt(2) * normal[len(x) // 2].item() * sigma  # the density at zero
    gain = scale * math.sqrt(1 - rho)
    wrong = [mu - gain, mu + scale * math.sqrt(1 + rho)] if rho else [mu - gain]
    assert_equation(left, mu + gain, wrong=[*wrong, mu + gain / math.sqrt(2), mu + gain / sigma])


def regression(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Least squares with an indicator a method and a seed: effects of the methods, residuals, degrees of freedom."""
    many, seeds = values.shape
    rows, columns = torch.arange(many).repeat_interleave(seeds), torch.arange(seeds).repeat(many)
    design = torch.cat([one_hot(rows, many), one_hot(columns, seeds)[:, 1:]], 1).double()
    fitted = torch.linalg.lstsq(design, values.reshape(-1, 1)).solution
    return fitted[:many, 0], (values.reshape(-1, 1) - design @ fitted)[:, 0], len(design) - design.shape[1]


@pytest.mark.display("b7f2a364")
@pytest.mark.parametrize(("many", "seeds"), [(2, 3), (3, 3), (6, 3), (4, 7)])
def test_11_residual(assert_equation: Check, generator: torch.Generator, many: int, seeds: int) -> None:
    v = 30 + torch.randn(many, seeds, dtype=torch.float64, generator=generator)
    _, residuals, degrees = regression(v)
    left = residuals.square().sum() / degrees
    row, column = v.mean(1, keepdim=True), v.mean(0, keepdim=True)

    def right(rest: torch.Tensor, free: int = (many - 1) * (seeds - 1)) -> torch.Tensor:
        return rest.square().sum() / free

    wrong = [right(v - row - column - v.mean()), right(v - row + column + v.mean()), right(v - row)]
    wrong += [right(v - column), right(v - row - column + v.mean(), many * seeds - 1)]
    wrong += [right(v - row - column + v.mean(), many * seeds), (v - row - column + v.mean()).sum() / degrees]
    assert_equation(left, right(v - row - column + v.mean()), wrong=wrong)


@pytest.mark.display("ca706709")
@pytest.mark.parametrize(("many", "seeds"), [(2, 3), (6, 3), (3, 8)])
def test_11_interval(assert_equation: Check, generator: torch.Generator, many: int, seeds: int) -> None:
    # Left: the shifts at which the F test of "the two effects differ by so much" has p = 0.05; the family is of one.
    v = 30 + torch.randn(many, seeds, dtype=torch.float64, generator=generator)
    effects, residuals, degrees = regression(v)
    error = residuals.square().sum().item()

    def p_value(shift: float) -> float:
        # Least squares with one effect for both methods, after the shift: what that adds to the sum of squares.
        moved = v.clone()
        moved[0] -= shift
        rows = torch.tensor([0, *range(many - 1)]).repeat_interleave(seeds)
        design = torch.cat([one_hot(rows), one_hot(torch.arange(seeds).repeat(many))[:, 1:]], 1).double()
        rest = moved.reshape(-1, 1) - design @ torch.linalg.lstsq(design, moved.reshape(-1, 1)).solution
        return float(stats.f.sf((rest.square().sum().item() - error) * degrees / error, 1, degrees))

    mean = (effects[0] - effects[1]).item()
    low = bisect(lambda shift: p_value(shift) - 0.05, mean - 100, mean)
    high = bisect(lambda shift: 0.05 - p_value(shift), mean, mean + 100)
    q, s_v = float(stats.t.ppf(0.975, degrees)), math.sqrt(error / degrees)

    def right(half: float) -> list[float]:
        return [v[0].mean().item() - v[1].mean().item() - half, v[0].mean().item() - v[1].mean().item() + half]

    half = q * s_v * math.sqrt(2 / seeds)
    wrong = [right(h) for h in (-half, half / math.sqrt(2), half * math.sqrt(seeds), half * s_v, half / q)]
    assert_equation(torch.tensor([low, high]), torch.tensor(right(half)), wrong=wrong, tolerance=1e-5)


@pytest.mark.display("5745523a")
@pytest.mark.parametrize(("questions", "many", "seeds"), [(1, 2, 3), (6, 6, 3), (8, 4, 5)])
def test_11_family(assert_equation: Check, questions: int, many: int, seeds: int) -> None:
    # Left: the bound that Student's density leaves outside with probability 0.05 / K.
    degrees = (many - 1) * (seeds - 1)
    constant = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def inside(q: float) -> float:
        x = torch.linspace(0, q, 20_001, dtype=torch.float64)
        return 2 * torch.trapezoid(constant * (1 + x**2 / degrees) ** (-(degrees + 1) / 2), x).item()

    left = bisect(lambda q: inside(q) - (1 - 0.05 / questions), 0, 50)
    right = stats.t.ppf(1 - 0.025 / questions, degrees)
    wrong = [stats.t.ppf(1 - 0.05 / questions, degrees), stats.t.ppf(1 - 0.025 / (questions + 1), degrees)]
    wrong += [stats.t.ppf(1 - 0.025 / questions, d) for d in (many * (seeds - 1), many * seeds - 1)]
    assert_equation(left, right, wrong=wrong, tolerance=1e-5)
    assert lt.report.statistics.bonferroni_quantile(questions, degrees) == pytest.approx(right)


@pytest.mark.display("da2070c5")
@pytest.mark.parametrize("restless", [0.1, 1.0, 5.0])
def test_11_clear(assert_equation: Check, generator: torch.Generator, restless: float) -> None:
    # Left: from which difference on the library says "clear"; the rows are moved apart until it does.
    v = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    v[0] *= restless

    def clear(gap: float) -> bool:
        moved = v - v.mean(1, keepdim=True)
        moved[0] += gap
        table = lt.report.analyse({str(m): dict(enumerate(row.tolist())) for m, row in enumerate(moved)})
        return table.contrasts([("0", "1"), ("2", "3")])[0].clear

    left = bisect(lambda gap: 1.0 if clear(gap) else -1.0, 0, 200)
    _, residuals, degrees = regression(v)
    s_v, own = (residuals.square().sum() / degrees).sqrt(), v[:2].var(1)
    q = stats.t.ppf(1 - 0.025 / 2, degrees)

    def right(spread: torch.Tensor) -> torch.Tensor:
        return q * math.sqrt(2 / 3) * spread

    wrong = [right(torch.minimum(s_v, (own.sum() / 2).sqrt())), right(s_v + (own.sum() / 2).sqrt())]
    if restless > 1:  # the own deviations decide
        wrong += [right(torch.maximum(s_v, own.sum().sqrt())), right(torch.maximum(s_v, own.sum() / 2))]
    assert_equation(left, right(torch.maximum(s_v, (own.sum() / 2).sqrt())), wrong=wrong, tolerance=1e-6)


@pytest.mark.display("73ebdfb8")
@pytest.mark.parametrize(("stages", "seeds"), [(1, 3), (6, 3), (2, 8)])
def test_11_stages(assert_equation: Check, generator: torch.Generator, stages: int, seeds: int) -> None:
    d = 3 + torch.randn(stages, seeds, dtype=torch.float64, generator=generator)
    # Left: half the mean squared difference of two seeds of a row, each pair once.
    pairs = torch.combinations(torch.arange(seeds))
    left = (d[:, pairs[:, 0]] - d[:, pairs[:, 1]]).square().mean() / 2
    rest = d - d.mean(1, keepdim=True)

    def right(squares: torch.Tensor, free: int = stages * (seeds - 1)) -> torch.Tensor:
        return squares.sum() / free

    wrong = [right((d + d.mean(1, keepdim=True)).square()), right(rest.square(), stages * seeds), right(d.square())]
    wrong += [right(rest.abs()), right(rest.square(), seeds - 1) if stages > 1 else right(rest.square(), seeds)]
    assert_equation(left, right(rest.square()), wrong=wrong)
    found = lt.report.second_stages(
        {str(j): (dict(enumerate(row.tolist())), dict.fromkeys(range(seeds), 0.0)) for j, row in enumerate(d)}
    )
    half = stats.t.ppf(1 - 0.025 / stages, stages * (seeds - 1)) * left.sqrt().item() / math.sqrt(seeds)
    assert {round(change.half or 0, 9) for change in found.values()} == {round(half, 9)}


@pytest.mark.display("3d356e79")
@pytest.mark.parametrize(("many", "seeds"), [(2, 4), (6, 3)])
def test_11_correlation(assert_equation: Check, generator: torch.Generator, many: int, seeds: int) -> None:
    # Left, as the page says it: the mean covariance of two methods over the mean variance.
    v = torch.randn(many, seeds, dtype=torch.float64, generator=generator)
    v += torch.randn(seeds, dtype=torch.float64, generator=generator)
    covariance = torch.cov(v)
    other = ~torch.eye(many, dtype=torch.bool)
    left = covariance[other].mean() / covariance.diagonal().mean()
    _, residuals, degrees = regression(v)
    ratio = many * v.mean(0).var() / (residuals.square().sum() / degrees)
    right = (ratio - 1) / (ratio + many - 1)
    wrong = [(ratio + 1) / (ratio + many - 1), (ratio - 1) / (ratio - many - 1), (ratio - 1) / (ratio + many + 1)]
    wrong += [(ratio - 1) / (ratio + many), (ratio - 1) / (many * ratio + many - 1)]
    assert_equation(left, right, wrong=wrong)
    table = lt.report.analyse({str(m): dict(enumerate(row.tolist())) for m, row in enumerate(v)})
    assert table.seed_correlation().estimate == pytest.approx(right.item())


@pytest.mark.display("1249198c")
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


@pytest.mark.display("a780dba2")
def test_11_break_even(assert_equation: Check, generator: torch.Generator) -> None:
    # Left from the counts of CIFAR100-LT at imbalance factor 100, an accuracy a class; right the printed shares.
    counts = lt.data.class_counts()
    before, after = 100 * torch.rand(2, len(counts), dtype=torch.float64, generator=generator)
    groups = lt.metrics.shot_groups(counts)
    change = torch.stack([(after - before)[groups[name]].mean() for name in ("many", "medium", "few")])
    right = 0.35 * change[0] + 0.35 * change[1] + 0.30 * change[2]
    wrong = [change.mean(), 0.35 * change[0] - 0.35 * change[1] - 0.30 * change[2], right - 0.05 * change[2]]
    assert_equation(after.mean() - before.mean(), right, wrong=wrong)
