"""The one analysis of the book: closed forms, tables of quantiles, the error of whole families, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lt_core.report.statistics import (
    Analysis,
    analyse,
    bonferroni_quantile,
    dunnett_cdf,
    dunnett_quantile,
    mean_sd,
    second_stages,
    tukey_quantile,
)


def table(methods: int, seeds: int, generator: np.random.Generator, spread: float = 0.0) -> NDArray[np.float64]:
    """Values (methods, seeds) of equal methods with a seed effect; ``spread`` is that of their log deviations."""
    sd = np.exp(spread * generator.normal(size=(methods, 1)))
    return 30 + generator.normal(size=seeds) + sd * generator.normal(size=(methods, seeds))


def named(values: NDArray[np.float64]) -> Analysis:
    return analyse({f"m{i}": dict(enumerate(row)) for i, row in enumerate(values)})


def test_a_small_table_by_hand() -> None:
    # Method means 31, 35; seed means 31.5, 33.5, 34. Residuals of the first row .5, -.5, 0, of the second -.5, .5, 0.
    found = analyse({"A": {0: 30.0, 1: 31.0, 2: 32.0}, "B": {2: 36.0, 1: 36.0, 0: 33.0}})
    assert found.seeds == (0, 1, 2)
    assert found.degrees == 2
    assert found.sd == pytest.approx(math.sqrt(4 * 0.25 / 2))
    assert found.own_sd("B") == pytest.approx(math.sqrt(3))
    difference = found.contrasts([("B", "A")])[0]
    half = stats.t.ppf(0.975, 2) * math.sqrt(0.5) * math.sqrt(2 / 3)
    assert (difference.difference, difference.half) == pytest.approx((4, half))
    # The two own variances, 1 and 3, have the mean 2: twice as wide as by s.
    assert difference.own_half == pytest.approx(2 * half)
    assert (difference.clear, difference.verdict) == (False, "not resolved")
    assert str(difference) == "+4.0 [+1.5, +6.5]"


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_two_methods_are_the_paired_t_test(seeds: int) -> None:
    values = table(2, seeds, np.random.default_rng(seeds))
    found = named(values).contrasts([("m0", "m1")])[0]
    interval = stats.ttest_rel(values[0], values[1]).confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high))


def test_the_residual_variance_is_that_of_least_squares_and_ignores_seed_and_method_effects() -> None:
    values = table(5, 4, np.random.default_rng(1))
    rows, columns = np.divmod(np.arange(20), 4)
    design = np.column_stack([rows[:, None] == np.arange(5), columns[:, None] == np.arange(1, 4)]).astype(float)
    _, squares, rank, _ = np.linalg.lstsq(design, values.ravel(), rcond=None)
    assert named(values).sd == pytest.approx(math.sqrt(squares[0] / (20 - rank)))
    moved = values + 100 * np.arange(5)[:, None] - 7 * np.arange(4)
    assert named(moved).sd == pytest.approx(named(values).sd)


# Dunnett's two-sided 5 % points as printed in textbooks, 1 to 5 comparisons.
PRINTED = {5: (2.57, 3.03, 3.29, 3.48, 3.62), 10: (2.23, 2.57, 2.76, 2.89, 2.99), 20: (2.09, 2.38, 2.54, 2.65, 2.73)}


@pytest.mark.parametrize("degrees", PRINTED)
def test_dunnetts_quantiles_are_the_printed_ones(degrees: int) -> None:
    found = [dunnett_quantile(number, degrees) for number in range(1, 6)]
    assert found == pytest.approx(PRINTED[degrees], abs=0.006)
    assert found[0] == pytest.approx(stats.t.ppf(0.975, degrees))


@pytest.mark.parametrize(("number", "degrees"), [(2, 2), (3, 4), (5, 10), (8, 16)])
def test_dunnetts_probability_is_the_multivariate_ts(number: int, degrees: int) -> None:
    shape = np.full((number, number), 0.5) + 0.5 * np.eye(number)
    quantile = dunnett_quantile(number, degrees)
    box = stats.multivariate_t(shape=shape, df=degrees, seed=0)
    assert box.cdf(np.full(number, quantile), lower_limit=np.full(number, -quantile)) == pytest.approx(0.95, abs=1e-3)


def test_dunnetts_probability_is_scipys_where_scipy_has_it() -> None:
    generator = np.random.default_rng(3)
    control, *others = generator.normal(size=(4, 6))
    found = stats.dunnett(*others, control=control, random_state=0)
    ours = [1 - dunnett_cdf(abs(t), 3, 4 * 6 - 4) for t in found.statistic]
    assert ours == pytest.approx(list(found.pvalue), abs=2e-3)


def test_the_quantiles_stand_in_the_order_of_their_questions() -> None:
    assert bonferroni_quantile(1, 10) < dunnett_quantile(5, 10) < bonferroni_quantile(5, 10) < tukey_quantile(6, 10)
    assert tukey_quantile(2, 10) == pytest.approx(stats.t.ppf(0.975, 10))
    assert tukey_quantile(3, 10) == pytest.approx(3.877 / math.sqrt(2), abs=1e-3)  # the printed studentized range


def family_error(question: str, methods: int, spread: float, tables: int = 700) -> tuple[float, float]:
    """How often at least one difference of equal methods leaves its interval, and how often one is called clear."""
    generator = np.random.default_rng(7)
    outside = clear = 0
    for _ in range(tables):
        found = named(table(methods, 3, generator, spread))
        if question == "control":
            compared = list(found.against("m0").values())
        elif question == "pairs":
            compared = list(found.all_pairs().values())
        else:
            compared = found.contrasts([("m1", "m0"), ("m2", "m1"), ("m3", "m0"), ("m5", "m4")])
        outside += any(abs(c.difference) > c.half for c in compared if c.half is not None)
        clear += any(c.clear for c in compared)
    return outside / tables, clear / tables


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles found once: a simulation asks for the same one thousands of times."""
    import functools

    from lt_core.report import statistics

    for name in ("dunnett_quantile", "tukey_quantile", "bonferroni_quantile"):
        monkeypatch.setattr(statistics, name, functools.cache(getattr(statistics, name)))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("question", "low", "high"), [("control", 3, 7.4), ("pairs", 3, 7.4), ("contrasts", 1.8, 6.6)])
