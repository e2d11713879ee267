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
    elsewhere = [flat(20, weight_decay=0.0, imbalance_factor=50), flat(21, schedule="cosine", subset_seed=3)]
    elsewhere += [flat(22, epochs=20), flat(23, backbone="resnet32", weight_decay=5e-4)]
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


def crossed(**changes: list[float]) -> list[dict[str, Any]]:
    """Cross-entropy and GALA at three seeds; the residuals of method and seed are 1, 0, -1 and the reverse."""
    values = {"ce": [31.0, 30.0, 29.0], "gala": [39.0, 40.0, 41.0]} | changes
    return [flat(top1, seed, loss=loss) for loss, row in values.items() for seed, top1 in enumerate(row)]


def test_the_noise_is_what_method_and_seed_leave_over(make_study: MakeStudy) -> None:
    noise = recipe.run_noise(make_study(crossed()))
    # Four residuals of size 1 and two of 0, (2 - 1) * (3 - 1) degrees of freedom.
    assert (noise.sd, noise.degrees) == (pytest.approx(2**0.5), 2)
    assert noise.interval == pytest.approx((0.52 * 2**0.5, 6.29 * 2**0.5), abs=0.02)
    # What all seeds of one number have in common is none of it.
    assert recipe.run_noise(make_study(crossed(ce=[36.0, 30.0, 29.0], gala=[44.0, 40.0, 41.0]))) == noise
    # A third method that lacks a seed leaves two seeds; a single run says nothing.
    fewer = [*crossed(), flat(20, 0, loss="ala"), flat(20, 1, loss="ala"), flat(1, 0, loss="balanced_softmax")]
    assert recipe.run_noise(make_study(fewer)).degrees == 2


def test_needed_is_the_interval_of_a_difference_of_two_runs(make_study: MakeStudy) -> None:
    noise = recipe.Noise(0.5, 10)
    assert noise.needed() == pytest.approx(2.228 * 0.5 * 2**0.5, abs=1e-3)
    assert noise.needed(shared=3) == pytest.approx(noise.needed() / 3**0.5)
    assert noise.needed(comparisons=5) == pytest.approx(stats.t.ppf(0.995, 10) * 0.5 * 2**0.5)
    # Two methods alone, three seeds: the paired test, whose differences have twice the variance of one value.
    study = make_study(crossed())
    change, shared = recipe.change_from_base(study.select("GALA"), study.select("cross-entropy"))
    interval = stats.ttest_rel([39.0, 40.0, 41.0], [31.0, 30.0, 29.0]).confidence_interval(0.95)
    needed = recipe.run_noise(study).needed(shared)
    assert (change - needed, change + needed) == pytest.approx((interval.low, interval.high))


def test_a_louder_pair_widens_its_own_interval(make_study: MakeStudy) -> None:
    runs = make_study(crossed()).select("cross-entropy")  # its own SD is 1
    quiet, loud = recipe.Noise(0.3, 10), recipe.Noise(2.0, 10)
    assert recipe.noise_alone(runs, runs, quiet, 1) == pytest.approx(recipe.Noise(1.0, 10).needed(3))
    assert recipe.noise_alone(runs, runs, loud, 1) == pytest.approx(loud.needed(3))
    assert recipe.noise_alone(runs[:1], runs, quiet, 1) == pytest.approx(quiet.needed())  # one run has no SD


def test_seed_noise_prints_every_value_and_how_well_the_spread_is_known(make_study: MakeStudy) -> None:
    table = recipe.seed_noise(make_study([*crossed(), flat(20.0, loss="ala")]))
    assert list(table.index) == ["cross-entropy", "GALA", "all, method and seed removed"]
    assert table.loc["GALA", ["seed 0", "seed 1", "seed 2"]].tolist() == ["39.0", "40.0", "41.0"]
    assert table["SD"].tolist() == ["1.00", "1.00", "1.41"]
    assert table["degrees of freedom"].tolist() == ["2", "2", "2"]
    assert table.loc["cross-entropy", "95 % interval of the SD"] == "0.52 to 6.28"
    assert table["classifier"].tolist() == ["linear", "linear", "–"]


