"""The papers' pictures of chapter 13 on made-up records whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lt_core as lt
from lt_core import plots, records
from lt_core.data import class_counts
from lt_core.report import MissingRuns, analysis, inside, load_study

from .conftest import MakeStudy, make_record, six_methods, turned


def test_hard_and_easy_shares_are_read_off_the_quantiles(make_study: MakeStudy) -> None:
    record = make_record(loss="ce")
    record["target_probability"]["many"] = np.linspace(0, 1, 21).tolist()  # uniform
    record["target_probability"]["medium"] = [0.0] * 20 + [1.0]
    record["target_probability"]["few"] = None
    row = inside.hard_and_easy(make_study([record])).loc["cross-entropy (linear)"]
    assert (row[("hard (%)", "many")], row[("easy (%)", "many")]) == ("20", "20")
    assert (row[("hard (%)", "medium")], row[("easy (%)", "medium")]) == ("96", "1")
    assert row[("hard (%)", "few")] == row[("easy (%)", "few")] == "–"


def test_factor_gaps_are_differences_and_ratios(make_study: MakeStudy) -> None:
    record = make_record(loss="ala")
    record["adjustment"][0] |= {"A": [0.1, 0.2, 0.6]}
    table = inside.factor_gaps(make_study([record, make_record(loss="ala", seed=1)]))
    assert table.loc["QF"].tolist() == [0.2, 0.4, 1.0, 0.8, 5.0]
    assert table.loc["A, epoch 1"].tolist()[:3] == [0.08, 0.18, 0.55]  # the mean of two seeds
    assert table.loc["A, epoch 40", "few / many"] == round(0.5 / 0.06, 2)


def test_factors_are_means_over_the_epochs_that_all_seeds_have_kept(make_study: MakeStudy) -> None:
    """A long run keeps every tenth epoch and its own best one, which differs between seeds."""
    runs = [make_record(loss="ala", seed=seed) for seed in range(2)]
    for record, best in zip(runs, (13, 27), strict=True):
        record["adjustment"] = [row for row in record["adjustment"] if row["epoch"] in (10, best, 20, 40)]
    runs[1]["adjustment"][0] |= {"A": [0.1, 0.2, 0.6]}
    study = make_study(runs)
    table = inside.factor_gaps(study)
    assert table.loc["A, epoch 10"].tolist()[:3] == [0.08, 0.18, 0.55]
    assert table.loc["A, epoch 40"].tolist()[:3] == [0.06, 0.16, 0.5]
    lines = inside.factors(study).axes[0].lines
    assert [line.get_xdata().tolist() for line in lines] == [[10, 20, 40]] * 3
    runs[1]["adjustment"] = runs[1]["adjustment"][2:3]
    with pytest.raises(MissingRuns, match="no epoch whose factors all short runs of ALA have kept"):
        inside.factor_gaps(make_study(runs))


def test_factors_are_those_of_ala_drw_where_ala_was_not_run(make_study: MakeStudy) -> None:
    drw = make_record(loss="ala", drw=True)
    drw["adjustment"][-1] |= {"A": [0.1, 0.2, 0.3]}
    table = inside.factor_gaps(make_study([drw]))
    assert (table.index.name, table.loc["A, epoch 40", "few / many"]) == ("ALA-DRW", 3.0)
    table = inside.factor_gaps(make_study([drw, make_record(loss="ala")]))
    assert (table.index.name, table.loc["A, epoch 40", "few / many"]) == ("ALA", round(0.5 / 0.06, 2))
    with pytest.raises(MissingRuns, match="no short run of ALA "):
        inside.factors(make_study([make_record(loss="ce")]).only("cross-entropy"))


def test_curves_are_of_the_study_s_own_methods(make_study: MakeStudy) -> None:
    made = [make_record(loss="ce"), make_record(loss="ala", drw=True), make_record(loss="gala")]
    study = make_study(made)
    expected = ["cross-entropy (linear)", "GALA (linear)", "ALA-DRW (cosine)"]
    for figure in (inside.per_class(study), inside.probability_curves(study)):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == expected
    assert list(inside.hard_and_easy(study).index) == expected
    line = inside.probability_curves(study).axes[0].lines[-1]
    assert (line.get_color(), line.get_marker()) == (plots.METHOD_COLOURS["ALA"], plots.METHOD_MARKERS["ALA"])


def known_pushes() -> torch.Tensor:
    """Row j gets 2 from its own images and 4 from others if few-shot; 2 and 1 if not."""
    few = torch.tensor(class_counts(100, 500, 100)) < 20
    received = torch.where(few, 4.0, 1.0).double()
    pushes = (received / 99).expand(100, 100).clone()
    pushes.fill_diagonal_(-2.0)
    return pushes


def test_row_balance_divides_sums(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce")], arrays=True)
    balanced = torch.ones(100, 100).fill_diagonal_(-99.0)
    records.save_pushes(balanced, known_pushes(), study.runs[0].folder)
    first = inside.row_balance(study)["first epoch"].loc["cross-entropy (linear)"]
    assert first[list(records.GROUPS)].tolist() == [1.0, 1.0, 1.0]
    last = inside.row_balance(study)["last epoch"].loc["cross-entropy (linear)"]
    assert last[list(records.GROUPS)].tolist() == [2.0, 2.0, 0.5]
    assert last["few-shot rows above 1 (%)"] == 0


def test_blocks_leave_out_what_a_class_does_to_itself(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce", class_order=turned(50))], arrays=True)
    pushes = torch.ones(100, 100).fill_diagonal_(-50.0)
    pushes[50, 51] = 21.0  # images of the most frequent class (50) onto the second row (51)
    blocks = inside._block_means(study.runs[0], pushes.double(), 20)
    expected = np.ones((20, 20))
    expected[0, 0] = 2.0  # 20 pairs of different classes share the 20 extra
    assert blocks == pytest.approx(expected)


def test_push_slopes_are_the_powers_of_the_counts(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce", class_order=None)], arrays=True)
    # Counts that are equal inside every block of five, so that block means are exact products.
    count = torch.tensor(np.exp(np.log(class_counts(100, 500, 100)).reshape(20, 5).mean(1)).repeat(5))
    first, last = count[:, None] * count[None, :] ** 0.5, torch.ones(100, 100)
    records.save_pushes(first.fill_diagonal_(-9.0) / 100, last, study.runs[0].folder)
    row = inside.push_slopes(study).loc["cross-entropy (linear)"]
    assert row["first epoch"].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=0.01)
    assert row["last epoch"].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.01)


def test_ablation_shows_what_is_recorded_and_no_empty_row(make_study: MakeStudy) -> None:
    options: list[dict[str, Any]] = [{}, {"quantity": None}, {"difficulty": False}, {"quantity": "log2"}]
    made = [make_record(loss="ala", loss_options=chosen, drw=drw) for chosen in options for drw in (False, True)]
    made += [make_record(loss="ce", classifier="cosine"), make_record(loss="ce"), make_record(loss="ldam", drw=True)]
    made[0] = make_record(np.full(100, 30.0), loss="ala")
    made[1] = make_record(loss="ala", loss_options={"quantity": "log"}, drw=True)  # the default, spelled out
    made.append(make_record(loss="ala", seed=1))  # a seed that no other row has
    made[-1]["final"]["last"]["top1"] = 90.0
    table = inside.ala_ablation(make_study(made))
    both = ("no", "yes")
    recorded = [(row, "cosine", drw) for row in ("DF", "QF", "DF · QF (ALA)") for drw in both]
    recorded += [("none: cross-entropy", "cosine", "no"), ("none: cross-entropy", "linear", "no")]
    recorded += [("LDAM", "cosine", "yes"), *(("ALA (quantity log2)", "cosine", drw) for drw in both)]
    assert set(table.index) == set(recorded)  # and no row that no record has
    assert table.loc[("DF · QF (ALA)", "cosine", "no"), "all"] == "30.0"
    assert table.index[0] == ("none: cross-entropy", "cosine", "no")
    assert table.index[-1] == ("none: cross-entropy", "linear", "no")


def test_changes_of_the_ablation_compare_what_differs_in_one_thing(make_study: MakeStudy) -> None:
    kinds: list[dict[str, Any]] = [{"loss": "ce", "classifier": "cosine"}, {"loss": "ldam"}, {"loss": "ala"}]
    kinds.append({"loss": "ce"})
    made = []
    for place, kind in enumerate(kinds):
        for drw in (False, True):
            for seed in range(3):
                made.append(make_record(**kind, drw=drw, seed=seed))
                made[-1]["final"]["last"]["ece"] = 10.0 * place + 4.0 * drw + seed % 2 * 0.1 * (place + drw)
    with pytest.raises(MissingRuns, match="two seeds that differ in margin or weighting alone"):
        inside.ala_ablation_changes(make_study([record for record in made if record["config"]["seed"] == 0]))
    table = inside.ala_ablation_changes(make_study(made))
    margins = [("LDAM − none", "cosine"), ("DF · QF (ALA) − none", "cosine")]
    weights = [("weights, none: cross-entropy", "cosine"), ("weights, LDAM", "cosine")]
    weights += [("weights, DF · QF (ALA)", "cosine"), ("weights, none: cross-entropy", "linear")]
    assert set(table.index) == {(*m, drw) for m in margins for drw in ("no", "yes")} | {
        (*w, "yes − no") for w in weights
    }
    change = table["ECE (points)", "change"].map(lambda text: float(text.split()[0]))
    assert change["LDAM − none", "cosine", "no"] == pytest.approx(10.0, abs=0.1)
    assert change["DF · QF (ALA) − none", "cosine", "yes"] == pytest.approx(20.1, abs=0.1)
    assert change["weights, none: cross-entropy", "linear", "yes − no"] == pytest.approx(4.0, abs=0.1)
    assert table["ECE (points)", "verdict"]["LDAM − none", "cosine", "no"] == "clear"
    assert table["hard, many (%)", "verdict"]["LDAM − none", "cosine", "no"] == "not resolved"  # the same images


def test_trend_and_rest_are_the_line_and_what_it_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    x, values = torch.rand(2, 20, generator=generator, dtype=torch.float64)
    trend, rest = inside._trend_and_rest(values, x)
    slope, level = np.polyfit(x, values, 1)
    torch.testing.assert_close(trend, slope * (x - x.mean()))
    torch.testing.assert_close(trend + rest, values - values.mean())
    assert abs(float(rest @ (x - x.mean()))) < 1e-12
    assert level == pytest.approx(float(values.mean() - slope * x.mean()))


def test_parts_of_re_balancing_add_up_to_it() -> None:
    study = load_study("strong").only("balanced softmax", seeds=(0,))
    table = inside.rebalancing_parts(study)
    run = study.select("balanced softmax")[0]
    labels, _ = analysis.cifar100_test_labels()
    after = lt.posthoc.rebalance_logits(run.probabilities().double().log()).argmax(1)
    gain = 100 * ((after == labels).double().mean() - (run.probabilities().argmax(1) == labels).double().mean())
    text = table.loc["balanced softmax (linear)", ("gain when divided by (points)", "both")]
    assert float(text.split()[0]) == pytest.approx(float(gain), abs=0.006)


def test_ablation_without_ala_is_missing(make_study: MakeStudy) -> None:
    with pytest.raises(MissingRuns, match="no short run of ALA"):
        inside.ala_ablation(make_study([make_record(loss="ce", classifier="cosine")]))


def test_gala_ablation_needs_an_option(make_study: MakeStudy) -> None:
    with pytest.raises(MissingRuns, match="no short run of GALA with an option"):
        inside.gala_ablation(make_study(six_methods(seeds=(0,))))
    made = [make_record(loss="gala", loss_options={"lambda_neg": 0.5}), make_record(loss="gala", classifier="cosine")]
    table = inside.gala_ablation(make_study(made))
    assert list(table.index) == ["GALA", "GALA (cosine)", "GALA (lambda_neg 0.5)"]
    assert table["slope"].tolist() == ["0.50"] * 3


def test_running_mean_uses_what_there_is_at_the_ends() -> None:
    values = np.array([1.0, 2.0, 6.0, 7.0, 9.0])
    assert inside._running_mean(values, 3).tolist() == pytest.approx([1.5, 3.0, 5.0, 22 / 3, 8.0])


def test_items_with_arrays_show_the_runs_that_have_them(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce")])
    needing = (inside.row_balance, inside.push_slopes, inside.who_pushes_whom, inside.row_ratios)
    for item in (*needing, inside.rebalancing_parts, analysis.superclasses, analysis.reliability):
        with pytest.raises(MissingRuns, match="no short run of"):
            item(study)
    study = make_study([make_record(loss="ce")], arrays=True)
    assert list(inside.row_balance(study).index) == ["cross-entropy (linear)"]
    with pytest.raises(MissingRuns, match="balanced softmax, LDAM-DRW with pushes"):
        inside.who_pushes_whom(study)
    assert inside.row_ratios(study, methods=("cross-entropy",)).axes[0].get_title() == "cross-entropy (linear)"
