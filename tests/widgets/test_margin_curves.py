"""`MarginCurves` in Python: checked arguments, and margins that are those of the losses."""

from __future__ import annotations

import math

import pytest
import torch

import lt_core as lt

BAD_VALUES = {
    "smallest": 0,
    "largest": 9,
    "target_cosine": 1.1,
    "relative": "yes",
    "also": "log10",
    "exponent": -0.1,
    "images": 501,
    "against": "count",
    "cosface": 0.7,
    "arcface": -0.1,
    "sphereface": 0.9,
}
BAD_TYPES = {
    "smallest": 5.0,
    "largest": "500",
    "target_cosine": "0",
    "exponent": None,
    "images": 50.0,
    "cosface": "0.35",
}


@pytest.mark.parametrize(("name", "value"), BAD_VALUES.items())
def test_a_value_outside_its_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        lt.widgets.MarginCurves(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD_TYPES.items())
def test_a_value_of_a_wrong_type_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        lt.widgets.MarginCurves(**{name: value})


def test_a_setting_is_checked_when_it_changes() -> None:
    widget = lt.widgets.MarginCurves()
    for name, value in {"target_cosine": -1.5, "also": "qf", "images": 4}.items():
        before = getattr(widget, name)
        with pytest.raises(ValueError, match=name):
            setattr(widget, name, value)
        assert getattr(widget, name) == before


def test_repr_names_what_was_chosen() -> None:
    widget = lt.widgets.MarginCurves(smallest=2, largest=800)
    expected = "MarginCurves(against='images', target_cosine=0.0, relative=False, also='none', exponent=0.5, images={})"
    assert repr(widget) == expected.format(40)
    widget.images = 7
    assert repr(widget) == expected.format(7)


@pytest.mark.parametrize("cosine", [-1.0, 0.3, 1.0])
def test_margins_are_what_the_losses_take_off(cosine: float) -> None:
    widget = lt.widgets.MarginCurves(target_cosine=cosine, images=90, exponent=0.25)
    row, target = torch.tensor([[cosine, 0.0]], dtype=torch.float64), torch.tensor([0])
    factors = lt.losses.ALALoss([90, 5]).factors(row, target)
    for name, value in factors.items():
        assert widget.margins[name] == pytest.approx(value.item())
    log2 = lt.losses.ALALoss([90, 5], quantity="log2").factors(row, target)["A"].item()
    assert widget.margins["log2"] == pytest.approx(log2)
    assert widget.margins["LDAM"] == pytest.approx(lt.losses.LDAMLoss([90, 5]).margins[0].item())
    assert widget.margins["power"] == pytest.approx(widget.margins["LDAM"])  # the exponent is LDAM's


@pytest.mark.parametrize("degrees", [0, 45, 100, 160, 180])
def test_face_margins_are_the_distance_from_the_cosine(degrees: int) -> None:
    """The curves typed once more, in plain Python."""
    angle = math.radians(degrees)
    widget = lt.widgets.MarginCurves(target_cosine=math.cos(angle), cosface=0.2, arcface=0.4, sphereface=1.5)
    turned = 1.5 * angle
    score = math.cos(turned) if turned <= math.pi else -2 - math.cos(turned)
    expected = {
        "CosFace": 0.2,
        "ArcFace": math.cos(angle) - math.cos(min(angle + 0.4, math.pi)),
        "SphereFace": math.cos(angle) - score,
    }
    assert widget.face_margins == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("images", [5, 50, 500])
def test_the_margins_are_equal_at_the_threshold(images: int) -> None:
    threshold = lt.widgets.MarginCurves(images=images).smaller_above
    margins = lt.widgets.MarginCurves(images=images, target_cosine=threshold).margins
    assert margins["A"] == pytest.approx(margins["LDAM"])
    above = lt.widgets.MarginCurves(images=images, target_cosine=threshold + 0.1).margins
    assert above["A"] < above["LDAM"]
