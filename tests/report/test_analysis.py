"""Chapter 13's prior, calibration and errors on made-up records whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import lt_core as lt
from lt_core import records
from lt_core.data import CIFAR100_SUPERCLASSES, class_counts
from lt_core.report import MissingRuns, analysis, crossed, inside

from .conftest import MakeStudy, crossed_records, make_record, six_methods


def test_treatments_name_the_test_set_and_the_double_correction(make_study: MakeStudy) -> None:
    study = make_study(six_methods(seeds=(0, 1)))
    for table, value in ((analysis.slopes(study), "0.50 ± 0.00"), (analysis.calibration(study), "20.0 ± 0.0")):
        assert any("sees the test set" in column for column in table.columns)
        assert table["as trained"].tolist() == [value] * 6
        twice = table.index[table["adjusted, τ = 1"].str.contains("twice")]
        assert list(twice) == ["balanced softmax (linear)", "LDAM-DRW (cosine)", "GALA (linear)"]
    assert analysis.calibration(study)["adjusted, τ = 1"]["ALA (cosine)"] == "22.0 ± 0.0"


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
    row = table.loc["balanced softmax (linear)"]
    expected = 100 * near[wrong & few].double().mean().item()
    assert row[("in the superclass (%)", "few")] == pytest.approx(expected, abs=0.5)
    up = counts[predictions] > counts[labels]
    expected = 100 * up[wrong & few].double().mean().item()
    assert row[("to a more frequent class (%)", "few")] == pytest.approx(expected, abs=0.5)
    assert row["pairs shared with balanced softmax (%)"].tolist() == ["", ""]  # with itself
    lot = table.loc["any other class, evenly"]
    assert lot["in the superclass (%)"].tolist() == [round(400 / 99)] * 3
    by_hand = [np.mean([(counts > counts[c]).sum().item() / 99 for c in range(70, 100)])]
    assert lot[("to a more frequent class (%)", "few")] == round(100 * by_hand[0])


def test_every_item_works_on_a_whole_study(make_study: MakeStudy) -> None:
    made = [*six_methods(seeds=(0, 1)), *crossed_records((20, 50)), make_record(loss="gala", classifier="cosine")]
    study = make_study(made, arrays=True)
    for item in (*inside.TABLES, *analysis.TABLES, *crossed.TABLES):
        table = item(study)
        assert isinstance(table, pd.DataFrame)
        assert len(table)
    for item in (*inside.FIGURES, *analysis.FIGURES, *crossed.FIGURES):
        assert item(study).axes


def test_other_runs_beside_the_six_change_nothing_and_a_study_without_one_is_shown_whole(make_study: MakeStudy) -> None:
    six = six_methods(seeds=(0,))
    more = [make_record(loss="ala", drw=True), make_record(loss="ce", drw=True)]
    assert list(analysis.main_methods(make_study([*more, *six]))) == list(lt.report.METHODS)
    without = make_study([*more, *six]).only("GALA", "ALA-DRW", "cross-entropy", "balanced softmax")
    assert list(analysis.main_methods(without)) == ["cross-entropy", "balanced softmax", "GALA", "ALA-DRW"]


def test_five_full_length_runs_of_one_seed_give_every_table_and_no_interval() -> None:
    """Of what chapter 13 shows of them; the ablations' runs were not made at full length."""
    study = lt.report.load_study("strong").only(
        "cross-entropy", "balanced softmax", "LDAM-DRW", "ALA-DRW", "GALA", seeds=(0,)
    )
    for make in (*inside.TABLES, *analysis.TABLES):
        if make is inside.gala_ablation:
            with pytest.raises(MissingRuns, match="no strong run of GALA with an option"):
                make(study)
            continue
        table = make(study)
        wanted = {inside.factor_gaps: 5, inside.ala_ablation: 3, analysis.superclasses: 7}.get(make, 5)
        assert len(table) == wanted, make.__name__
        text = table.to_string()
        assert "[" not in text
        assert ("±" in text) == (make is inside.rebalancing_parts), make.__name__  # there over test images
    with pytest.raises(MissingRuns, match="two seeds"):
        inside.ala_ablation_changes(study)
    legend = analysis.reliability(study).legends[0]
    assert len(legend.get_texts()) == 5


def test_labels_outside_a_clone_are_missing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records, "__file__", str(tmp_path / "site-packages" / "lt_core" / "records.py"))
    with pytest.raises(MissingRuns, match="no book/results/cifar100_test_labels"):
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
    runs = analysis.with_arrays(lt.report.load_study("strong"), records.PROBABILITIES)
    assert len(runs) == 5
    for run in runs.values():
        found = 100 * lt.metrics.per_class_accuracy(run.probabilities().argmax(1), labels, 100)
        assert (found - torch.tensor(run.last["per_class"])).abs().max() <= 4  # ties of the rounded probabilities


@pytest.mark.realdata
def test_labels_are_those_of_the_data_set(cifar_root: Path) -> None:
    labels, superclass = analysis.cifar100_test_labels()
    data = lt.data.cifar100_lt(cifar_root)
    assert torch.equal(labels, data.test_targets)
    assert data.superclasses == [CIFAR100_SUPERCLASSES[s] for s in superclass]


def test_prior_and_calibration_has_a_joint_interval(make_study: MakeStudy) -> None:
    made = six_methods(seeds=(0, 1, 2))
    for record, gain in zip(made[2::6], (0.4, 0.6, 0.8), strict=True):  # balanced softmax
        record["posthoc"]["rebalance"]["top1"] = record["final"]["last"]["top1"] + gain
    table = analysis.prior_and_calibration(make_study(made))
    gains = table["top-1 (%)", "gain of re-balancing"]
    half = stats.t.ppf(1 - 0.05 / 12, 12) * 0.2 / 3**0.5  # its own SD is larger than the pooled one
    assert gains["balanced softmax (linear)"] == f"+0.6 [{0.6 - half:.1f}, {0.6 + half:.1f}]"
    assert table["top-1 (%)", "adjusted"].str.contains("†").sum() == 3


def test_a_single_seed_has_a_gain_and_no_interval(make_study: MakeStudy) -> None:
    table = analysis.prior_and_calibration(make_study(six_methods(seeds=(0,))))
    assert table["top-1 (%)", "gain of re-balancing"].str.fullmatch(r"\+1\.0").all()


def test_joint_half_widths_hold_for_all_rows_at_once() -> None:
    assert analysis.joint_half_widths({"a": [1.0, 2.0], "b": [1.0]}) == {"a": None, "b": None}
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(2000):
        values = {str(m): generator.normal(0, 1, 3).tolist() for m in range(6)}
        halves = analysis.joint_half_widths(values)
        missed += any(abs(np.mean(row)) > (halves[name] or 0) for name, row in values.items())
    assert missed / 2000 < 0.05


def test_shared_pairs_by_hand_and_by_lot() -> None:
    labels = torch.arange(4).repeat(25)
    ours = (labels + 1) % 4  # every image of class k is called k + 1
    assert analysis.shared_pairs(ours, ours, labels) == 1
    turned = (labels - 1) % 4  # the same pairs, the other way round
    assert analysis.shared_pairs(ours, turned, labels) == 1
    far = (labels + 2) % 4  # pairs {0, 2} and {1, 3} against a ring of four
    assert analysis.shared_pairs(ours, far, labels) == 0
    assert 0.4 < analysis._shared_by_lot(ours, ours, labels) < 0.9  # four of the six pairs are in the ring