def test_ingredients_by_hand(make_study: MakeStudy) -> None:
    table = recipe.ingredients(make_study([*crossed(), *changed()]))
    # Against the base's run of seed 0, which has 31.
    assert table["minus base"].tolist() == ["–", "-6.2", "-1.0", "+0.0", "-5.8", "+3.8", "+4.2"]
    # Six comparisons of single runs: the quantile 1 - 0.025 / 6 of Student's t on 2 degrees.
    width = stats.t.ppf(1 - 0.025 / 6, 2) * 2**0.5 * 2**0.5
    assert table["noise alone"].tolist() == ["–", *[f"± {width:.1f}"] * 6]
    row = table.loc["as the recipe"]
    assert (row["seeds"], row["top-1"], row["few"]) == ("0, 1, 2", "30.0 ± 1.0", "30.0")
    assert row["train"] == "60.0"
    assert set(table["seeds"][1:]) == {"0"}
    assert table.index.name == "recipe short, cross-entropy, linear classifier"


def test_a_change_is_compared_with_the_bases_runs_of_its_seeds(make_study: MakeStudy) -> None:
    more = [flat(top1, seed, weight_decay=5e-4) for seed, top1 in ((1, 31.0), (2, 32.2), (7, 99.0))]
    study = make_study([*crossed(), *more])
    assert recipe.ingredients(study).loc["weight decay 0.0005", "minus base"] == "+2.1"
    found = recipe.variants(study)
    with pytest.raises(MissingRuns, match=r"ce-wd0.0005-if100-s1 and ce-if100-s0 share no seed"):
        recipe.change_from_base(found["weight decay 0.0005"], found["as the recipe"][:1])


def test_a_study_of_strong_takes_ingredients_away(make_study: MakeStudy) -> None:
    def short(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "epochs": record["epochs"][9::10]}  # a long run's record keeps every tenth epoch

    losses = {"ce": (40.0, 41.0), "gala": (45.0, 45.0)}
    values = [(loss, seed, top1) for loss, row in losses.items() for seed, top1 in enumerate(row)]
    whole = [short(flat(top1, seed, recipe="strong", loss=loss)) for loss, seed, top1 in values]
    changes = {"augmentation": "crop_flip"}, {"schedule": "step"}
    study = make_study([*whole, *(short(flat(30.0, recipe="strong", **change)) for change in changes)])
    table = recipe.ingredients(study)
    assert list(table.index) == ["as the recipe", "augmentation crop, flip", "schedule steps"]
    assert table.index.name == "recipe strong, cross-entropy, linear classifier"
    figure = recipe.augmentation_curves(study)
    assert [line.get_label() for line in figure.axes[0].lines] == ["crop, flip", "AutoAugment, Cutout"]
    assert recipe.selection(study).loc["cross-entropy", "epoch to epoch, end"] != "–"
    plt.close(figure)


def test_missing_runs_are_named(make_study: MakeStudy, tmp_path: Any) -> None:
    study = make_study(base())
    for item in (recipe.ingredients, recipe.moves, recipe.augmentation_curves):
        with pytest.raises(MissingRuns, match="no short run of cross-entropy with another ingredient"):
            item(study)
    with pytest.raises(MissingRuns, match="no short run of GALA"):
        recipe.ingredients(study, method="GALA")
    with pytest.raises(MissingRuns, match="imbalance_factor 50"):
        recipe.selection(study, imbalance_factor=50)


def test_one_method_or_one_seed_is_no_noise(make_study: MakeStudy) -> None:
    change = flat(31.0, weight_decay=5e-4)
    one_seed, one_method = [flat(30.0), flat(40.0, loss="gala"), change], [*base(), change]
    for records in (one_seed, one_method):
        study = make_study(records)
        for item in (recipe.seed_noise, recipe.ingredients, recipe.moves):
            with pytest.raises(MissingRuns, match="no two main methods of short with two common seeds"):
                item(study)
    with pytest.raises(MissingRuns, match="no short run of cross-entropy with another augmentation"):
        recipe.augmentation_curves(make_study(one_seed))


