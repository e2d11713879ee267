"""`PerClass`: what it refuses, and the changes it reports."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lt_core as lt

SHORT = Path(__file__).parents[2] / "book" / "results" / "study" / "short"
NUMBERS = {"ce": [80, 50, 0], "la": [72, 51, 14], "ldam": [75, 50, 9.5]}
COUNTS = [500, 60, 5]


def record(name: str) -> dict[str, Any]:
    return lt.records.load(SHORT / name)


def seeds(method: str) -> list[dict[str, Any]]:
    return [record(f"{method}-if100-s{seed}") for seed in range(3)]


def changed(config: dict[str, Any]) -> dict[str, Any]:
    """Balanced softmax's run with another configuration."""
    one = copy.deepcopy(record("balanced_softmax-if100-s0"))
    one["config"] |= config
    return one


def test_defaults_and_repr() -> None:
    widget = lt.widgets.PerClass(NUMBERS, COUNTS)
    assert repr(widget) == "PerClass(baseline='ce', method='la', sort_by='images')"
    assert (widget.inspect, widget.search, widget.methods) == (2, "", ["ce", "la", "ldam"])
    assert widget.runs == {"ce": 1, "la": 1, "ldam": 1}
    widget.method = "ldam"
    assert repr(widget) == "PerClass(baseline='ce', method='ldam', sort_by='images')"
    assert widget.changes == [-5, 0, 9.5]


def test_tensors_are_taken_and_kept_to_four_decimals() -> None:
    widget = lt.widgets.PerClass({"a": torch.tensor([100 / 3, 2]), "b": np.array([1.0, 3])}, torch.tensor([9, 3]))
    assert widget.accuracies == {"a": [33.3333, 2], "b": [1, 3]}
    assert widget.class_counts == [9, 3]


def test_an_empty_group_has_no_change() -> None:
    widget = lt.widgets.PerClass({"a": [10, 20], "b": [15, 40]}, [500, 101])
    assert widget.group_changes == {"many": 12.5, "medium": None, "few": None}


def test_records_are_averaged_over_their_seeds() -> None:
    counts = lt.data.class_counts()
    widget = lt.widgets.PerClass.from_records([*seeds("ce"), *seeds("balanced_softmax")], counts)
    assert widget.runs == {"cross-entropy": 3, "balanced softmax": 3}
    before, after = (
        np.mean([run["final"]["last"]["per_class"] for run in seeds(method)], axis=0)
        for method in ("ce", "balanced_softmax")
    )
    np.testing.assert_allclose(widget.changes, after - before, atol=6e-4)
    for group in lt.records.GROUPS:  # the records hold their own group means
        means = [np.mean([run["final"]["last"][group] for run in seeds(m)]) for m in ("ce", "balanced_softmax")]
        assert widget.group_changes[group] == pytest.approx(means[1] - means[0], abs=6e-4)
    assert widget.inspect == int(np.argmax(after - before))


def test_options_reach_the_widget() -> None:
    records = [*seeds("ce"), *seeds("ala"), *seeds("gala")]
    widget = lt.widgets.PerClass.from_records(records, lt.data.class_counts(), baseline="ALA", method="GALA")
    assert repr(widget) == "PerClass(baseline='ALA', method='GALA', sort_by='images')"


def test_methods_that_differ_in_their_strategy_are_compared() -> None:
    one = changed({"loss": "ce", "loss_options": {}, "strategy": "sam", "strategy_options": {"rho": 0.8}})
    widget = lt.widgets.PerClass.from_records([record("ce-if100-s0"), one], lt.data.class_counts())
    assert widget.methods == ["cross-entropy", "cross-entropy (rho 0.8, strategy sam)"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"recipe": "plain", "backbone": "resnet8"}, "mix runs of recipe 'short' and 'plain'"),
        ({"imbalance_factor": 10}, "mix runs of imbalance_factor 100 and 10"),
        ({"epochs": 20}, "mix runs of epochs 40 and 20"),
        ({"batch_size": 64}, "mix runs of batch_size 128 and 64"),
        ({"class_order": list(range(99, -1, -1))}, "mix runs of class_order None and"),
    ],
)
def test_records_of_different_settings_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lt.widgets.PerClass.from_records([*seeds("ce"), changed(config)], lt.data.class_counts())


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two runs of cross-entropy with seed 0"):
        lt.widgets.PerClass.from_records([record("ce-if100-s0")] * 2, lt.data.class_counts())


