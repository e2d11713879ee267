"""Finding runs, and the statistics of their differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lt_core import records
from lt_core.report import METHODS, MissingRuns, Study, load_study, mean_sd, paired_difference, seeds

from .conftest import make_record, six_methods

MakeStudy = Callable[..., Study]


def test_methods_come_in_the_order_of_the_book_and_seeds_rise(make_study: MakeStudy) -> None:
    study = make_study(six_methods())
    groups = study.by_method()
    assert tuple(groups) == METHODS
    assert all([run.config.seed for run in runs] == [0, 1, 2] for runs in groups.values())
    assert list(study.by_method("GALA", "ALA")) == ["GALA", "ALA"]
    assert set(seeds(groups["GALA"])) == {0, 1, 2}


def test_only_the_canonical_experiment_is_selected_unless_asked(make_study: MakeStudy) -> None:
    rotated = [(c + 50) % 100 for c in range(100)]
    others = [
        make_record(loss="ce", class_order=rotated),
        make_record(loss="ce", subset_seed=1),
        make_record(loss="ce", imbalance_factor=10),
        make_record(loss="ce", weight_decay=5e-4),
    ]
    study = make_study([make_record(loss="ce"), *others])
    assert len(study.select("cross-entropy")) == 1
    assert len(study.select(class_order="any")) == 2
    assert len(study.select(subset_seed=None)) == 2
    assert study.select(imbalance_factor=10)[0].class_counts[-1] == 50
    assert study.select(changes={"weight_decay": 5e-4})[0].changes == {"weight_decay": 5e-4}
    turned = study.select(class_order=tuple(rotated))[0].class_counts
    assert turned[50] == 500
    assert turned[49] == 5


def test_missing_runs_are_named(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce")])
    with pytest.raises(MissingRuns, match=r"no short run of GALA \(.*imbalance_factor 100"):
        study.select("cross-entropy", "GALA")
    with pytest.raises(MissingRuns, match="any method"):
        study.select(imbalance_factor=50)


def test_the_digest_changes_with_any_record_or_array(make_study: MakeStudy, tmp_path: Path) -> None:
    before = make_study([make_record(loss="ce")])
    same = Study(before.folder).digest
    assert before.digest == same
    assert same in str(before)
    with_arrays = make_study([make_record(loss="ce")], arrays=True).digest
    changed = make_study([make_record(loss="ce", accuracy=np.full(100, 30.0))], arrays=True).digest
    assert len({same, with_arrays, changed}) == 3


def test_a_folder_without_records_or_with_another_recipe_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(records.RecordError, match="there is no record"):
        load_study("plain", tmp_path)
    study = make_study([make_record(loss="ce")])
    study.folder.rename(tmp_path / "plain")
    with pytest.raises(records.RecordError, match="is of recipe 'short', not 'plain'"):
        Study(tmp_path / "plain")


def test_paired_difference_is_scipys_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(1, 1, 6), generator.normal(0, 1, 6)
    found = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert found.pairs == 6


def test_pairs_are_matched_by_seed_not_by_place() -> None:
    found = paired_difference({2: 5.0, 0: 1.0, 7: 9.0}, {0: 0.0, 2: 4.0, 3: 50.0})
    assert (found.mean, found.low, found.high, found.pairs) == (1.0, 1.0, 1.0, 2)
    assert found.clear
    single = paired_difference({0: 1.0}, {0: 0.0})
    assert (single.low, single.clear) == (None, False)
    assert str(single) == "+1.0 (one pair)"
    with pytest.raises(ValueError, match="share none"):
        paired_difference({0: 1.0}, {1: 1.0})


def test_mean_and_sd() -> None:
    assert mean_sd([1.0, 2.0, 4.0], 2) == f"2.33 ± {math.sqrt(7 / 3):.2f}"
    assert mean_sd([None, 1.0]) == mean_sd([]) == "–"
