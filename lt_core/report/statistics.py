"""The book's one analysis of results over seeds, decided before looking (chapter 11 derives it).

The model is ``value = method + seed + error``, the errors normal and of one variance: `Analysis`. How far two methods
must lie apart depends on the question, which is asked before the runs: every row against one control (Dunnett), a few
contrasts written down beforehand (Bonferroni), or all pairs (Tukey). Every interval covers this only: the same methods
trained again, on these images, in this class order, judged by these test images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lt_core.training.configs import MOST_CONTRASTS

LEVEL = 0.95  # of all intervals of a family together
CLEAR, UNRESOLVED = "clear", "not resolved"
Values = Mapping[str, Mapping[int, float]]  # a number for each method and seed


def mean_sd(values: Sequence[float | None], digits: int = 1) -> str:
    """``"38.3 ± 0.4"`` over several runs (sample standard deviation), ``"38.3"`` for one, ``"–"`` where None occurs.

    Example:
        >>> from lt_core.report import mean_sd
        >>> mean_sd([38.0, 39.0]), mean_sd([38.25]), mean_sd([None])
        ('38.5 ± 0.7', '38.2', '–')
    """
    if not values or any(value is None for value in values):
        return "–"
    numbers = np.array(values, dtype=float)
    if len(numbers) == 1:
        return f"{numbers[0]:z.{digits}f}"
    return f"{numbers.mean():z.{digits}f} ± {numbers.std(ddof=1):.{digits}f}"


@dataclass(frozen=True)
class Comparison:
    """A mean difference with its simultaneous interval, or the difference alone where one seed allows no interval.

    Args:
        difference: in the unit of the values.
        half: half the width of the interval, by the standard deviation of the whole table; None without an interval.
        own_half: the same by the two methods' own standard deviations where these are larger, else ``half``.
        seeds: runs of each method.
    """

    difference: float
    half: float | None
    own_half: float | None
    seeds: int

    @property
    def clear(self) -> bool:
        """Whether the difference lies outside both half-widths."""
        return self.half is not None and self.own_half is not None and abs(self.difference) > self.own_half

    @property
    def verdict(self) -> str:
        """``"clear"``, ``"not resolved"`` (which never means equal), or ``"–"`` where there is no interval."""
        return "–" if self.half is None else CLEAR if self.clear else UNRESOLVED

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its ends; None where there is none."""
        return None if self.half is None else (self.difference - self.half, self.difference + self.half)

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.difference:+.1f} (one seed)"
        return f"{self.difference:+.1f} [{self.interval[0]:+.1f}, {self.interval[1]:+.1f}]"