def test_moves_are_drawn_from_the_run_without_the_change(make_study: MakeStudy) -> None:
    cosine = [flat(top1, seed, loss="ce", classifier="cosine") for seed, top1 in enumerate((28.0, 28.0, 28.0))]
    ala = [flat(top1, seed, loss="ala") for seed, top1 in enumerate((29.0, 28.0, 27.0))]
    study = make_study([*crossed(), *cosine, *ala, flat(34.0, weight_decay=5e-4)])
    figure = recipe.moves(study)
    (ax,) = figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["weight decay 0.0005", "classifier cosine", "GALA, linear", "ALA, cosine"]
    drawn = [list(line.get_xdata()) for line in ax.lines if line.get_marker() not in ("None", "")]
    # ALA is compared with the cosine classifier's cross-entropy, not with the linear one's.
    assert drawn == [[3.0], [-3.0, -2.0, -1.0], [8.0, 10.0, 12.0], [1.0, 0.0, -1.0]]
    (band,) = ax.patches
    assert band.get_width() == pytest.approx(2 * recipe.run_noise(study).needed())
    plt.close(figure)


def test_curves_are_the_recorded_epochs_of_the_first_seed(make_study: MakeStudy) -> None:
    figure = recipe.augmentation_curves(make_study([*base(), *changed()]))
    train, test = figure.axes
    assert [line.get_label() for line in train.lines] == ["none", "crop, flip", "AutoAugment, Cutout"]
    ends = [(float(line.get_xdata()[-1]), float(line.get_ydata()[-1])) for line in test.lines]
    assert ends == [(40, 30.0), (40, 29.0), (40, 24.8)]
    assert [float(line.get_ydata()[-1]) for line in train.lines] == [60.0] * 3
    plt.close(figure)


def test_selection_measures_what_the_best_epoch_gains(make_study: MakeStudy) -> None:
    records = [*six_methods(seeds=(0, 1)), flat(30.0, schedule="cosine"), flat(31.0, weight_decay=5e-4)]
    for record in records:
        last = record["final"]["last"]["top1"]
        record["final"]["best_on_test"]["top1"] = last + (0.2 if record["config"]["seed"] else 0.4)
        for row in record["epochs"]:  # 1 point up and down in the first 32 epochs, 0.1 afterwards
            row["top1"] = 20 + (1.0 if row["epoch"] <= 32 else 0.1) * (-1) ** row["epoch"]
    table = recipe.selection(make_study(records))
    assert list(table.index) == [*METHODS, "cross-entropy, schedule half cosine"]
    row = table.loc["GALA"]
    assert (row["largest gap"], row["classifier"]) == ("0.40", "linear")
    assert table.loc["cross-entropy, schedule half cosine", "largest gap"] == "0.40"
    assert "best (sees the test set)" in table.columns
    # Neighbours differ by +2 and -2 in turn: sd of such differences 2.1 (11 of them), over the root of two.
    swings = np.array([2.0, -2.0] * 5 + [2.0])
    assert row["epoch to epoch, middle"] == f"{swings.std(ddof=1) / 2**0.5:.2f}"
    assert row["epoch to epoch, end"] == "0.15"


def test_published_pairs_stand_alone_and_agree_with_the_published_rows(make_study: MakeStudy) -> None:
    table = recipe.published_pairs(make_study([flat(12.34)]))
    assert len(table) == len(recipe.PAIRS)
    assert list(table.index.unique()) == [recipe.RECIPE, recipe.LOSS, recipe.BOTH]
    assert "12.34" not in table.to_string()
    assert max(table[column].astype(str).str.len().max() for column in table) <= 50  # a notebook would cut it off
    by_change = table.set_index("changes")["gain"]
    assert by_change["crop and flip → RandAugment"].tolist() == ["+5.4", "+5.2"]
    assert by_change["GCL → GALA, re-balanced"] == "+3.6"
    printed = {(factor, float(value)) for row in published.PUBLISHED for factor, value in row.top1.items()}
    paired = {(pair.imbalance_factor, value) for pair in recipe.PAIRS for value in (pair.before, pair.after)}
    both = {100: (53.31, 47.93, 54.2, 46.47, 42.99, 39.87, 44.06), 200: (41.2, 46.7, 48.5, 44.88)}
    assert {(factor, value) for factor, values in both.items() for value in values} <= printed & paired
