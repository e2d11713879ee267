"""Chapter 12's tables and figures on made-up records whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lt_core import plots, records
from lt_core.data import CIFAR100_CLASSES, class_counts, counts_in_order
from lt_core.report import MissingRuns, crossed
from lt_core.report.class_lines import fit_line

from .conftest import EFFECTS, METHODS, MakeStudy, counts_of, crossed_records, make_record, six_methods, turned

BALANCED, ALA = "balanced softmax (linear)", "ALA (cosine)"


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
    assert fit.shares["rest"] * accuracy.var() * accuracy.size == pytest.approx(residual[0])
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
    independent = 1.98 * (fit.shares["rest"] * accuracy.var() / np.log2(counts).var(1).sum() / 4) ** 0.5
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
    assert list(fit.index) == ["cross-entropy (cosine)", BALANCED, ALA]
    assert [leading_number(text) for text in fit["points a doubling", "all orders"]] == [7.0, 4.0, 7.0]
    assert fit["SD of class effects", "found"].tolist() == [f"{EFFECTS.std(ddof=1):.1f}"] * 3
    assert fit["SD of class effects", "without runs"].tolist() == ["–"] * 3  # one seed
    assert fit["share of variance (%)"].sum(axis=1).tolist() == pytest.approx([100] * 3, abs=2)
    change = crossed.crossed_change(study)
    assert list(change.index) == [BALANCED, ALA]
    assert leading_number(change["change", "points a doubling"][BALANCED]) == -3.0
    assert leading_number(change["change", "top-1"][ALA]) == 0.0
    assert change["correlation of effects", "found"].tolist() == ["1.00", "1.00"]
    assert change["correlation of effects", "ceiling"].tolist() == ["–", "–"]


def test_runs_of_other_seeds_take_their_noise_off_the_effects(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    for record in [r for r in made if r["config"]["class_order"] is None]:
        again = np.array(record["final"]["last"]["per_class"]) + np.tile([6.0, -6.0], 50)  # variance 18 in every class
        options = {key: record["config"][key] for key in ("loss", "classifier")}
        made.append(make_record(again, seed=1, **options))
    study = make_study(made)
    fit, change = crossed.crossed_fit(study), crossed.crossed_change(study)
    kept = EFFECTS.var(ddof=1) - 18 / 2
    assert fit["SD of class effects", "without runs"].tolist() == [f"{kept**0.5:.1f}"] * 3
    assert change["correlation of effects", "ceiling"].tolist() == [f"{kept / EFFECTS.var(ddof=1):.2f}"] * 2


def test_an_order_that_is_no_rotation_is_left_out(make_study: MakeStudy) -> None:
    other = tuple(np.random.default_rng(5).permutation(100).tolist())
    wild = [make_record(np.full(100, 1.0), class_order=other, **method) for method in METHODS]
    study = make_study([*crossed_records((0, 50)), *wild])
    fit = crossed.crossed_fit(study)
    assert [runs.shifts for runs in crossed.rotations(study).values()] == [(0, 50)] * 3
    assert leading_number(fit["points a doubling", "all orders"].iloc[0]) == 7.0


def test_methods_are_compared_on_shared_rotations_only(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    extra = make_record(np.full(100, 90.0), class_order=turned(20), **METHODS[1])
    study = make_study([*made, extra])
    assert [len(runs.shifts) for runs in crossed.rotations(study).values()] == [2, 3, 2]
    change = crossed.crossed_change(study)
    assert list(change["", "orders"]) == [2, 2]
    assert leading_number(change["change", "points a doubling"][BALANCED]) == -3.0


def test_missing_rotations_are_named(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0,)))
    for item in (*crossed.TABLES, *crossed.FIGURES):
        with pytest.raises(MissingRuns, match=r"no short run of .* in a second rotation"):
            item(study)


@pytest.mark.parametrize("judge", ["other orders", "same cells"])
def test_halves_find_what_a_loss_does_to_hard_tails(make_study: MakeStudy, judge: str) -> None:
    made = crossed_records((0, 50), slopes=(5.0, 5.0, 5.0))
    hard = np.median(EFFECTS) > EFFECTS
    for record in made:
        if record["config"]["loss"] == "ala":
            order = record["config"]["class_order"]
            counts = np.array(counts_in_order(class_counts(100, 500, 100), order))
            last = record["final"]["last"]
            last["per_class"] = (np.array(last["per_class"]) + 3.0 * (hard & (counts < 20))).tolist()
    table = crossed.crossed_halves(make_study(made), judge=judge)
    assert list(table.index) == [(g, k) for g in records.GROUPS for k in ("harder", "easier")]
    ala = table["change (points)", ALA].map(leading_number)
    assert ala["few", "harder"] > 2.5 > 0.6 > ala["few", "easier"]  # medians within the group are not the overall one
    assert ala[["many", "medium"]].abs().max() == 0
    assert table["change (points)", BALANCED].map(leading_number).abs().max() == 0


def test_only_the_judge_of_other_orders_is_free_of_regression_to_the_mean(make_study: MakeStudy) -> None:
    """Equal classes and fresh noise in every run: no half gains more than another."""
    generator, made = np.random.default_rng(8), []
    for shift in (0, 50):
        for method in METHODS:
            noise = generator.normal(0, 8, 100)
            made.append(make_record(40 + 2 * np.log2(counts_of(shift)) + noise, class_order=turned(shift), **method))
    study = make_study(made)
    gaps = {}
    for judge in crossed.JUDGES:
        moved = crossed.crossed_halves(study, judge=judge)["change (points)", BALANCED].map(leading_number)
        gaps[judge] = np.mean([moved[g, "harder"] - moved[g, "easier"] for g in records.GROUPS])
    assert abs(gaps["other orders"]) < 3
    with pytest.raises(ValueError, match="judge is 'mine'"):
        crossed.crossed_halves(study, judge="mine")


def test_clustered_mean_counts_classes_not_cells() -> None:
    values = np.repeat(np.random.default_rng(6).normal(0, 1, (20, 1)), 5, axis=1)
    text = crossed._clustered(values, np.ones((20, 5), dtype=bool))
    mean, low, high = (float(part.strip("[],")) for part in text.split())
    half = 2.093 * values[:, 0].std(ddof=1) / 20**0.5  # Student's t on the 20 class means
    assert (mean, (high - low) / 2) == pytest.approx((values.mean(), half), abs=0.06)
    one = np.zeros((20, 5), dtype=bool)
    one[3] = True
    assert "one class" in crossed._clustered(values, one)


def test_extremes_are_the_right_classes(make_study: MakeStudy) -> None:
    table = crossed.crossed_extremes(make_study(crossed_records((0, 50))), number=2)
    order = np.argsort(-EFFECTS)
    assert list(table.index) == [CIFAR100_CLASSES[c] for c in (*order[:2], *order[-2:])]
    assert table["rank"].tolist() == [1, 2, 99, 100]
    assert table["images, canonical"].tolist() == [int(counts_of(0)[c]) for c in (*order[:2], *order[-2:])]


def test_checks_see_a_bend_and_the_floor(make_study: MakeStudy) -> None:
    made = crossed_records((0, 20, 50), slopes=(5.0, 5.0, 5.0))
    for record in made:
        if record["config"]["loss"] == "ala":
            counts = np.array(counts_in_order(class_counts(100, 500, 100), record["config"]["class_order"]))
            record["final"]["last"]["per_class"] = (20 + EFFECTS + 1.0 * (np.log2(counts) - 2) ** 2).tolist()
        if record["config"]["loss"] == "ce":
            record["final"]["last"]["per_class"][:25] = [0.0] * 25
    table = crossed.crossed_checks(make_study(made))
    slopes = table["slope at … images"].astype(float)
    assert slopes.loc[BALANCED].tolist() == pytest.approx([5.0] * 3, abs=0.1)
    assert slopes.loc[ALA].tolist() == pytest.approx([2 * (np.log2(n) - 2) for n in (10, 50, 250)], abs=0.1)
    assert table["R² within classes", "square"][ALA] == pytest.approx(1.0, abs=0.01)
    assert table["R² within classes", "line"][ALA] < 0.99
    assert table["", "cells at zero (%)"].tolist() == [25, 0, 0]


def test_effects_on_log_odds_are_compared_with_the_baseline(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50), slopes=(5.0, 5.0, 5.0))
    study = make_study(made)
    table = crossed.crossed_checks(study)["effects on log odds"]
    runs = crossed.shared(study)
    effects = {}
    for method in (crossed.BASELINE, "ALA"):
        odds = np.log((runs[method].accuracy + 0.5) / (100.5 - runs[method].accuracy))
        effects[method] = fit_line(odds, runs[method].counts).effects
    assert table.loc[runs[crossed.BASELINE].name].tolist()[1:] == ["–", "–"]
    assert float(table["r"][ALA]) == pytest.approx(np.corrcoef(*effects.values())[0, 1], abs=0.0051)
    assert table["SD"][ALA] == pytest.approx(effects["ALA"].std(ddof=1), abs=0.0051)
    assert table["ceiling"][ALA] == "–"  # one seed says nothing about the noise of runs


def test_halves_on_log_odds(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 50)))
    points, odds = (crossed.crossed_halves(study, scale=scale) for scale in ("points", "log odds"))
    assert points["accuracy (%)"].equals(odds["accuracy (%)"])
    runs = crossed.shared(study)
    before, after = (np.log((a + 0.5) / (100.5 - a)) for a in (runs[m].accuracy for m in (crossed.BASELINE, "ALA")))
    counts = runs["ALA"].counts
    for shot, mask in {"many": counts > 100, "few": counts < 20}.items():
        halves = [float(odds["change (log odds)"][ALA][shot, half].split()[0]) for half in ("harder", "easier")]
        assert np.mean(halves) == pytest.approx((after - before)[mask].mean(), abs=0.02)  # the halves differ by a cell
    with pytest.raises(ValueError, match="scale is 'percent'; it must be one of points, log odds"):
        crossed.crossed_halves(study, scale="percent")


def test_crossed_figures_show_the_cells(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 20, 50)))
    fig = crossed.crossed_classes(study, fifth=4)
    lines = fig.axes[0].get_lines()
    assert len(lines) == 101  # a line a class, and the mean class
    assert all(len(line.get_xdata()) == 3 for line in lines[:100])
    chosen = [line for line in lines if line.get_color() == plots.BROWN]
    assert len(chosen) == 20
    easiest = np.argsort(EFFECTS)[-20:]
    heights = sorted(float(np.mean(np.asarray(line.get_ydata()) - 7 * np.log2(line.get_xdata()))) for line in chosen)
    assert heights == pytest.approx(sorted(45 - 42 + EFFECTS[easiest]), abs=0.2)
    fig = crossed.crossed_effects(study)
    assert "correlation 1.00" in fig.axes[0].get_title()
    names = {text.get_text() for text in fig.axes[0].texts}
    assert CIFAR100_CLASSES[int(EFFECTS.argmax())].replace("_", " ") in names


def test_signals_tell_a_count_from_a_class_effect(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    ala = next(r for r in made if r["config"]["loss"] == "ala" and r["config"]["class_order"] is None)
    ala["adjustment_per_class"] = {"DF": (-EFFECTS / 100).tolist()}
    gala, count = make_record(loss="gala"), np.log(counts_of(0))
    gala["adjustment_per_class"] = {"log_theta": (count - 0.01 * EFFECTS).tolist()}  # hardly more than the count
    table = crossed.difficulty_signals(make_study([*made, gala]))
    df, theta = table.loc["DF: ALA (cosine)"], table.loc["log θ: GALA (linear)"]
    assert df["all classes", "effect"] == -1.0
    assert theta["all classes", "log n"] == 1.0
    assert abs(theta["all classes", "effect"]) < 0.3
    assert theta["effect at equal log n"].tolist() == [-1.0] * 4
    groups = {"many": counts_of(0) > 100, "few": counts_of(0) < 20}
    for place, (shot, mask) in zip((0, 2), groups.items(), strict=True):
        left = EFFECTS[mask] - np.polyval(np.polyfit(count[mask], EFFECTS[mask], 1), count[mask])
        factor = ala["adjustment"][-1]["QF"][place]
        assert df["logits, 1 SD harder", shot] == pytest.approx(30 * factor * left.std() / 100, abs=0.01)  # s QF DF
        assert theta["logits, 1 SD harder", shot] == pytest.approx(-left.std() / 100, abs=0.01)
