"""Finding runs, and the part of a study that a page reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lt_core import records
from lt_core.report import (
    METHODS,
    MissingRuns,
    Study,
    load_study,
    methods,
    same_seeds,
    seeds,
    setting,
)

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


def test_class_counts_are_those_of_a_run_that_holds_images_out(make_study: MakeStudy) -> None:
    study = make_study([make_record(loss="ce", strategy="l2rw", strategy_options={"meta_per_class": 10})])
    counts = study.runs[0].class_counts
    assert (counts[0], counts[-1], sum(counts)) == (490, 4, 10626)


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


def foreign() -> list[dict[str, Any]]:
    """Records that a page of the six methods at seeds 0 and 1 does not show."""
    return [
        make_record(loss="focal"),
        make_record(loss="gala", loss_options={"lambda_pos": 1.2}),
        make_record(loss="ala", drw=True),
        make_record(loss="ce", seed=7),
        make_record(loss="ce", epochs=20),
        make_record(loss="ce", weight_decay=5e-4),
        make_record(loss="ce", subset_seed=1),
        make_record(loss="ce", imbalance_factor=10),
        make_record(loss="ce", class_order=[(c + 50) % 100 for c in range(100)]),
    ]


def test_a_foreign_record_changes_nothing_that_a_page_shows(make_study: MakeStudy) -> None:
    six = six_methods(seeds=(0, 1))

    def page(study: Study) -> Study:
        return study.only(*METHODS, seeds=(0, 1))

    whole = make_study(six, arrays=True)
    before = page(whole)
    tables = (methods.main, methods.posthoc, methods.differences, methods.contrasts)
    shown = [made(before) for made in tables]
    after = page(make_study([*six, *foreign()], arrays=True))
    assert after.digest == before.digest == whole.digest
    assert str(after) == str(before)
    assert len(after.runs) == len(six)
    for made, expected in zip(tables, shown, strict=True):
        found = made(after)
        assert found.equals(expected)
        assert found.attrs == expected.attrs
    assert Study(after.folder).digest != before.digest  # the whole study has changed


def test_by_default_a_table_names_its_methods(make_study: MakeStudy) -> None:
    """Without a part of the study, only runs of other methods, lengths, subsets and orders leave a table alone."""
    six = six_methods(seeds=(0, 1))
    before = methods.main(make_study(six))
    others = [record for record in foreign() if record["config"]["seed"] != 7]
    assert methods.main(make_study([*six, *others])).equals(before)
    more = methods.main(make_study([*six, *foreign()]))
    assert more.equals(before)  # all rows have the seeds that all rows have
    assert more.attrs["note"].endswith("left out, since not all rows have it: cross-entropy's seed 7.")


def test_parts_are_joined_and_keep_what_they_hold(make_study: MakeStudy) -> None:
    turned = [(c + 50) % 100 for c in range(100)]
    study = make_study([*six_methods(seeds=(0, 1)), make_record(loss="ala", class_order=turned)])
    part = study.only("GALA", seeds=[1]) | study.only("ALA", class_order="any", seed=0)
    assert [run.folder.name.split("-order")[0] for run in part] == ["ala-if100-s0", "ala-if100-s0", "gala-if100-s1"]
    assert (part | study.only("GALA", seeds=[1])).digest == part.digest
    assert part.digest != study.only("GALA", seeds=[1]).digest
    everything = study.only(class_order="any")
    assert everything.digest == study.digest
    assert [run.folder for run in everything] == [run.folder for run in study]
    with pytest.raises(ValueError, match="parts of one study"):
        part | make_study([make_record(loss="ce", recipe="plain")]).only()
    with pytest.raises(MissingRuns, match="no short run of GALA at seed 2"):
        study.only("GALA", seeds=(0, 1, 2))
    with pytest.raises(MissingRuns, match="no short run of focal"):
        study.only("focal")


def test_a_row_without_the_seeds_of_the_others_is_named(make_study: MakeStudy) -> None:
    study = make_study(
        [make_record(loss="ce", seed=s) for s in (0, 1)] + [make_record(loss="ala", seed=s) for s in (1, 2)]
    )
    kept, left_out = same_seeds(study.by_method())
    assert {name: [run.config.seed for run in runs] for name, runs in kept.items()} == {
        "cross-entropy": [1],
        "ALA": [1],
    }
    assert left_out == "left out, since not all rows have it: cross-entropy's seed 0, ALA's seed 2"
    apart = make_study([make_record(loss="ce"), make_record(loss="gala", seed=5)])
    with pytest.raises(MissingRuns, match=r"no seed that all rows have \(cross-entropy: 0, 1; GALA: 5\)"):
        same_seeds(apart.by_method("cross-entropy", "GALA"))


def test_the_line_under_a_table_comes_from_the_records(make_study: MakeStudy) -> None:
    first = make_record(loss="ce")
    second = make_record(loss="ce", seed=4, imbalance_factor=10)
    first["environment"] |= {"precision": "bfloat16", "device": "a processor"}
    study = make_study([first, second])
    told = "CPU schedule (recipe short): ResNet-8, 40 epochs; bfloat16 on a processor, float32 on CPU; "
    assert setting(reversed(study.runs)) == told + "imbalance factor 100, 10; seeds 0, 4"
    assert setting(study.only()).endswith("bfloat16 on a processor; imbalance factor 100; seed 0")
    with pytest.raises(ValueError, match="no run to describe"):
        setting([])


def test_a_folder_without_records_or_with_another_recipe_is_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(records.RecordError, match="there is no record"):
        load_study("plain", tmp_path)
    study = make_study([make_record(loss="ce")])
    study.folder.rename(tmp_path / "plain")
    with pytest.raises(records.RecordError, match="is of recipe 'short', not 'plain'"):
        Study(tmp_path / "plain")