def test_a_class_without_test_images_is_refused() -> None:
    one = changed({})
    one["final"]["last"]["per_class"][3] = None
    with pytest.raises(ValueError, match="no accuracy of class 3 for balanced softmax"):
        lt.widgets.PerClass.from_records([*seeds("ce"), one], lt.data.class_counts())


def test_records_must_be_a_sequence() -> None:
    with pytest.raises(TypeError, match="records is a dict"):
        lt.widgets.PerClass.from_records(record("ce-if100-s0"), lt.data.class_counts())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"accuracies": [[1, 2, 3]]}, TypeError, "accuracies is a list; .*from_records"),
        ({"accuracies": {"ce": [1, 2, 3]}}, ValueError, "accuracies has 1 methods"),
        ({"accuracies": {"ce": [1, 2, 3], 7: [1, 2, 3]}}, TypeError, "method 7"),
        ({"accuracies": {"ce": [1, 2, 3], "la": 5}}, TypeError, r"accuracies\['la'\] is 5"),
        ({"accuracies": {"ce": [1, 2, 3], "la": [1, 2]}}, ValueError, r"accuracies\['la'\] has 2 values"),
        ({"accuracies": {"ce": [1, 2, 3], "la": [1, 2, 101]}}, ValueError, r"accuracies\['la'\]\[2\] is 101"),
        ({"accuracies": {"ce": [1, 2, float("nan")], "la": [1, 2, 3]}}, ValueError, r"accuracies\['ce'\]\[2\] is nan"),
        ({"accuracies": {"ce": [1, None, 2], "la": [1, 2, 3]}}, TypeError, r"accuracies\['ce'\]\[1\] is None"),
        ({"accuracies": {"ce": [0.2, 0.5, 1], "la": [0, 0, 1]}}, ValueError, "percent is needed"),
        ({"class_counts": [500, 0, 5]}, ValueError, r"class_counts\[1\] is 0"),
        ({"class_names": ["a", "b"]}, ValueError, "class_names has 2 names; 3 are needed"),
        ({"superclasses": ["a"]}, ValueError, "superclasses has 1 names; 3 are needed"),
        ({"runs": {"gala": 3}}, ValueError, "a method in runs is 'gala'; allowed are 'ce', 'la', 'ldam'"),
        ({"runs": {"ce": 0}}, ValueError, r"runs\['ce'\] is 0"),
        ({"runs": {"ce": 1.5}}, TypeError, r"runs\['ce'\] is 1.5"),
        ({"baseline": "gala"}, ValueError, "baseline is 'gala'; allowed are 'ce', 'la', 'ldam'"),
        ({"method": "gala"}, ValueError, "method is 'gala'"),
        ({"sort_by": "name"}, ValueError, "sort_by is 'name'; allowed are 'images', 'gain', 'baseline'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    good: dict[str, Any] = {"accuracies": NUMBERS, "class_counts": COUNTS}
    with pytest.raises(error, match=message):
        lt.widgets.PerClass(**(good | arguments))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("baseline", "gala", ValueError),
        ("method", "gala", ValueError),
        ("inspect", 3, ValueError),
        ("inspect", -1, ValueError),
        ("inspect", 1.0, TypeError),
        ("sort_by", "name", ValueError),
    ],
)
def test_bad_choices_are_refused_live(name: str, value: object, error: type[Exception]) -> None:
    widget = lt.widgets.PerClass(NUMBERS, COUNTS)
    before = getattr(widget, name)
    with pytest.raises(error, match=name):
        setattr(widget, name, value)
    assert getattr(widget, name) == before