def test_a_whole_family_errs_in_five_per_cent(question: str, low: float, high: float) -> None:
    outside, clear = family_error(question, 6, spread=0)
    assert low < 100 * outside < high
    assert clear < outside


@pytest.mark.usefixtures("quick")
def test_the_second_condition_protects_where_methods_differ_in_spread() -> None:
    outside, clear = family_error("control", 12, spread=0.5)
    assert outside > 0.075  # the interval alone errs too often
    assert clear < 0.75 * outside


def test_clear_needs_both_conditions() -> None:
    steady = {"A": {0: 30.0, 1: 30.1, 2: 29.9}, "B": {0: 30.8, 1: 30.6, 2: 30.7}, "C": {0: 29.9, 1: 30.0, 2: 30.1}}
    restless = {"D": {0: 35.0, 1: 25.0, 2: 33.0}}
    found = analyse(steady | restless).against("A")
    assert found["D"].half is not None
    assert found["D"].own_half > found["D"].half
    alone = analyse(steady).against("A")["B"]
    assert alone.own_half == alone.half
    assert alone.clear
    assert not found["B"].clear  # the restless row widens s for all


def test_correlation_of_one_seed() -> None:
    generator = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        shared = generator.normal(size=4) * math.sqrt(0.3)
        found = named(shared + math.sqrt(0.7) * generator.normal(size=(6, 4))).seed_correlation()
        assert found.low < found.estimate < found.high
        inside.append(found.low < 0.3 < found.high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)
    alike = named(np.arange(4) + 1e-3 * generator.normal(size=(6, 4))).seed_correlation()
    assert alike.low > 0.99
    with pytest.raises(ValueError, match="1 methods at 4 seeds have no residual"):
        named(generator.normal(size=(1, 4))).seed_correlation()
    with pytest.raises(ValueError, match="no sums of method and seed"):
        named(np.zeros((2, 2))).seed_correlation()


