"""Chapter 12's tables and figures on made-up records whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import lt_core as lt
from lt_core import records
from lt_core.data import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, class_counts, counts_in_order
from lt_core.report import MissingRuns, Study, analysis, crossed

from .conftest import make_record, six_methods

MakeStudy = Callable[..., Study]
Array = NDArray[np.float64]
EFFECTS = np.random.default_rng(0).permutation(np.linspace(-12, 12, 100))
METHODS: list[dict[str, Any]] = [
    {"loss": "ce", "classifier": "cosine"},
    {"loss": "balanced_softmax"},
    {"loss": "ala"},
]


def turned(shift: int) -> tuple[int, ...] | None:
    return tuple((c + shift) % 100 for c in range(100)) if shift else None


def counts_of(shift: int) -> Array:
    return np.array(counts_in_order(class_counts(100, 500, 100), turned(shift)), dtype=float)


def crossed_records(
    shifts: tuple[int, ...], slopes: tuple[float, ...] = (7.0, 4.0, 7.0), noise: float = 0.0
) -> list[dict[str, Any]]:
    """Accuracy 45 + effect + slope (log2 n - 6), plus noise; the same effects under every method."""
    generator = np.random.default_rng(1)
    made = []
    for method, slope in zip(METHODS, slopes, strict=True):
        for shift in shifts:
            accuracy = 45 + EFFECTS + slope * (np.log2(counts_of(shift)) - 6) + generator.normal(0, noise, 100)
            made.append(make_record(accuracy, class_order=turned(shift), **method))
    return made


def leading_number(text: str) -> float:
    return float(text.split()[0])


@pytest.fixture(autouse=True)
def _close_figures() -> Any:
    yield
    plt.close("all")


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


def test_noise_is_taken_off_the_spread_of_the_effects() -> None:
    generator = np.random.default_rng(4)
    counts = np.stack([counts_of(shift) for shift in (0, 30, 60)], 1)
    found = []
    for _ in range(40):
        accuracy = 40 + EFFECTS[:, None] + generator.normal(0, 9, counts.shape)
        found.append(crossed.fit_line(accuracy, counts))
    truth = EFFECTS.std(ddof=1)
    assert np.mean([fit.true_sd for fit in found]) == pytest.approx(truth, abs=0.25)
    assert np.mean([fit.effect_sd for fit in found]) > truth + 1
    pure = crossed.fit_line(40 + generator.normal(0, 9, counts.shape), counts)
    assert pure.true_sd < 3 < pure.effect_sd


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
    fit = analysis.crossed_fit(study)
    assert list(fit["rotations"]) == [3, 3, 3]
    assert [leading_number(text) for text in fit["points a doubling"]] == [7.0, 4.0, 7.0]
    assert fit["sd of class effects"].tolist() == pytest.approx([EFFECTS.std(ddof=1).round(1)] * 3)
    assert fit.filter(like="(%)").sum(axis=1).tolist() == pytest.approx([100] * 3, abs=2)
    change = analysis.crossed_change(study)
    assert list(change.index) == ["balanced softmax", "ALA"]
    assert leading_number(change["points a doubling"]["balanced softmax"]) == -3.0
    assert leading_number(change["top-1"]["ALA"]) == 0.0
    assert change["correlation of class effects"].tolist() == pytest.approx([1.0, 1.0])


def test_an_order_that_is_no_rotation_is_left_out(make_study: MakeStudy) -> None:
    other = tuple(np.random.default_rng(5).permutation(100).tolist())
    wild = [make_record(np.full(100, 1.0), class_order=other, **method) for method in METHODS]
    fit = analysis.crossed_fit(make_study([*crossed_records((0, 50)), *wild]))
    assert list(fit["rotations"]) == [2, 2, 2]
    assert leading_number(fit["points a doubling"].iloc[0]) == 7.0


def test_methods_are_compared_on_shared_rotations_only(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    extra = make_record(np.full(100, 90.0), class_order=turned(20), **METHODS[1])
    study = make_study([*made, extra])
    assert list(analysis.crossed_fit(study)["rotations"]) == [2, 3, 2]
    change = analysis.crossed_change(study)
    assert list(change["rotations"]) == [2, 2]
    assert leading_number(change["points a doubling"]["balanced softmax"]) == -3.0


def test_missing_rotations_are_named(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0,)))
    for item in (*crossed.TABLES, *crossed.FIGURES, analysis.difficulty_signals):
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
    table = analysis.crossed_halves(make_study(made))
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
    table = analysis.crossed_extremes(study, number=2)
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
    table = analysis.crossed_checks(make_study(made))
    slopes = table.filter(like="slope at").astype(float)
    straight, bent = slopes.loc["balanced softmax"], slopes.loc["ALA"]
    assert straight.tolist() == pytest.approx([5.0] * 3, abs=0.1)
    assert bent.tolist() == pytest.approx([2 * (np.log2(n) - 2) for n in (10, 50, 250)], abs=0.1)
    assert table["line and square"]["ALA"] == pytest.approx(1.0, abs=0.01)
    assert table["R² in classes: line"]["ALA"] < 0.99


def test_crossed_figures_show_the_cells(make_study: MakeStudy) -> None:
    study = make_study(crossed_records((0, 20, 50)))
    fig = analysis.crossed_classes(study)
    lines = fig.axes[0].get_lines()
    assert len(lines) == 5
    assert all(len(line.get_xdata()) == 3 for line in lines[1:])
    fig = analysis.crossed_effects(study)
    assert "correlation 1.00" in fig.axes[0].get_title()
    names = {text.get_text() for text in fig.axes[0].texts}
    assert CIFAR100_CLASSES[int(EFFECTS.argmax())].replace("_", " ") in names


def test_hard_and_easy_shares_are_read_off_the_quantiles(make_study: MakeStudy) -> None:
    record = make_record(loss="ce")
    record["target_probability"]["many"] = np.linspace(0, 1, 21).tolist()  # uniform
    record["target_probability"]["medium"] = [0.0] * 20 + [1.0]
    record["target_probability"]["few"] = None
    row = analysis.hard_and_easy(make_study([record])).loc["cross-entropy"]
    assert (row[("hard (%)", "many")], row[("easy (%)", "many")]) == ("20", "20")
    assert (row[("hard (%)", "medium")], row[("easy (%)", "medium")]) == ("96", "1")
    assert row[("hard (%)", "few")] == row[("easy (%)", "few")] == "–"


def test_factor_gaps_are_differences_and_ratios(make_study: MakeStudy) -> None:
    record = make_record(loss="ala")
    record["adjustment"][0] |= {"A": [0.1, 0.2, 0.6]}
    table = analysis.factor_gaps(make_study([record, make_record(loss="ala", seed=1)]))
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
    table = analysis.factor_gaps(study)
    assert table.loc["A, epoch 10"].tolist()[:3] == [0.08, 0.18, 0.55]
    assert table.loc["A, epoch 40"].tolist()[:3] == [0.06, 0.16, 0.5]
    lines = analysis.factors(study).axes[0].lines
    assert [line.get_xdata().tolist() for line in lines] == [[10, 20, 40]] * 3
    runs[1]["adjustment"] = runs[1]["adjustment"][2:3]
    with pytest.raises(MissingRuns, match="no epoch whose factors all short runs of ALA have kept"):
        analysis.factor_gaps(make_study(runs))


def test_signals_tell_a_count_from_a_class_effect(make_study: MakeStudy) -> None:
    made = crossed_records((0, 50))
    ala = next(r for r in made if r["config"]["loss"] == "ala" and r["config"]["class_order"] is None)
    ala["adjustment_per_class"] = {"DF": (-EFFECTS / 100).tolist()}
    table = analysis.difficulty_signals(make_study([*made, make_record(loss="gala")]))
    assert table["with class effect"]["DF (ALA)"] == -1.0
    assert table["with log count"]["log theta (GALA)"] == 1.0
    assert table["R² of both (%)"].tolist() == [100, 100]
    assert abs(table["with log count"]["DF (ALA)"]) < 0.4


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
    first = analysis.row_balance(study)["first epoch"].loc["cross-entropy"]
    assert first[list(records.GROUPS)].tolist() == [1.0, 1.0, 1.0]
    last = analysis.row_balance(study)["last epoch"].loc["cross-entropy"]
    assert last[list(records.GROUPS)].tolist() == [2.0, 2.0, 0.5]
    assert last["few-shot rows above 1 (%)"] == 0


def test_blocks_leave_out_what_a_class_does_to_itself(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce", class_order=turned(50))], arrays=True)
    pushes = torch.ones(100, 100).fill_diagonal_(-50.0)
    pushes[50, 51] = 21.0  # images of the most frequent class (50) onto the second row (51)
    blocks = analysis._block_means(study.runs[0], pushes.double(), 20)
    expected = np.ones((20, 20))
    expected[0, 0] = 2.0  # 20 pairs of different classes share the 20 extra
    assert blocks == pytest.approx(expected)


def test_push_slopes_are_the_powers_of_the_counts(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce", class_order=None)], arrays=True)
    # Counts that are equal inside every block of five, so that block means are exact products.
    count = torch.tensor(np.exp(np.log(class_counts(100, 500, 100)).reshape(20, 5).mean(1)).repeat(5))
    first, last = count[:, None] * count[None, :] ** 0.5, torch.ones(100, 100)
    records.save_pushes(first.fill_diagonal_(-9.0) / 100, last, study.runs[0].folder)
    row = analysis.push_slopes(study).loc["cross-entropy"]
    assert row["first epoch"].tolist() == pytest.approx([1.0, 0.5, 0.0], abs=0.01)
    assert row["last epoch"].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.01)


def test_items_with_arrays_show_the_runs_that_have_them(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce")])
    for item in (analysis.row_balance, analysis.push_slopes, analysis.superclasses, analysis.who_pushes_whom):
        with pytest.raises(MissingRuns, match="no short run of"):
            item(study)
    study = make_study([make_record(loss="ce")], arrays=True)
    assert list(analysis.row_balance(study).index) == ["cross-entropy"]
    with pytest.raises(MissingRuns, match="balanced softmax, LDAM-DRW with pushes"):
        analysis.who_pushes_whom(study)
    with pytest.raises(MissingRuns, match="no short run of"):
        analysis.reliability(study)
    assert analysis.row_ratios(study, methods=("cross-entropy",)).axes[0].get_title() == "cross-entropy"


def test_treatments_name_the_test_set_and_the_double_correction(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0, 1)))
    for table, value in ((analysis.slopes(study), "0.50 ± 0.00"), (analysis.calibration(study), "20.0 ± 0.0")):
        assert any("sees the test set" in column for column in table.columns)
        assert table["as trained"].tolist() == [value] * 6
        twice = table.index[table["adjusted, τ = 1"].str.contains("twice")]
        assert list(twice) == ["balanced softmax", "LDAM-DRW", "GALA"]
    assert analysis.calibration(study)["adjusted, τ = 1"]["ALA"] == "22.0 ± 0.0"


def test_reliability_curve_by_hand() -> None:
    probabilities = torch.tensor([[0.95, 0.05], [0.85, 0.15], [0.1, 0.9], [0.45, 0.55], [1.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 1, 1])
    confidence, accuracy = analysis.reliability_curve(probabilities, labels, bins=2)
    assert confidence == pytest.approx([(0.95 + 0.85 + 0.9 + 0.55 + 1.0) / 5])
    assert accuracy == [0.6]
    confidence, accuracy = analysis.reliability_curve(probabilities, labels, bins=10)
    assert confidence == pytest.approx([0.55, 0.85, (0.95 + 0.9 + 1.0) / 3], abs=1e-6)
    assert accuracy == pytest.approx([1.0, 0.0, 2 / 3])


def test_superclasses_count_where_errors_go(make_study: MakeStudy) -> None:
    labels, superclass = analysis.cifar100_test_labels()
    study = make_study([make_record(loss="balanced_softmax")], arrays=True)
    counts = torch.tensor(class_counts(100, 500, 100))
    siblings = torch.stack([(superclass == superclass[c]).nonzero()[:, 0] for c in range(100)])
    answer = siblings[torch.arange(100), (siblings == torch.arange(100)[:, None]).long().argmax(1) - 1]
    far = torch.zeros(100, dtype=torch.long)  # class 0: apple, the most frequent
    even = torch.arange(len(labels)) % 2 == 0
    predictions = torch.where(even, answer[labels], far[labels])  # half near, half to apple
    logits = torch.nn.functional.one_hot(predictions, 100).double() * 30
    records.save_probabilities(logits.log_softmax(1), study.runs[0].folder)
    table = analysis.superclasses(study)
    wrong = predictions != labels
    near = superclass[predictions] == superclass[labels]
    few = counts[labels] < 20
    row = table.loc["balanced softmax"]
    expected = 100 * near[wrong & few].double().mean().item()
    assert row[("inside the superclass (%)", "few")] == pytest.approx(expected, abs=0.5)
    up = counts[predictions] > counts[labels]
    expected = 100 * up[wrong & few].double().mean().item()
    assert row[("to a more frequent class (%)", "few")] == pytest.approx(expected, abs=0.5)
    lot = table.loc["any other class, by lot"]
    assert lot["inside the superclass (%)"].tolist() == [round(400 / 99)] * 3
    by_hand = [np.mean([(counts > counts[c]).sum().item() / 99 for c in range(70, 100)])]
    assert lot[("to a more frequent class (%)", "few")] == round(100 * by_hand[0])


def test_ablation_shows_what_is_there_and_says_what_is_not(make_study: MakeStudy) -> None:
    options: list[dict[str, Any]] = [{}, {"quantity": None}, {"difficulty": False}, {"quantity": "log2"}]
    made = [make_record(loss="ala", loss_options=chosen, drw=drw) for chosen in options for drw in (False, True)]
    made += [make_record(loss="ce", classifier="cosine"), make_record(loss="ce"), make_record(loss="ldam", drw=True)]
    made.append(make_record(loss="ala", loss_options={"quantity": "log"}, seed=1))  # the default, spelled out
    made[0] = make_record(np.full(100, 30.0), loss="ala")
    made[-1]["final"]["last"]["top1"] = 32.0
    table = analysis.ala_ablation(make_study(made))
    every = table.xs("all", axis=1, level=1)
    assert every["without DRW"]["DF · QF (ALA)"] == "31.0 ± 1.4"  # the default, twice
    missing = {(row, block) for row in every.index for block in every if every[block][row] == "not recorded"}
    assert missing == {
        ("none: cross-entropy (cosine)", "with DRW"),
        ("LDAM", "without DRW"),
        ("DF · LDAM", "without DRW"),
        ("DF · LDAM", "with DRW"),
    }
    assert list(table.index) == [*analysis.TABLE4.values(), "ALA (quantity log2)"]
    assert table["with DRW"]["many"]["DF · LDAM"] == ""


def test_ablation_without_ala_is_missing(make_study: MakeStudy) -> None:
    with pytest.raises(MissingRuns, match="no short run of ALA"):
        analysis.ala_ablation(make_study([make_record(loss="ce", classifier="cosine")]))


def test_gala_ablation_needs_an_option(make_study: MakeStudy) -> None:
    with pytest.raises(MissingRuns, match="no short run of GALA with an option"):
        analysis.gala_ablation(make_study(six_methods(seeds=(0,))))
    made = [make_record(loss="gala", loss_options={"lambda_neg": 0.5}), make_record(loss="gala", classifier="cosine")]
    table = analysis.gala_ablation(make_study(made))
    assert list(table.index) == ["GALA", "GALA (cosine)", "GALA (lambda_neg 0.5)"]
    assert table["slope"].tolist() == ["0.50"] * 3


def test_every_item_works_on_a_whole_study(make_study: MakeStudy) -> None:
    made = [*six_methods(seeds=(0, 1)), *crossed_records((20, 50)), make_record(loss="gala", classifier="cosine")]
    study = make_study(made, arrays=True)
    for item in analysis.TABLES:
        table = item(study)
        assert isinstance(table, pd.DataFrame)
        assert len(table)
    for item in analysis.FIGURES:
        assert item(study).axes


def test_running_mean_uses_what_there_is_at_the_ends() -> None:
    values = np.array([1.0, 2.0, 6.0, 7.0, 9.0])
    assert analysis._running_mean(values, 3).tolist() == pytest.approx([1.5, 3.0, 5.0, 22 / 3, 8.0])


def test_labels_outside_a_clone_are_missing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingRuns, match="no test labels"):
        analysis.cifar100_test_labels()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_damaged_labels_are_one_line_that_names_the_file(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "book" / "results").mkdir(parents=True)
    path = tmp_path / "book" / "results" / "cifar100_test_labels.npz"
    path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(records.RecordError, match="cannot be read") as caught:
        analysis.cifar100_test_labels()
    assert str(caught.value).startswith(str(path))


def test_labels_score_the_recorded_probabilities_as_the_records_do() -> None:
    """The order of the labels is that of the probabilities: accuracies by class come out as recorded."""
    labels, superclass = analysis.cifar100_test_labels()
    assert torch.bincount(labels).tolist() == [100] * 100
    assert torch.bincount(superclass).tolist() == [5] * 20
    for run in analysis.with_arrays(lt.report.load_study("short"), records.PROBABILITIES).values():
        found = 100 * lt.metrics.per_class_accuracy(run.probabilities().argmax(1), labels, 100)
        assert (found - torch.tensor(run.last["per_class"])).abs().max() <= 4  # ties of the rounded probabilities


@pytest.mark.realdata
def test_labels_are_those_of_the_data_set(cifar_root: Path) -> None:
    labels, superclass = analysis.cifar100_test_labels()
    data = lt.data.cifar100_lt(cifar_root)
    assert torch.equal(labels, data.test_targets)
    assert data.superclasses == [CIFAR100_SUPERCLASSES[s] for s in superclass]
