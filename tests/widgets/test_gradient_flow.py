"""`GradientFlow` in Python: what it takes, what it refuses, and that what it gives is `lt_core`'s."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import lt_core as lt
from lt_core.widgets.base import LOSSES

COUNTS = [500, 90, 20, 5]


def test_defaults() -> None:
    widget = lt.widgets.GradientFlow()
    assert widget.class_counts == COUNTS
    assert widget.class_names == ["head", "medium", "rare", "tail"]
    assert repr(widget) == (
        "GradientFlow(loss='balanced_softmax', target=3, logits=[0.0, 0.0, 0.0, 0.0], cosines=[0.2, 0.2, 0.2, 0.55])"
    )
    assert widget.theta == COUNTS


def test_other_classes_get_names_and_the_rarest_is_the_target() -> None:
    widget = lt.widgets.GradientFlow([7, 3, 9])
    assert (widget.class_names, widget.target) == (["class 1", "class 2", "class 3"], 1)


def test_takes_tensors() -> None:
    logits = torch.tensor([1.0, 0.5], dtype=torch.float64)
    widget = lt.widgets.GradientFlow(torch.tensor([9, 1]), logits=logits, theta=torch.ones(2), loss="ce")
    assert (widget.class_counts, widget.logits, widget.theta) == ([9, 1], [1.0, 0.5], [1.0, 1.0])
    widget.logits = torch.tensor([0.0, 0.0])
    assert widget.gradient == [0.5, -0.5]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_counts": [5]}, ValueError, "class_counts has shape"),
        ({"class_counts": [5, 0]}, ValueError, r"class_counts\[1\] is 0"),
        ({"class_counts": range(1, 8)}, ValueError, "class_counts has 7 entries; 2 to 6"),
        ({"class_counts": "many"}, TypeError, "class_counts"),
        ({"class_names": ["a", "b"]}, ValueError, "class_names has 2 names; 4"),
        ({"class_names": [1, 2, 3, 4]}, TypeError, "class_names"),
        ({"logits": [0.0]}, ValueError, "logits has 1 entries; 4"),
        ({"logits": [0, 0, 0, math.nan]}, ValueError, r"logits\[3\] is nan"),
        ({"logits": "0000"}, TypeError, "logits is '0000'"),
        ({"logits": [0, 0, 0, "1"]}, TypeError, r"logits\[3\] is '1'"),
        ({"target": 4}, ValueError, r"target is 4; .* \[0, 3\]"),
        ({"target": 1.0}, TypeError, "target is 1.0"),
        ({"loss": "mse"}, ValueError, "loss is 'mse'"),
        ({"gamma": -0.1}, ValueError, "gamma is -0.1"),
        ({"tau": 2.1}, ValueError, "tau is 2.1"),
        ({"lambda_pos": True}, TypeError, "lambda_pos is True"),
        ({"theta": [1, 1, 1, -1]}, ValueError, r"theta\[3\] is -1"),
        ({"cosines": [0, 0, 0, 1.1]}, ValueError, r"cosines\[3\] is 1.1"),
        ({"scale": 0}, ValueError, "scale is 0"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lt.widgets.GradientFlow(**arguments)


def test_bad_input_is_named_later_too() -> None:
    widget = lt.widgets.GradientFlow()
    with pytest.raises(ValueError, match="target is 4"):
        widget.target = 4
    with pytest.raises(ValueError, match="logits has 5 entries"):
        widget.logits = [0.0] * 5
    assert (widget.target, widget.logits) == (3, [0.0] * 4)


LOGITS = torch.tensor([1.5, -0.3, 0.8, 0.2], dtype=torch.float64)
COSINES = torch.tensor([0.4, 0.1, -0.2, 0.35], dtype=torch.float64)
PRIOR = (torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)).log()
OWN = torch.tensor([0, 0, 1, 0]).double()  # the target below is class 2
CASES: dict[str, tuple[dict[str, Any], torch.Tensor]] = {
    "ce": ({}, LOGITS),
    "focal": ({"gamma": 0.7}, LOGITS),
    "cb": ({}, LOGITS),
    "ldam": ({"scale": 8.0}, 8 * (COSINES - OWN * 0.5 * 0.25**0.25)),
    "la": ({"tau": 1.3}, LOGITS + 1.3 * PRIOR),
    "balanced_softmax": ({}, LOGITS + PRIOR),
    "ala": ({"scale": 8.0}, 8 * (COSINES - OWN * (1 + 0.2) / 2 / math.log(4 + 1))),
    "gala": ({"lambda_pos": 0.6}, LOGITS + 0.6 * (torch.tensor([3.0, 1.0, 0.5, 0.0]).double() + 1e-3).log()),
}


def test_every_loss_has_a_case() -> None:
    assert set(CASES) == set(LOSSES)


@pytest.mark.parametrize("loss", CASES)
def test_derived_values_by_closed_form(loss: str) -> None:
    """Gradient, loss and both probabilities, from the formulas of the chapters rather than by autograd."""
    option, adjusted = CASES[loss]
    widget = lt.widgets.GradientFlow(
        COUNTS, logits=LOGITS, cosines=COSINES, target=2, loss=loss, theta=[3, 1, 0.5, 0], **option
    )
    slope = option.get("scale", 1.0)
    plain = ((slope * COSINES) if "scale" in option else LOGITS).softmax(0)
    p = adjusted.softmax(0)
    weight, value, size = 1.0, -math.log(p[2]), 1.0
    if loss == "cb":
        effective = (1 - 0.9999 ** torch.tensor(COUNTS, dtype=torch.float64)).reciprocal()
        weight = (4 * effective / effective.sum())[2].item()
    if loss == "focal":
        rest = (1 - p[2]).item()
        size = rest**0.7 - 0.7 * p[2].item() * rest ** (0.7 - 1) * math.log(p[2])
        value *= rest**0.7
    assert widget.weight == pytest.approx(weight, rel=1e-9)
    assert widget.loss_value == pytest.approx(weight * value, rel=1e-9)
    assert widget.probabilities == pytest.approx(plain.tolist(), rel=1e-9)
    assert widget.adjusted_probabilities == pytest.approx(p.tolist(), rel=1e-9)
    assert widget.gradient == pytest.approx((weight * size * slope * (p - OWN)).tolist(), rel=1e-9)
    assert sum(widget.gradient) == pytest.approx(0, abs=1e-12)