def test_second_stages_are_compared_with_their_parents_seed_by_seed() -> None:
    after = {"A": ({0: 33.0, 1: 35.0, 2: 36.0}, {0: 30.0, 1: 31.0, 2: 32.0})}
    after["B"] = ({0: 20.0, 1: 20.0, 2: 23.0}, {0: 20.0, 1: 21.0, 2: 22.0})
    found = second_stages(after)
    # Changes 3, 4, 4 and 0, -1, 1: variances 1/3 and 1, pooled 2/3 with 4 degrees of freedom.
    quantile = stats.t.ppf(1 - 0.025 / 2, 4)
    assert found["A"].difference == pytest.approx(11 / 3)
    assert found["A"].half == found["A"].own_half == pytest.approx(quantile * math.sqrt(2 / 3) / math.sqrt(3))
    assert found["B"].own_half == pytest.approx(quantile * 1 / math.sqrt(3))
    assert (found["A"].clear, found["B"].clear) == (True, False)
    alone = second_stages({"A": after["A"]})["A"]
    interval = stats.ttest_rel(*(list(side.values()) for side in after["A"])).confidence_interval(0.95)
    assert alone.interval == pytest.approx((interval.low, interval.high))


def test_one_seed_is_a_number_without_interval_verdict_or_order() -> None:
    for found in (
        analyse({"A": {0: 30.0}, "B": {0: 33.0}}).against("A")["B"],
        analyse({"A": {0: 30.0}, "B": {0: 33.0}}).contrasts([("B", "A")])[0],
        analyse({"A": {0: 30.0}, "B": {0: 33.0}}).all_pairs()["B", "A"],
        second_stages({"B": ({0: 33.0}, {0: 30.0})})["B"],
    ):
        assert (found.difference, found.half, found.own_half, found.interval) == (3, None, None, None)
        assert (found.clear, found.verdict, str(found)) == (False, "–", "+3.0 (one seed)")


def test_bad_tables_are_refused_with_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="need the same seeds, and have A: 0, 1; B: 0, 2"):
        analyse({"A": {0: 1.0, 1: 2.0}, "B": {0: 1.0, 2: 2.0}})
    with pytest.raises(ValueError, match="need the same seeds"):
        second_stages({"A": ({0: 1.0, 1: 2.0}, {0: 1.0})})
    for empty in ({}, {"A": {}}):
        with pytest.raises(ValueError, match="has no value"):
            analyse(empty)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            analyse({"A": {0: value}})
    found = analyse({"A": {0: 1.0, 1: 2.0}, "B": {0: 1.0, 1: 3.0}})
    with pytest.raises(ValueError, match="the method is 'C'; the table has A, B"):
        found.against("C")
    for pairs, words in (
        ([], "there are 0 contrasts; 1 to 8"),
        ([("A", "B")] * 9, "there are 9 contrasts"),
        ([("A", "A")], "'A' against itself"),
        ([("A", "B"), ("B", "A")], "stands twice"),
        ([("A", "C")], "the method is 'C'"),
    ):
        with pytest.raises(ValueError, match=words):
            found.contrasts(pairs)
    for call in (dunnett_quantile, bonferroni_quantile):
        with pytest.raises(ValueError, match="at least 1 of each"):
            call(0, 5)
        with pytest.raises(ValueError, match="at least 1 of each"):
            call(2, 0)
    with pytest.raises(ValueError, match="at least 1 of each"):
        tukey_quantile(1, 5)


def test_mean_and_sd() -> None:
    assert mean_sd([1.0, 2.0, 4.0], 2) == f"2.33 ± {math.sqrt(7 / 3):.2f}"
    assert mean_sd([-0.04]) == "0.0"  # no negative zero
    assert mean_sd([-0.5, 0.48]).startswith("0.0 ")
    assert mean_sd([None, 1.0]) == mean_sd([]) == "–"
