"""Chapter 10's items on made-up records whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from lt_core.data import class_counts
from lt_core.report import METHODS, MissingRuns, Study, published, recipe
from lt_core.report.study import CHANGES
from lt_core.training.recipes import RECIPES

from .conftest import make_record, six_methods

MakeStudy = Callable[..., Study]
COUNTS = np.array(class_counts(100, 500, 100))


def grouped(many: float, medium: float, few: float, seed: int = 0, **config: Any) -> dict[str, Any]:
    """A cross-entropy record with one accuracy in each shot group of imbalance factor 100."""
    accuracy = np.where(COUNTS > 100, many, np.where(COUNTS < 20, few, medium))
    return make_record(accuracy, seed=seed, **{"loss": "ce", **config})


def flat(top1: float, seed: int = 0, **config: Any) -> dict[str, Any]:
    return grouped(top1, top1, top1, seed, **config)


def base() -> list[dict[str, Any]]:
    return [flat(top1, seed) for seed, top1 in enumerate((29.0, 30.0, 31.0))]


def changed() -> list[dict[str, Any]]:
    return [
        flat(34.8, batch_size=64),
        flat(35.2, batch_size=64, learning_rate=0.05),
        flat(25.2, weight_decay=5e-4),
        flat(31.0, schedule="cosine"),
        flat(24.8, augmentation="autoaugment"),
        flat(30.0, augmentation="none"),
    ]


def test_changes_are_named_in_one_order() -> None:
    assert set(recipe.NAMES) == set(CHANGES)
    assert recipe.describe({}) == "as the recipe"
    words = recipe.describe({"batch_size": 64, "augmentation": "autoaugment", "weight_decay": 5e-4})
    assert words == "augmentation AutoAugment, Cutout, weight decay 0.0005, batch 64"
    every = {name: getattr(RECIPES["strong"], name) for name in CHANGES}
    assert recipe.describe(every).count(", ") == len(CHANGES)  # one of the names holds a comma itself


def test_variants_are_the_base_then_one_ingredient_then_two(make_study: MakeStudy) -> None:
    elsewhere = [flat(20, weight_decay=0.0, imbalance_factor=50), flat(21, epochs=20, subset_seed=3)]
    gala = make_record(np.full(100, 40.0), loss="gala", schedule="cosine")
    found = recipe.variants(make_study([*base(), *changed(), *elsewhere, gala]))
    assert list(found) == [
        "as the recipe",
        "augmentation AutoAugment, Cutout",
        "augmentation none",
        "schedule half cosine",
        "weight decay 0.0005",
        "batch 64",
        "batch 64, learning rate 0.05",
    ]
    assert [len(runs) for runs in found.values()] == [3, 1, 1, 1, 1, 1, 1]
    assert {run.method for runs in found.values() for run in runs} == {"cross-entropy"}


def test_needed_is_the_interval_of_an_ordinary_two_sample_test(make_study: MakeStudy) -> None:
    """One new run against three: Student's test with pooled variance, where a single value adds no degree."""
    runs = recipe.variants(make_study([*base(), *changed()]))["as the recipe"]
    noise = recipe.own_noise(runs)
    assert (noise.sd, noise.degrees, noise.runs) == (1.0, 2, 3)
    edge = 30.0 + noise.needed()
    assert stats.ttest_ind([edge], [29.0, 30.0, 31.0]).pvalue == pytest.approx(0.05)
    assert noise.needed(3) == pytest.approx(noise.needed() * (2 / 3 / (4 / 3)) ** 0.5)
    # The 95 % interval that chapter 01 derives for three runs.
    assert noise.interval == pytest.approx((0.52, 6.29), abs=0.01)


def test_pooled_noise_is_the_root_of_the_mean_variance(make_study: MakeStudy) -> None:
    groups = {
        "a": make_study([flat(30.0), flat(32.0, 1)]).runs,  # variance 2, one degree
        "b": make_study([flat(30.0, s, loss="focal") for s in range(3)]).select("focal"),  # variance 0, two degrees
        "c": make_study([flat(90.0, 7, loss="cb")]).select("class-balanced"),  # says nothing
    }
    noise = recipe.pooled_noise(groups, "c")
    assert (noise.degrees, noise.runs) == (3, 1)
    assert noise.sd == pytest.approx((2 / 3) ** 0.5)
    with pytest.raises(MissingRuns, match="no second seed of any of c"):
        recipe.pooled_noise({"c": groups["c"]}, "c")


def test_seed_noise_says_how_well_the_spread_is_known(make_study: MakeStudy) -> None:
    others = [flat(top1, seed, loss="gala") for seed, top1 in enumerate((40.0, 40.0, 40.0))]
    table = recipe.seed_noise(make_study([*base(), *others, flat(20.0, loss="ala")]))
    assert list(table.index) == ["cross-entropy", "2 methods, pooled"]
    # Alone: t = 4.303 on 2 degrees, times the root of 4/3. Pooled: the variances 1 and 0, t = 2.776 on 4 degrees.
    assert table["degrees of freedom"].tolist() == [2, 4]
    assert table["standard deviation"].tolist() == ["1.00", "0.71"]
    assert table["one run has to exceed"].tolist() == ["4.97", "2.27"]
    assert table.loc["cross-entropy", "95 % interval"] == "0.52 to 6.28"