@dataclass(frozen=True)
class Correlation:
    """How much the runs of one seed have in common: an estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Analysis:
    """The values of M methods at the same S seeds; `analyse` makes it.

    ``values`` is (M, S), in the order of ``methods`` and ``seeds``.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `sd`, (M - 1)(S - 1)."""
        return (len(self.methods) - 1) * (len(self.seeds) - 1)

    @property
    def sd(self) -> float | None:
        """Square root of the residual mean square; None for one method or one seed."""
        if not self.degrees:
            return None
        v = self.values
        residual = v - v.mean(1, keepdims=True) - v.mean(0, keepdims=True) + v.mean()
        return float(((residual**2).sum() / self.degrees) ** 0.5)

    def own_sd(self, method: str) -> float | None:
        """Sample standard deviation of one method over its seeds; None for one seed."""
        row = self.values[self._row(method)]
        return float(row.std(ddof=1)) if len(row) > 1 else None

    def difference(self, method: str, minus: str, quantile: float | None) -> Comparison:
        """One difference of means; ``quantile`` is that of the family it belongs to, None without an interval."""
        rows = self.values[[self._row(method), self._row(minus)]]
        mean, number, sd = float(rows[0].mean() - rows[1].mean()), len(self.seeds), self.sd
        if quantile is None or sd is None:
            return Comparison(mean, None, None, number)
        own = float(rows.var(1, ddof=1).mean() ** 0.5)
        scale = quantile * (2 / number) ** 0.5
        return Comparison(mean, scale * sd, scale * max(sd, own), number)

    def against(self, control: str) -> dict[str, Comparison]:
        """Every other method minus ``control``, by Dunnett's quantile for M - 1 comparisons."""
        self._row(control)
        others = [name for name in self.methods if name != control]
        quantile = dunnett_quantile(len(others), self.degrees) if self.degrees else None
        return {name: self.difference(name, control, quantile) for name in others}

    def contrasts(self, pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
        """First minus second of each pair, by Student's quantile with Bonferroni's correction for their number.

        Args:
            pairs: written down before the runs; at most `MOST_CONTRASTS`.

        Raises:
            ValueError: no pair, more than `MOST_CONTRASTS`, one twice (also turned round), or an unknown method.
        """
        _check_contrasts(pairs)
        quantile = bonferroni_quantile(len(pairs), self.degrees) if self.degrees else None
        return [self.difference(method, minus, quantile) for method, minus in pairs]

    def all_pairs(self) -> dict[tuple[str, str], Comparison]:
        """Each method minus each that stands before it, by Tukey's quantile for all pairs of M methods."""
        quantile = tukey_quantile(len(self.methods), self.degrees) if self.degrees else None
        pairs = [(a, b) for place, a in enumerate(self.methods) for b in self.methods[:place]]
        return {pair: self.difference(*pair, quantile) for pair in pairs}

    def seed_correlation(self) -> Correlation:
        """Correlation of two methods at one seed, with its interval from the F distribution (Shrout and Fleiss 1979).

        Raises:
            ValueError: one method or one seed, or values without any residual.
        """
        from scipy import stats

        sd, many = self.sd, len(self.methods)
        if not sd:
            raise ValueError(
                f"{many} methods at {len(self.seeds)} seeds have no residual; "
                "a correlation needs two of each and values that are no sums of method and seed"
            )
        ratio = many * float(self.values.mean(0).var(ddof=1)) / sd**2
        degrees = len(self.seeds) - 1, self.degrees
        ends = [ratio / float(stats.f.ppf(level, *degrees)) for level in ((1 + LEVEL) / 2, (1 - LEVEL) / 2)]
        estimate, low, high = ((f - 1) / (f + many - 1) for f in (ratio, *ends))
        return Correlation(estimate, low, high)

    def _row(self, method: str) -> int:
        if method not in self.methods:
            raise ValueError(f"the method is {method!r}; the table has {', '.join(self.methods)}")
        return self.methods.index(method)


def analyse(values: Values) -> Analysis:
    """The analysis of a table: a finite number for each method and seed.

    Raises:
        ValueError: no method or no seed, a value that is not finite, or methods with different seeds (the message has
            each method's).

    Example:
        >>> import lt_core as lt
        >>> table = lt.report.analyse({"A": {0: 30.0, 1: 31.0, 2: 32.0}, "B": {0: 33.0, 1: 36.0, 2: 36.0}})
        >>> table.degrees, round(table.sd, 2), str(table.contrasts([("B", "A")])[0])
        (2, 0.71, '+4.0 [+1.5, +6.5]')
    """
    if not values or not all(values.values()):
        raise ValueError("the table has no value; at least one method with one seed is needed")
    listed = {name: tuple(sorted(by_seed)) for name, by_seed in values.items()}
    if len(set(listed.values())) > 1:
        told = "; ".join(f"{name}: {', '.join(map(str, seeds))}" for name, seeds in listed.items())
        raise ValueError(f"the rows of a table need the same seeds, and have {told}")
    (seeds,) = set(listed.values())
    table = np.array([[float(by_seed[seed]) for seed in seeds] for by_seed in values.values()])
    if not np.isfinite(table).all():
        raise ValueError("a value is not finite; all of a table must be")
    return Analysis(tuple(values), seeds, table)


def second_stages(
    stages: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]], number: int | None = None
) -> dict[str, Comparison]:
    """Each second stage minus its own parent, seed by seed, such as an adjusted network minus the network as trained.

    A second stage shares its parent's luck, so differences within a seed are what varies. Their standard deviation is
    pooled over the stages (J of them at S seeds: J(S - 1) degrees of freedom), and the quantile is Bonferroni's for J.

    Args:
        stages: by name, the values of the second stage and those of its parent by seed.
        number: of comparisons that the intervals hold for together; default: J.

    Raises:
        ValueError: no stage, or seeds that differ within or between stages.

    Example:
        >>> import lt_core as lt
        >>> found = lt.report.second_stages({"A, adjusted": ({0: 33.0, 1: 34.5}, {0: 30.0, 1: 31.0})})
        >>> print(found["A, adjusted"])
        +3.2 [+0.1, +6.4]
    """
    flat = {}
    for name, (after, before) in stages.items():
        flat[name] = after
        flat[f"parent of {name}"] = before
    table = analyse(flat)
    changes = table.values[0::2] - table.values[1::2]
    many, seeds = changes.shape
    if seeds < 2:
        return {name: Comparison(float(row.mean()), None, None, 1) for name, row in zip(stages, changes, strict=True)}
    pooled = float(changes.var(1, ddof=1).mean() ** 0.5)
    scale = bonferroni_quantile(number or many, many * (seeds - 1)) / seeds**0.5
    return {
        name: Comparison(float(row.mean()), scale * pooled, scale * max(pooled, float(row.std(ddof=1))), seeds)
        for name, row in zip(stages, changes, strict=True)
    }


