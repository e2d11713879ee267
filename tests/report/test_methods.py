"""The tables and figures of chapter 11, on made-up records whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml

from lt_core.data import class_counts
from lt_core.report import METHODS, MissingRuns, Study, methods
from lt_core.report.published import PUBLISHED
from lt_core.report.statistics import analyse
from lt_core.report.write import markdown
from lt_core.training.configs import load_contrasts, load_grid

from .conftest import make_record, six_methods

MakeStudy = Callable[..., Study]
BOOK = Path(__file__).parents[2] / "book"


def cells(values: Any) -> list[Any]:
    """A row as a list, with ordinary spaces."""
    return [value.replace("\u00a0", " ") if isinstance(value, str) else value for value in values]


def flat(top1: float, seed: int = 0, **config: Any) -> dict[str, Any]:
    """A record with the same accuracy in every class; a long one keeps every 20th epoch."""
    record = make_record(np.full(100, top1), seed=seed, **config)
    if len(record["epochs"]) > 60:
        record["epochs"] = record["epochs"][19::20]
    return record


def grouped(many: float, medium: float, few: float, seed: int = 0, **config: Any) -> dict[str, Any]:
    """A record with one accuracy in each shot group of imbalance factor 100."""
    counts = np.array(class_counts(100, 500, 100))
    return make_record(np.where(counts > 100, many, np.where(counts < 20, few, medium)), seed=seed, **config)


def test_main_has_mean_and_sd_by_hand(make_study: MakeStudy) -> None:
    ala = [grouped(50, 10, 0, loss="ala"), grouped(50, 10, 5, seed=1, loss="ala")]
    study = make_study([grouped(60, 20, 0, loss="ce"), grouped(62, 24, 3, seed=1, loss="ce"), *ala])
    table = methods.main(study)
    # Groups of 35, 35 and 30 classes; the sd of two values is their distance over the root of two.
    row = cells(table.loc["cross-entropy"])
    assert row == ["linear", "29.5 ± 2.1", "61.0 ± 1.4", "22.0 ± 2.8", "1.5 ± 2.1", "30.0 ± 2.1"]
    assert cells(table.loc["ALA"])[:3] == ["cosine", "21.8 ± 1.1", "50.0 ± 0.0"]
    assert list(table.columns) == ["classifier", "top-1", "many", "medium", "few", "best on test"]
    assert table.attrs["note"].endswith("float32 on CPU; imbalance factor 100; seeds 0, 1.")


def test_main_names_what_is_missing_and_leaves_other_methods_out(make_study: MakeStudy) -> None:
    ablation = flat(1, loss="ala", loss_options={"quantity": "ldam"})
    study = make_study([flat(50, loss="ce"), flat(40, loss="focal"), flat(45, loss="ala", drw=True), ablation])
    table = methods.main(study)
    assert list(table.index) == [*METHODS]
    assert table.loc["LDAM-DRW", ["classifier", "top-1"]].tolist() == ["–", "not recorded"]
    assert "not recorded" in markdown(table)
    assert markdown(table).endswith(f"\n\n{table.attrs['note']}\n")
    assert methods.main(study, ["focal", "ALA-DRW"])["top-1"].tolist() == ["40.0", "45.0"]
    more = methods.further(study)
    assert tuple(more.index) == methods.FURTHER
    assert more.loc["focal", "top-1"] == "40.0"
    with pytest.raises(MissingRuns, match=r"no short run .*imbalance_factor 50"):
        methods.main(study, imbalance_factor=50)
    with pytest.raises(MissingRuns, match=r"no short run of cross-entropy-DRW, .*focal"):
        methods.further(make_study([flat(1, loss="ce", imbalance_factor=10)]), imbalance_factor=10)


def test_rows_of_a_table_have_the_same_seeds(make_study: MakeStudy) -> None:
    study = make_study(
        [*(flat(30 + s, s, loss="ce") for s in (0, 1, 2)), flat(50, 1, loss="gala"), flat(52, 2, loss="gala")]
    )
    table = methods.main(study)
    assert cells(table.loc["cross-entropy"])[1] == "31.5 ± 0.7"
    assert table.attrs["note"].endswith("seeds 1, 2. left out, since not all rows have it: cross-entropy's seed 0.")
    with pytest.raises(MissingRuns, match=r"no seed that all rows have \(cross-entropy: 0, 1, 2; ALA: 7\)"):
        methods.main(make_study([flat(40, 7, loss="ala")]), ["cross-entropy", "ALA"])


def test_few_is_empty_at_factor_ten_and_no_table_crosses_factors_by_group(make_study: MakeStudy) -> None:
    study = make_study([flat(50, loss="ce"), flat(60, loss="ce", imbalance_factor=10), flat(55, loss="gala")])
    assert methods.main(study, imbalance_factor=10).loc["cross-entropy", "few"] == "–"
    table = methods.imbalance(study)
    assert list(dict.fromkeys(title for title, _ in table.columns)) == ["classifier", "last epoch", "best on test"]
    assert table["last epoch"].loc["cross-entropy"].tolist() == ["60.0", "50.0"]
    assert table["best on test"].loc["cross-entropy"].tolist() == ["60.5", "50.5"]
    assert table.loc["GALA"].tolist() == ["linear", "–", "55.0", "–", "55.5"]
    assert table.attrs["note"].endswith("Seeds of every row: IF 10: 0; IF 100: 0.")
    figure = methods.groups(study, imbalance_factor=10)
    assert [ax.get_title() for ax in figure.axes] == ["top-1", "many", "medium"]
    plt.close(figure)


def test_one_imbalance_factor_is_no_table_of_factors(make_study: MakeStudy) -> None:
    with pytest.raises(MissingRuns, match="no short run of a second imbalance factor; recorded: 100"):
        methods.imbalance(make_study(six_methods()))


def four_seeds(top1: float, spread: tuple[float, ...], **config: Any) -> list[dict[str, Any]]:
    return [flat(top1 + more, seed, **config) for seed, more in enumerate(spread)]


def test_differences_are_those_of_the_analysis(make_study: MakeStudy) -> None:
    study = make_study(
        [
            *four_seeds(30, (0, 0.4, -0.4, 0), loss="ce"),
            *four_seeds(35, (0.3, -0.3, 0.1, -0.1), loss="gala"),
            *four_seeds(30.5, (-0.2, 0.2, 0.5, -0.5), loss="ala"),
            flat(99, seed=1, loss="focal"),  # another method: no row, and no part of the analysis
        ]
    )
    table = methods.differences(study)
    assert table.index.name == "minus cross-entropy"
    assert table["verdict"].to_dict() == {"ALA": "not resolved", "GALA": "clear"}
    assert table["classifier"].to_dict() == {"ALA": "cosine", "GALA": "linear"}
    values = {
        "cross-entropy": (30, 30.4, 29.6, 30), "ALA": (30.3, 30.7, 31.0, 30.0), "GALA": (35.3, 34.7, 35.1, 34.9)
    }  # fmt: skip
    analysis = analyse({name: dict(enumerate(row)) for name, row in values.items()})
    assert analysis.values == pytest.approx(methods.analysis_of(study, list(values)).values)
    for name, found in analysis.against("cross-entropy").items():
        assert cells([table.loc[name, "difference"]]) == [str(found)]
        assert table.loc[name, "has to exceed"] == f"{found.own_half:.1f}"
    assert f"Residual SD {analysis.sd:.2f} with 6 degrees of freedom" in table.attrs["note"]
    assert table.attrs["note"].endswith("the 2 comparisons with cross-entropy (linear) together (Dunnett).")
    turned = methods.differences(study, against="GALA", methods=["cross-entropy"])
    assert cells([turned.loc["cross-entropy", "difference"]])[0].startswith("-5.0 [")
    with pytest.raises(MissingRuns, match=r"no short run of cross-entropy \(cosine\)"):
        methods.differences(study, against="cross-entropy (cosine)")
    with pytest.raises(MissingRuns, match="no short run of a method beside focal"):
        methods.differences(study, against="focal", methods=["focal"])


def test_one_seed_has_no_interval_and_no_verdict(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(3,)))
    for table in (methods.differences(study), methods.contrasts(study)):
        assert set(table["verdict"]) == set(table["has to exceed"]) == {"–"}
        assert all(text.endswith("(one\u00a0seed)") or text.endswith("(one seed)") for text in table["difference"])
        assert table.attrs["note"].endswith("seed 3. One seed a row: no interval and no verdict.")
    assert "*" not in methods.posthoc(study).to_string()


def test_contrasts_are_those_of_the_grid_file(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0, 1, 2)))
    table = methods.contrasts(study)
    pairs = load_contrasts(BOOK / "experiments" / "cpu_main.yaml", "short")
    assert list(table.index) == [f"{method} − {minus}" for method, minus in pairs]
    assert table.loc["cross-entropy (cosine) − cross-entropy", "classifier"] == "cosine − linear"
    assert table.loc["ALA − cross-entropy (cosine)", "classifier"] == "cosine"
    for found, text in zip(methods.analysis_of(study).contrasts(pairs), table["difference"], strict=True):
        assert cells([text]) == [str(found)]
    assert table.attrs["note"].endswith("95 % intervals cover 6 contrasts together (Bonferroni).")
    with pytest.raises(MissingRuns, match="no contrast of recipe short in cpu_recipe"):
        methods.contrasts(study, grid="cpu_recipe")
    with pytest.raises(MissingRuns, match=r"no short run of .*GALA"):
        methods.contrasts(make_study([flat(50, loss="ce", imbalance_factor=50)]), imbalance_factor=50)


def test_posthoc_compares_with_the_parent_and_labels_what_sees_the_test_set(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0, 1)))
    for run, more in zip(study.select("GALA"), (0.0, 1.0), strict=True):
        run.record["posthoc"]["rebalance"]["top1"] = run.last["top1"] + 1 + more
    table = methods.posthoc(study)
    last = ["balanced softmax", "GALA"]  # what holds a prior
    assert list(table.index) == ["cross-entropy", "cross-entropy (cosine)", "LDAM-DRW", "ALA", *last]
    blocks = list(table.columns.get_level_values(0).unique())
    assert blocks == ["", "as trained", "adjusted, τ = 1", "re-balanced: sees the test set"]
    # The made-up records gain two points by adjusting in every run, so that nothing varies; clipping at 0 moves that.
    assert cells([table.loc["GALA", ("re-balanced: sees the test set", "top-1, change")]])[0].startswith("+1.5 ± ")
    assert all(text.endswith("†") for text in table.loc[last, ("adjusted, τ = 1", "top-1, change")])
    assert not table[("re-balanced: sees the test set", "top-1, change")].str.contains("†").any()
    assert "cover the 6 changes of a column together" in table.attrs["note"]


def test_with_posthoc_is_main_and_the_same_networks_adjusted(make_study: MakeStudy) -> None:
    names = ("cross-entropy", "GALA", "focal")
    study = make_study([flat(20, loss="ce"), flat(30, loss="gala")])
    for run in study.select():
        run.record["posthoc"]["adjust"]["top1"], run.record["posthoc"]["rebalance"]["top1"] = 21.0, 22.0
    table = methods.with_posthoc(study, names)
    assert list(table.columns) == [*methods.main(study, names).columns, "adjusted", "re-balanced"]
    assert cells(table.loc["cross-entropy"])[-2:] == ["21.0", "22.0"]
    assert cells(table.loc["GALA"])[-2:] == ["21.0†", "22.0"]  # its loss holds a prior
    assert cells(table.loc["focal"])[1:] == ["not recorded", *"––––", "–", "–"]
    assert "One seed a row: no interval and no verdict" in table.attrs["note"]
    again = [flat(22, seed=1, loss="ce"), flat(30, seed=1, loss="gala")]
    several = methods.with_posthoc(make_study([flat(20, loss="ce"), flat(30, loss="gala"), *again]), names)
    assert cells([several.loc["cross-entropy", "top-1"]]) == ["21.0 ± 1.4"]
    assert "One seed" not in several.attrs["note"]


def test_taus_starts_at_the_network_as_trained(make_study: MakeStudy) -> None:
    figure = methods.taus(make_study([flat(20, loss="ce"), flat(24, seed=1, loss="ce")]))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    adjusted, rebalanced = lines["adjusted"], lines["re-balanced (sees the test set)"]
    assert adjusted.get_xdata()[0] == 0
    assert (adjusted.get_ydata()[0], rebalanced.get_ydata()[0]) == (22, 22)  # the mean of the two seeds
    assert (adjusted.get_ydata()[4], rebalanced.get_ydata()[4]) == (30, 29)  # τ = 1 in the made-up sweep
    assert "over 2 seeds" in figure.axes[0].get_title()
    plt.close(figure)


def test_groups_draws_every_seed_and_the_mean(make_study: MakeStudy) -> None:
    study = make_study(
        [grouped(60, 20, 0, loss="ce"), grouped(62, 24, 3, seed=1, loss="ce")]
        + [flat(50, s, loss="gala") for s in (0, 1)]
    )
    figure = methods.groups(study)
    assert [ax.get_title() for ax in figure.axes] == ["top-1", "many", "medium", "few"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["cross-entropy", "GALA"]
    dots, mean = figure.axes[1].lines[:2]
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([60, 62], [0, 0])
    assert list(mean.get_xdata()) == [61]
    plt.close(figure)


def test_curves_average_only_epochs_that_all_seeds_keep(make_study: MakeStudy) -> None:
    first, second = flat(40, recipe="strong", loss="ce"), flat(44, seed=1, recipe="strong", loss="ce")
    second["epochs"].insert(1, {**second["epochs"][0], "epoch": 33, "top1": 99.0})  # a best epoch of its own
    figure = methods.curves(make_study([first, second]))
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == list(range(20, 201, 20))
    assert line.get_ydata()[-1] == 42
    plt.close(figure)
    with pytest.raises(MissingRuns, match="no short run of cross-entropy, "):
        methods.curves(make_study([flat(50, loss="focal")]))
    figure = methods.curves(make_study([flat(50, loss="focal")]), ["focal"])
    assert len(figure.axes[0].lines) == 1
    plt.close(figure)


def test_published_values_stand_alone(make_study: MakeStudy) -> None:
    table = methods.published_values(make_study([flat(12.3, loss="ce")]))
    assert len(table) == len(PUBLISHED)
    assert table.loc["GALA", ["IF 200", "IF 100", "IF 50", "IF 10"]].tolist() == [
        "48.0", "52.1", "56.0", "63.8",
    ]  # fmt: skip
    assert "12.3" not in markdown(table)
    assert table.loc["NCL, one of three networks", "augmentation"].tolist() == ["crop, flip", "RandAugment"]
    notes = table.attrs["note"].splitlines()[1:]
    assert [int(note.split()[0]) for note in notes] == list(range(1, len(notes) + 1)) == sorted(set(table["source"]))
    assert {note.split(maxsplit=1)[1].split(": ResNet")[0].split(": own")[0] for note in notes} == {
        row.source for row in PUBLISHED
    }


CASES = [(52.3, "+0.7", "yes"), (52.4, "+0.8", "no"), (50.9, "-0.7", "yes")]


@pytest.mark.parametrize(("top1", "gap", "within"), CASES)
def test_reproduction_judges_the_best_epoch(make_study: MakeStudy, top1: float, gap: str, within: str) -> None:
    study = make_study([flat(top1, recipe="strong", loss="gala")])  # best on test is half a point above the last
    table = methods.reproduction(study)
    row = table[(table.index == "GALA") & (table["IF"] == 100)].iloc[0]
    assert (row["published"], row["minus published"], row["within"]) == ("52.1", gap, f"{within} (0.7)")
    assert row["last"] == f"{top1:.1f}"
    recorded = ["GALA, re-balanced, earlier README", "GALA", "GALA, re-balanced"]
    assert table.index[table["seeds"] == 1].tolist() == recorded  # one run, three published values
    assert set(table[table["seeds"] == 0]["best on test"]) == {"not recorded"}


def test_reproduction_takes_the_rebalanced_epoch_where_the_published_value_does(make_study: MakeStudy) -> None:
    record = flat(50, recipe="strong", loss="gala", loss_options={"lambda_pos": 1.2, "lambda_neg": 0.9})
    record["posthoc"]["rebalance_best_on_test"]["top1"] = 52.9
    table = methods.reproduction(make_study([record]))
    plain, row = (table[table["seeds"] == 1].iloc[i] for i in (0, 1))
    assert (plain["published"], plain["best on test"], plain["last"]) == ("52.1", "50.5", "50.0")
    assert (row["published"], row["best on test"], row["last"]) == ("52.3", "52.9", "51.0")
    assert row["sees the test set"] == "best: epoch, re-balancing; last: re-balancing"


def test_reproduction_measures_a_range_from_its_nearer_end_and_needs_a_published_recipe(make_study: MakeStudy) -> None:
    study = make_study([flat(38.0, recipe="plain", loss="ce"), flat(44, recipe="plain", loss="ldam", drw=True)])
    table = methods.reproduction(study)
    assert table["minus published"].tolist() == ["+0.0", "+2.5"]  # 38.5 lies in 38.2–38.8
    assert table["last minus published"].tolist() == ["-0.2", "+2.0"]
    with pytest.raises(MissingRuns, match="no short run of a published recipe"):
        methods.reproduction(make_study([flat(38.0, loss="ce")]))


def test_spread_parts_seeds_subsets_and_orders(make_study: MakeStudy) -> None:
    order = [1, 0, *range(2, 100)]
    study = make_study(
        [
            flat(60, loss="ce", class_order=[*range(50, 100), *range(50)]),  # a rotation, of the crossed study
            *(flat(top1, seed, loss="ce") for seed, top1 in enumerate((30.0, 31.0, 32.0))),
            flat(34, loss="ce", subset_seed=1),
            flat(29, loss="ce", class_order=order),
            flat(50, loss="gala"),
        ]
    )
    table = methods.spread(study)
    ce = table.loc["cross-entropy"]
    assert ce["runs"].tolist() == [3, 2, 2]
    assert ce["range of top-1"].tolist() == ["2.0", "4.0", "1.0"]
    assert cells([ce.loc["training seed", "top-1"]]) == ["31.0 ± 1.0"]
    assert table.loc["GALA", "top-1"].tolist() == ["not recorded"] * 3
    with pytest.raises(MissingRuns, match="no short run of GALA with another subset or class order"):
        methods.spread(study, methods=["GALA"])


def tuning_study(make_study: MakeStudy) -> Study:
    tuning = {"dataset": "cifar100_lt_tuning"}
    focal = [(40, {}), (43, {"gamma": 0.5}), (41, {"gamma": 1.0})]
    records = [flat(top1, loss="focal", loss_options=options, **tuning) for top1, options in focal]
    records += [flat(38, loss="ce", **tuning), flat(39, loss="ce"), flat(41, seed=1, loss="ce")]
    records += [flat(35, loss="focal"), flat(36, loss="focal", loss_options={"gamma": 0.5})]
    records[3]["posthoc"]["sweep"]["adjust"] = [30.0, 31.0, 32.0, 33.0, 34.0, 33.5, 20.0]
    return make_study(records)


def test_tuning_shows_default_best_and_retrained(make_study: MakeStudy) -> None:
    table = methods.tuning(tuning_study(make_study))
    assert list(table.index) == [
        "cross-entropy", "focal", "cross-entropy, adjusted", "cross-entropy, re-balanced (sees the test set)",
    ]  # fmt: skip
    assert table.loc["focal"].tolist() == ["linear", 3, "40.0", "43.0", "gamma 0.5", "35.0", "36.0"]
    assert cells(table.loc["cross-entropy"]) == ["linear", 1, "38.0", "38.0", "default", "40.0 ± 1.4", "40.0 ± 1.4"]
    adjusted = cells(table.loc["cross-entropy, adjusted"])
    assert adjusted == ["linear", 7, "33.0", "34.0", "τ 1.25", "30.0 ± 0.0", "30.0 ± 0.0"]
    with pytest.raises(MissingRuns, match="no short run of any method"):
        methods.tuning(make_study([flat(39, loss="ce", imbalance_factor=50)]), imbalance_factor=50)


def test_frozen_configurations_are_runs_of_a_grid(make_study: MakeStudy, tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text(yaml.safe_dump({"runs": methods.frozen(tuning_study(make_study))}))
    configs = load_grid(file)
    assert [config.run_name for config in configs] == ["ce-if100-s0", "focal-gamma_0.5-if100-s0"]
    assert {config.dataset for config in configs} == {"cifar100_lt"}
    assert {config.recipe for config in configs} == {"short"}