def test_ingredients_by_hand(make_study: MakeStudy) -> None:
    table = recipe.ingredients(make_study([*base(), *changed()]))
    assert table["minus base"].tolist() == ["–", "-5.2", "+0.0", "+1.0", "-4.8", "+4.8", "+5.2"]
    # The base's seeds have sd 1, so that one run has to leave ±4.97: -5.2 and +5.2 do, -4.8 and +4.8 do not.
    verdicts = table["beyond own seeds"].tolist()
    assert verdicts == ["–", "yes (±5.0)", *["no (±5.0)"] * 4, "yes (±5.0)"]
    assert table["beyond pooled seeds"].tolist() == verdicts  # there is nothing else to pool
    row = table.loc["as the recipe"]
    assert (row["runs"], row["top-1"], row["few"], row["train"]) == ("3 runs", "30.0 ± 1.0", "30.0 ± 1.0", "60.0 ± 0.0")
    assert set(table["runs"][1:]) == {"one run"}
    assert table.index.name == "recipe short, cross-entropy"


def test_several_runs_of_a_change_are_paired_by_seed(make_study: MakeStudy) -> None:
    more = [flat(top1, seed, weight_decay=5e-4) for seed, top1 in ((1, 31.0), (2, 32.2), (7, 99.0))]
    row = recipe.ingredients(make_study([*base(), *more])).loc["weight decay 0.0005"]
    # Seeds 1 and 2 are shared: differences 1.0 and 1.2, so 1.1 ± 12.7 * 0.1414 / sqrt(2).
    assert (row["runs"], row["minus base"], row["beyond own seeds"]) == ("3 runs", "+1.1", "no (±1.3)")
    interval = stats.ttest_rel([31.0, 32.2], [30.0, 31.0]).confidence_interval(0.95)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.27, abs=0.005)


def test_two_runs_without_a_pair_need_less_than_one(make_study: MakeStudy) -> None:
    study = make_study([*base(), *(flat(34.5, seed, weight_decay=5e-4) for seed in (5, 6))])
    row = recipe.ingredients(study).loc["weight decay 0.0005"]
    assert (row["minus base"], row["beyond own seeds"], row["beyond pooled seeds"]) == (
        "+4.5",
        "yes (±3.9)",
        "yes (±3.9)",
    )


def test_other_methods_narrow_the_band(make_study: MakeStudy) -> None:
    calm = [flat(40.0, seed, loss="gala") for seed in range(3)]
    table = recipe.ingredients(make_study([*base(), *changed(), *calm]))
    verdicts = [cell.split()[0] for cell in table["beyond pooled seeds"]]
    assert verdicts == ["–", "yes", "no", "no", "yes", "yes", "yes"]  # ±2.27


def test_a_study_of_strong_takes_ingredients_away(make_study: MakeStudy) -> None:
    def short(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "epochs": record["epochs"][9::10]}  # a long run's record keeps every tenth epoch

    whole = [short(flat(top1, seed, recipe="strong")) for seed, top1 in enumerate((40.0, 41.0))]
    changes = {"augmentation": "crop_flip"}, {"schedule": "step"}
    study = make_study([*whole, *(short(flat(30.0, recipe="strong", **change)) for change in changes)])
    table = recipe.ingredients(study)
    assert list(table.index) == ["as the recipe", "augmentation crop, flip", "schedule steps"]
    assert table.index.name == "recipe strong, cross-entropy"
    figure = recipe.augmentation_curves(study)
    assert [line.get_label() for line in figure.axes[0].lines] == ["crop, flip", "AutoAugment, Cutout"]
    assert recipe.selection(study).loc["cross-entropy", "epoch to epoch, end"] != "–"
    plt.close(figure)


def test_missing_runs_are_named(make_study: MakeStudy, tmp_path: Any) -> None:
    study = make_study(base())
    for item in (recipe.ingredients, recipe.ingredient_effects, recipe.augmentation_curves):
        with pytest.raises(MissingRuns, match="no short run of cross-entropy with another ingredient"):
            item(study)
    with pytest.raises(MissingRuns, match="no short run of GALA"):
        recipe.ingredients(study, method="GALA")
    with pytest.raises(MissingRuns, match="imbalance_factor 50"):
        recipe.selection(study, imbalance_factor=50)


def test_one_seed_is_no_spread(make_study: MakeStudy) -> None:
    study = make_study([flat(30.0), flat(31.0, weight_decay=5e-4)])
    for item in (recipe.seed_noise, recipe.ingredients, recipe.ingredient_effects):
        with pytest.raises(MissingRuns, match="no second seed of ce-if100-s0"):
            item(study)
    with pytest.raises(MissingRuns, match="no short run of cross-entropy with another augmentation"):
        recipe.augmentation_curves(study)