def _check_contrasts(pairs: Sequence[tuple[str, str]]) -> None:
    if not 1 <= len(pairs) <= MOST_CONTRASTS:
        raise ValueError(
            f"there are {len(pairs)} contrasts; 1 to {MOST_CONTRASTS} are allowed, written down beforehand"
        )
    seen = [frozenset(pair) for pair in pairs]
    for (method, minus), both in zip(pairs, seen, strict=True):
        if len(both) < 2:
            raise ValueError(f"a contrast is {method!r} against itself; two methods are needed")
        if seen.count(both) > 1:
            raise ValueError(f"the contrast of {method!r} and {minus!r} stands twice")


def bonferroni_quantile(number: int, degrees: int) -> float:
    """Student's two-sided quantile for ``number`` comparisons: each errs in 5 % / ``number``, all together in <= 5 %.

    Args:
        number: of comparisons, at least 1.
        degrees: of freedom, at least 1.
    """
    from scipy import stats

    _check(number, degrees)
    return float(stats.t.ppf(1 - (1 - LEVEL) / (2 * number), degrees))


def tukey_quantile(methods: int, degrees: int) -> float:
    """Quantile of the largest pairwise t statistic of ``methods`` >= 2 means (Tukey's studentized range over √2)."""
    from scipy import stats

    _check(methods - 1, degrees)
    return float(stats.studentized_range.ppf(LEVEL, methods, degrees)) / math.sqrt(2)


def dunnett_quantile(number: int, degrees: int) -> float:
    """Two-sided quantile for ``number`` comparisons with one control (Dunnett 1955).

    The t statistics share the control's mean, so any two are correlated by 1/2. Given the control's standardised error
    z and the ratio u of estimated to true standard deviation they are independent, which leaves two integrals, over z
    and u. `scipy.stats.dunnett` answers the same question for separate groups, whose degrees of freedom are others.

    Args:
        number: of comparisons, at least 1.
        degrees: of freedom, at least 1.
    """
    from scipy import optimize

    _check(number, degrees)
    most = bonferroni_quantile(number, degrees)  # never narrower than Dunnett's
    least = bonferroni_quantile(1, degrees)  # and one comparison never wider
    if number == 1:
        return least
    return float(optimize.brentq(lambda q: dunnett_cdf(q, number, degrees) - LEVEL, least, most, xtol=1e-8))


def dunnett_cdf(quantile: float, number: int, degrees: int) -> float:
    """Probability that none of ``number`` comparisons with one control exceeds ``quantile`` by its size.

    By Gauss–Legendre rules of 96 points: over z in [-8.5, 8.5], and over the levels of u.
    """
    from scipy import special, stats

    points, weights = np.polynomial.legendre.leggauss(96)
    z = 8.5 * points[:, None]
    density = 8.5 * weights * np.exp(-0.5 * z[:, 0] ** 2) / math.sqrt(2 * math.pi)
    levels = (points + 1) / 2
    u = np.sqrt(stats.chi2.ppf(levels, degrees) / degrees)[None, :]
    reach = math.sqrt(2) * quantile * u
    inside = (special.ndtr(z + reach) - special.ndtr(z - reach)) ** number
    return float(density @ inside @ (weights / 2))


def _check(number: int, degrees: int) -> None:
    if number < 1 or degrees < 1:
        raise ValueError(f"{number} comparisons with {degrees} degrees of freedom; at least 1 of each is needed")
