"""Chapter 12's tables and figures on made-up records whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lt_core import records
from lt_core.data import CIFAR100_CLASSES, class_counts, counts_in_order
from lt_core.report import MissingRuns, crossed

from .conftest import EFFECTS, METHODS, MakeStudy, counts_of, crossed_records, make_record, six_methods, turned


def leading_number(text: str) -> float:
    return float(text.split()[0])


def test_a_rotation_is_told_from_other_orders() -> None:
    assert [crossed.rotation(turned(shift)) for shift in (0, 1, 50, 99)] == [0, 1, 50, 99]
    swapped = list(range(100))
    swapped[0], swapped[1] = 1, 0
    assert crossed.rotation(tuple(swapped)) is None
    assert crossed.rotation(tuple(range(99, -1, -1))) is None


def test_fit_is_the_regression_with_a_column_for_every_class() -> None:
    generator = np.random.default_rng(2)
    counts = generator.integers(5, 500, (30, 4)).astype(float)
    accuracy = generator.normal(40, 20, (30, 4))
    design = np.column_stack([np.log2(counts).ravel(), np.repeat(np.eye(30), 4, axis=0)])
    solution, residual, *_ = np.linalg.lstsq(design, accuracy.ravel(), rcond=None)
    fit = crossed.fit_line(accuracy, counts)
    assert fit.slope == pytest.approx(solution[0])
    assert fit.effects == pytest.approx(solution[1:] - solution[1:].mean())
    assert fit.shares["residual"] * accuracy.var() * accuracy.size == pytest.approx(residual[0])
    assert sum(fit.shares.values()) == pytest.approx(1)


def test_the_interval_is_near_a_bootstrap_over_classes() -> None:
    generator = np.random.default_rng(3)
    counts = np.stack([counts_of(shift) for shift in (0, 20, 50, 70)], 1)
    own_slopes = generator.normal(6, 3, (100, 1))  # residuals of a class hang together
    accuracy = 30 + own_slopes * (np.log2(counts) - 6) + generator.normal(0, 2, counts.shape)
    fit = crossed.fit_line(accuracy, counts)
    drawn = [generator.integers(100, size=100) for _ in range(800)]
    low, high = np.quantile([crossed.fit_line(accuracy[d], counts[d]).slope for d in drawn], [0.025, 0.975])
    assert (fit.low, fit.high) == pytest.approx((low, high), abs=0.15)
    independent = 1.98 * (fit.shares["residual"] * accuracy.var() / np.log2(counts).var(1).sum() / 4) ** 0.5
    assert (fit.high - fit.low) / 2 > 1.2 * independent


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 2), (4, 3)), "two equal shapes"),
        (((4,), (4,)), "two equal shapes"),
        (((4, 1), (4, 1)), "two equal shapes"),
    ],
)
def test_fit_refuses_wrong_shapes(shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crossed.fit_line(np.ones(shapes[0]), np.ones(shapes[1]))


def test_fit_refuses_counts_that_never_differ() -> None:
    with pytest.raises(ValueError, match="several frequencies"):
        crossed.fit_line(np.arange(6.0).reshape(3, 2), np.full((3, 2), 7.0))


def test_crossed_tables_find_what_was_built_in(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 20, 50)))
    fit = crossed.crossed_fit(study)
    assert list(fit["rotations"]) == [3, 3, 3]
    assert [leading_number(text) for text in fit["points a doubling"]] == [7.0, 4.0, 7.0]
    assert fit["sd of class effects"].tolist() == pytest.approx([EFFECTS.std(ddof=1).round(1)] * 3)
    assert fit.filter(like="(%)").sum(axis=1).tolist() == pytest.approx([100] * 3, abs=2)
    change = crossed.crossed_change(study)
    assert list(change.index) == ["balanced softmax", "ALA"]
    assert leading_number(change["points a doubling"]["balanced softmax"]) == -3.0
    assert leading_number(change["top-1"]["ALA"]) == 0.0
    assert change["correlation of class effects"].tolist() == pytest.approx([1.0, 1.0])


def test_an_order_that_is_no_rotation_is_left_out(make_study: MakeStudy) -> None:
    other = tuple(np.random.default_rng(5).permutation(100).tolist())
    wild = [make_record(np.full(100, 1.0), class_order=other, **method) for method in METHODS]
    fit = crossed.crossed_fit(make_study([*crossed_records((0, 50)), *wild]))
    assert list(fit["rotations"]) == [2, 2, 2]
    assert leading_number(fit["points a doubling"].iloc[0]) == 7.0


def test_methods_are_compared_on_shared_rotations_only(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    extra = make_record(np.full(100, 90.0), class_order=turned(20), **METHODS[1])
    study = make_study([*made, extra])
    assert list(crossed.crossed_fit(study)["rotations"]) == [2, 3, 2]
    change = crossed.crossed_change(study)
    assert list(change["rotations"]) == [2, 2]
    assert leading_number(change["points a doubling"]["balanced softmax"]) == -3.0


def test_missing_rotations_are_named(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0,)))
    for item in (*crossed.TABLES, *crossed.FIGURES, crossed.difficulty_signals):
        with pytest.raises(MissingRuns, match=r"no short run of .* in a second rotation"):
            item(study)


def test_halves_find_what_a_loss_does_to_hard_tails(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50), slopes=(5.0, 5.0, 5.0))
    hard = np.median(EFFECTS) > EFFECTS
    for record in made:
        if record["config"]["loss"] == "ala":
            order = record["config"]["class_order"]
            counts = np.array(counts_in_order(class_counts(100, 500, 100), order))
            last = record["final"]["last"]
            last["per_class"] = (np.array(last["per_class"]) + 3.0 * (hard & (counts < 20))).tolist()
    table = crossed.crossed_halves(make_study(made))
    assert list(table.index) == [(g, k) for g in records.GROUPS for k in ("hard", "easy")]
    assert leading_number(table["ALA"][("few", "hard")]) == 3.0
    others = table["ALA"].drop(("few", "hard")).map(leading_number)
    assert others.abs().max() <= 0.1  # the split is by effects that the change itself moves a little
    assert table["balanced softmax"].map(leading_number).abs().max() == 0


def test_clustered_mean_counts_classes_not_cells() -> None:
    values = np.repeat(np.random.default_rng(6).normal(0, 1, (20, 1)), 5, axis=1)
    text = crossed._clustered(values, np.ones((20, 5), dtype=bool))
    mean, low, high = (float(part.strip("[],")) for part in text.split())
    half = 2.093 * values[:, 0].std(ddof=1) / 20**0.5  # Student's t on the 20 class means
    assert (mean, (high - low) / 2) == pytest.approx((values.mean(), half), abs=0.06)
    one = np.zeros((20, 5), dtype=bool)
    one[3] = True
    assert "one class" in crossed._clustered(values, one)


def test_extremes_and_showpieces_are_the_right_classes(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 50)))
    table = crossed.crossed_extremes(study, number=2)
    order = np.argsort(-EFFECTS)
    assert list(table.index) == [CIFAR100_CLASSES[c] for c in (*order[:2], *order[-2:])]
    assert table["rank"].tolist() == [1, 2, 99, 100]
    assert table["images, canonical"].tolist() == [int(counts_of(0)[c]) for c in (*order[:2], *order[-2:])]
    chosen = crossed.showpieces(study)
    assert chosen["easiest"] == order[0]
    assert chosen["hardest"] == order[-1]
    assert counts_of(0)[chosen["head yet hard"]] > 100
    assert counts_of(0)[chosen["tail yet easy"]] < 20
    assert len(set(chosen.values())) == 4


def test_checks_see_a_bend(make_study: MakeStudy) -> None:
    made = crossed_records((0, 20, 50), slopes=(5.0, 5.0, 5.0))
    for record in made:
        if record["config"]["loss"] == "ala":
            counts = np.array(counts_in_order(class_counts(100, 500, 100), record["config"]["class_order"]))
            record["final"]["last"]["per_class"] = (20 + EFFECTS + 1.0 * (np.log2(counts) - 2) ** 2).tolist()
    table = crossed.crossed_checks(make_study(made))
    slopes = table.filter(like="slope at").astype(float)
    straight, bent = slopes.loc["balanced softmax"], slopes.loc["ALA"]
    assert straight.tolist() == pytest.approx([5.0] * 3, abs=0.1)
    assert bent.tolist() == pytest.approx([2 * (np.log2(n) - 2) for n in (10, 50, 250)], abs=0.1)
    assert table["line and square"]["ALA"] == pytest.approx(1.0, abs=0.01)
    assert table["R² in classes: line"]["ALA"] < 0.99


def test_crossed_figures_show_the_cells(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 20, 50)))
    fig = crossed.crossed_classes(study)
    lines = fig.axes[0].get_lines()
    assert len(lines) == 5
    assert all(len(line.get_xdata()) == 3 for line in lines[1:])
    fig = crossed.crossed_effects(study)
    assert "correlation 1.00" in fig.axes[0].get_title()
    names = {text.get_text() for text in fig.axes[0].texts}
    assert CIFAR100_CLASSES[int(EFFECTS.argmax())].replace("_", " ") in names


def test_signals_tell_a_count_from_a_class_effect(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    ala = next(r for r in made if r["config"]["loss"] == "ala" and r["config"]["class_order"] is None)
    ala["adjustment_per_class"] = {"DF": (-EFFECTS / 100).tolist()}
    table = crossed.difficulty_signals(make_study([*made, make_record(loss="gala")]))
    assert table["with class effect"]["DF (ALA)"] == -1.0
    assert table["with log count"]["log theta (GALA)"] == 1.0
    assert table["R² of both (%)"].tolist() == [100, 100]
    assert abs(table["with log count"]["DF (ALA)"]) < 0.4