def test_effects_are_drawn_from_the_bases_mean(make_study: MakeStudy) -> None:
    seeds = [grouped(60, 20, 0, 0), grouped(62, 24, 3, 1)]
    figure = recipe.ingredient_effects(make_study([*seeds, grouped(51, 32, 11.5, weight_decay=5e-4)]))
    assert [ax.get_title() for ax in figure.axes] == ["top-1", "many", "medium", "few"]
    drawn = [[line.get_xdata().tolist() for line in ax.lines if line.get_marker() in "oD"] for ax in figure.axes]
    assert drawn[1] == [[-1.0, 1.0], [-10.0]]
    assert drawn[2] == [[-2.0, 2.0], [10.0]]
    assert drawn[3] == [[-1.5, 1.5], [10.0]]
    needed = stats.t.ppf(0.975, 1) * 2**0.5 * 1.5**0.5  # two seeds: sd of the root of two; nothing else to pool
    (band,) = figure.axes[1].patches
    edges = [float(line.get_xdata()[0]) for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert band.get_width() == pytest.approx(2 * needed)
    assert edges == pytest.approx([-needed, needed])
    plt.close(figure)
    ten = [flat(top1, seed, imbalance_factor=10) for seed, top1 in enumerate((60.0, 61.0))]
    study = make_study([*ten, flat(60, weight_decay=5e-4, imbalance_factor=10)])
    empty = recipe.ingredient_effects(study, imbalance_factor=10)
    assert [ax.get_title() for ax in empty.axes] == ["top-1", "many", "medium"]
    plt.close(empty)


def test_curves_are_the_recorded_epochs_of_the_first_seed(make_study: MakeStudy) -> None:
    figure = recipe.augmentation_curves(make_study([*base(), *changed()]))
    train, test = figure.axes
    assert [line.get_label() for line in train.lines] == ["none", "crop, flip", "AutoAugment, Cutout"]
    ends = [(float(line.get_xdata()[-1]), float(line.get_ydata()[-1])) for line in test.lines]
    assert ends == [(40, 30.0), (40, 29.0), (40, 24.8)]
    assert [float(line.get_ydata()[-1]) for line in train.lines] == [60.0] * 3
    plt.close(figure)


def test_selection_measures_what_the_best_epoch_gains(make_study: MakeStudy) -> None:
    records = [*six_methods(seeds=(0, 1)), flat(30.0, schedule="cosine")]
    for record in records:
        last = record["final"]["last"]["top1"]
        record["final"]["best_on_test"]["top1"] = last + (0.2 if record["config"]["seed"] else 0.4)
        for row in record["epochs"]:  # 1 point up and down in the first 32 epochs, 0.1 afterwards
            row["top1"] = 20 + (1.0 if row["epoch"] <= 32 else 0.1) * (-1) ** row["epoch"]
    table = recipe.selection(make_study(records))
    assert list(table.index) == [*METHODS, "cross-entropy, schedule half cosine"]
    row = table.loc["GALA"]
    assert (row["best minus last"], row["largest"], row["runs"]) == ("0.30 ± 0.14", "0.40", 2)
    assert table.loc["cross-entropy, schedule half cosine", "best minus last"] == "0.40"
    assert "best (sees the test set)" in table.columns
    # Neighbours differ by +2 and -2 in turn: sd of such differences 2.1 (11 of them), over the root of two.
    swings = np.array([2.0, -2.0] * 5 + [2.0])
    assert row["epoch to epoch, middle"] == f"{swings.std(ddof=1) / 2**0.5:.2f}"
    assert row["epoch to epoch, end"] == "0.15"
    assert row["best epochs"] == "39, 39"


def test_published_pairs_stand_alone_and_agree_with_the_published_rows(make_study: MakeStudy) -> None:
    table = recipe.published_pairs(make_study([flat(12.34)]))
    assert len(table) == len(recipe.PAIRS)
    assert list(table.index.unique()) == [recipe.RECIPE, recipe.LOSS, recipe.BOTH]
    assert "12.34" not in table.to_string()
    assert max(table[column].astype(str).str.len().max() for column in table) <= 50  # a notebook would cut it off
    by_change = table.set_index("changes")["difference"]
    assert by_change["crop and flip → RandAugment"].tolist() == ["+5.4", "+5.2"]
    assert by_change["GCL → GALA, re-balanced"] == "+3.6"
    printed = {(factor, float(value)) for row in published.PUBLISHED for factor, value in row.top1.items()}
    paired = {(pair.imbalance_factor, value) for pair in recipe.PAIRS for value in (pair.before, pair.after)}
    both = {100: (53.31, 47.93, 54.2, 46.47, 42.99, 39.87, 44.06), 200: (41.2, 46.7, 48.5, 44.88)}
    assert {(factor, value) for factor, values in both.items() for value in values} <= printed & paired
