"""`PriorShift` in Python: checked arguments, and rates that scipy's normal distribution and a search agree with."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

import lt_core as lt
from lt_core.widgets.prior_shift import two_normals

BAD_VALUES = {"ratio": 0.5, "distance": 0.0, "tau": 2.1}


@pytest.mark.parametrize(("name", "value"), BAD_VALUES.items())
def test_a_value_outside_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        lt.widgets.PriorShift(**{name: value})


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_value_of_a_wrong_type_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        lt.widgets.PriorShift(**{name: "1"})


def test_a_setting_is_checked_when_it_changes() -> None:
    widget = lt.widgets.PriorShift()
    for name, value in BAD_VALUES.items():
        before = getattr(widget, name)
        with pytest.raises(ValueError, match=name):
            setattr(widget, name, value)
        assert getattr(widget, name) == before


def test_repr_names_what_was_chosen() -> None:
    widget = lt.widgets.PriorShift(ratio=20, distance=3.0)
    widget.tau = 0.5
    assert repr(widget) == "PriorShift(ratio=20, distance=3.0, tau=0.5)"


@pytest.mark.parametrize("ratio", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("distance", [0.5, 2.0, 5.0])
def test_rates_are_the_tails_of_two_normals(ratio: float, distance: float) -> None:
    for tau in (0.0, 0.3, 1.0, 2.0):
        rates = lt.widgets.PriorShift(ratio, distance, tau).rates
        boundary = rates["boundary"]
        # At the boundary the odds of the two densities are the training odds to the power 1 - tau.
        odds = norm.logpdf(boundary, distance) - norm.logpdf(boundary)
        assert odds == pytest.approx((1 - tau) * math.log(ratio))
        assert rates["head"] == pytest.approx(norm.cdf(boundary))
        assert rates["tail"] == pytest.approx(norm.sf(boundary, distance))
        assert rates["balanced"] == pytest.approx((norm.sf(boundary) + norm.cdf(boundary, distance)) / 2)
        shares = ratio / (1 + ratio), 1 / (1 + ratio)
        wrong = shares[0] * norm.sf(boundary) + shares[1] * norm.cdf(boundary, distance)
        assert rates["training"] == pytest.approx(wrong)


@pytest.mark.parametrize(("key", "best"), [("training", 0.0), ("balanced", 1.0)])
def test_each_error_is_smallest_at_its_own_strength(key: str, best: float) -> None:
    found = minimize_scalar(lambda tau: two_normals(30, 2, tau)[key], bounds=(-1, 3), method="bounded")
    assert found.x == pytest.approx(best, abs=1e-3)
