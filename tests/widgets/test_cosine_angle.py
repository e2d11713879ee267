"""`CosineAngle` in Python: checked arguments, and factors that are those of the losses."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt

BAD_VALUES = {
    "angles": [(90, 210, 361), (90, 210, 100), (90, 210, float("nan")), (90,), (5, 180, 355)],
    "class_counts": [(500, 90, 0), (500, 90), (500, 90.5, 5)],
    "class_names": [("a", "b")],
    "feature_angle": [-1, 361, float("inf")],
    "target": [3, -1],
    "loss": ["focal"],
    "scale": [0, 101],
}
BAD_TYPES = {
    "angles": (90, "210", 330),
    "class_counts": "many",
    "feature_angle": "25",
    "target": 1.0,
    "scale": None,
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_VALUES.items() for value in values])
def test_a_value_outside_its_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        lt.widgets.CosineAngle(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD_TYPES.items())
def test_a_value_of_a_wrong_type_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        lt.widgets.CosineAngle(**{name: value})


def test_a_setting_is_checked_when_it_changes() -> None:
    widget = lt.widgets.CosineAngle()
    changes = {"target": 3, "angles": [0, 90], "class_counts": [5, 5], "loss": "gala", "feature_angle": 400}
    for name, value in changes.items():
        before = getattr(widget, name)
        with pytest.raises(ValueError, match=name):
            setattr(widget, name, value)
        assert getattr(widget, name) == before


def test_other_directions_and_counts_can_be_fed_in() -> None:
    widget = lt.widgets.CosineAngle(feature_angle=60)
    widget.angles = [0, 100, 200]
    widget.class_counts = [10, 20, 40]
    widget.target = 0
    assert widget.cosines[0] == pytest.approx(0.5)
    assert widget.factors["A"] == pytest.approx(0.25 / math.log(2))


def test_repr_and_defaults() -> None:
    widget = lt.widgets.CosineAngle(class_counts=torch.tensor([7, 3, 500]))
    assert repr(widget) == "CosineAngle(feature_angle=25, target=1, loss='ala')"
    assert widget.class_names == ["class 1", "class 2", "class 3"]


@pytest.mark.parametrize("feature", [0, 25, 150, 330, 360])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_factors_and_probabilities_are_those_of_the_loss(feature: float, target: int) -> None:
    widget = lt.widgets.CosineAngle(feature_angle=feature, target=target, scale=10)
    angles = torch.tensor([90.0, 210.0, 330.0], dtype=torch.float64).deg2rad()
    directions = torch.stack([angles.cos(), angles.sin()], dim=1)
    where = torch.tensor(math.radians(feature), dtype=torch.float64)
    row, y = (directions @ torch.stack([where.cos(), where.sin()]))[None], torch.tensor([target])
    assert widget.cosines == pytest.approx(row[0].tolist(), abs=1e-12)
    counts = [500, 90, 5]
    losses = {"ala": lt.losses.ALALoss(counts, scale=10), "ldam": lt.losses.LDAMLoss(counts, scale=10)}
    for name, value in losses["ala"].factors(row, y).items():
        assert widget.factors[name] == pytest.approx(value.item())
    for name, loss in losses.items():
        widget.loss = name
        assert -math.log(widget.probabilities[target]) == pytest.approx(loss(row, y).item())
    widget.loss = "ce"
    assert widget.margin == 0.0
    assert -math.log(widget.probabilities[target]) == pytest.approx(F.cross_entropy(10 * row, y).item())
