"""What the checks give back: plain Python, whatever library the value came from."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lt_core.data import class_counts, longtail_indices
from lt_core.validation import check_choice, check_counts, check_flag, check_number, check_whole, plain, short

TWO = [np.int64(2), np.uint8(2), np.array(2), np.array([2]), torch.tensor(2), torch.tensor([2]), pd.Series([2]).iloc[0]]
HALF = [np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor([0.5], dtype=torch.bfloat16)]


@pytest.mark.parametrize("value", [2, *TWO], ids=repr)
def test_whole_numbers(value: Any) -> None:
    for result in (check_whole("n", value, 1), check_number("n", value), plain("n", value)):
        assert (result, type(result)) in ((2, int), ([2], list))
    assert type(check_whole("n", value, 1)) is type(check_number("n", value)) is int


@pytest.mark.parametrize("value", [0.5, *HALF], ids=repr)
def test_numbers(value: Any) -> None:
    assert check_number("x", value) == 0.5
    assert type(check_number("x", value)) is float
    with pytest.raises(TypeError, match=r"x is .*a whole number is needed"):
        check_whole("x", value, 0)


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), torch.tensor(True), "2", None, [2], np.array([2, 3]), torch.ones(2), 2j, np.complex64(2)],
    ids=repr,
)
def test_what_is_no_number(value: Any) -> None:
    for check in (check_number, check_whole):
        with pytest.raises(TypeError, match=r"x is .* number is needed"):
            check("x", value, 0)


def test_bounds_hold_for_other_libraries_numbers_too() -> None:
    for low, high, open_low, words in (
        (1, math.inf, False, "number of at least 1"),
        (0.0, math.inf, True, "number above 0"),
        (-math.inf, 2.5, False, "number of at most 2.5"),
        (-math.inf, math.inf, False, "number"),
    ):
        with pytest.raises(ValueError, match=rf"^x is nan; allowed is a finite {words}$"):
            check_number("x", math.nan, low, high, open_low)
    with pytest.raises(ValueError, match=r"x is 0.0; allowed is a finite number in \(0, 1\]"):
        check_number("x", np.float32(0), 0, 1, open_low=True)
    with pytest.raises(ValueError, match="x is nan"):
        check_number("x", torch.tensor(math.nan))
    with pytest.raises(ValueError, match="x is 7; allowed is a whole number in"):
        check_whole("x", torch.tensor(7), 0, 5)


def test_flags_and_choices() -> None:
    for value in (True, np.bool_(True), torch.tensor(True), np.array([True])):
        assert check_flag("drw", value) is True
    for value in (1, "true", None, np.array([True, False])):
        with pytest.raises(TypeError, match=r"drw is .*; allowed are true and false"):
            check_flag("drw", value)
    assert type(check_choice("loss", np.str_("ce"), ("ce", "la"))) is str
    assert check_choice("detach", np.bool_(False), (True, False)) is False
    with pytest.raises(ValueError, match=r"loss is tensor.*; allowed are 'ce', 'la'"):
        check_choice("loss", torch.ones(2), ("ce", "la"))


def test_containers_become_plain() -> None:
    given = {
        "weight": torch.tensor([0.5, 1.0], requires_grad=True),
        "array": np.array([[1, 2], [3, 4]]),
        "series": pd.Series([3.0, 1.0], index=[1, 0]),
        "mapping": {np.int64(1): np.float32(3.0), 0: 1.0},
        "mixed": (np.int64(1), [np.bool_(True), None], "text"),
        "options": {"tau": np.float64(1.5), "form": np.str_("released")},
        "nothing": None,
    }
    expected = {
        "weight": [0.5, 1.0],
        "array": [[1, 2], [3, 4]],
        "series": [1.0, 3.0],
        "mapping": [1.0, 3.0],
        "mixed": [1, [True, None], "text"],
        "options": {"tau": 1.5, "form": "released"},
        "nothing": None,
    }
    result = plain("options", given)
    assert result == expected
    assert json.loads(json.dumps(result, allow_nan=False)) == expected
    assert type(result["mixed"][1][0]) is bool
    assert type(result["options"]["form"]) is str


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        ({"f": print}, TypeError, r"options\['f'\] is <built-in function print>"),
        ({"s": {1.5, 2.5}}, TypeError, r"options\['s'\] is"),
        ({"w": [1.0, math.nan]}, ValueError, r"options\['w'\]\[1\] is nan"),
        ({"w": np.array([1.0, math.inf])}, ValueError, r"options\['w'\]\[1\] is inf"),
        ({"w": {"a": 1, 2: 3}}, ValueError, r"options\['w'\] has the labels \['a', 2\]"),
        ({"w": pd.Series([1.0, 2.0], index=["cat", "dog"])}, ValueError, "has the labels"),
        ({"z": 1j}, TypeError, "a number is needed"),
    ],
)
def test_what_cannot_be_plain_is_refused(value: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        plain("options", value)


@pytest.mark.parametrize(
    "counts",
    [
        [20, 7, 90], (20, 7, 90), np.array([20.0, 7.0, 90.0]), np.array([90, 7, 20])[::-1], torch.tensor([20, 7, 90]),
        [np.int64(20), torch.tensor(7), 90.0], pd.Series([20, 7, 90]), {2: 90, 0: 20, 1: 7}, pd.array([20, 7, 90]),
        pd.Series([0] * 20 + [1] * 7 + [2] * 90).value_counts(),
    ],
    ids=lambda counts: type(counts).__name__,
)  # fmt: skip
def test_counts(counts: Any) -> None:
    result = check_counts(counts)
    assert result == [20, 7, 90]
    assert {type(count) for count in result} == {int}
    labels = np.repeat([0, 1, 2], [20, 7, 90])
    assert sorted(longtail_indices(labels, counts)) == list(range(117))


def test_profiles_take_other_libraries_numbers() -> None:
    # In float32 the powers would be rounded otherwise, and images would be lost.
    expected = class_counts(1000, 10**6, 12.5)
    assert class_counts(np.int64(1000), torch.tensor(10**6), torch.tensor(12.5)) == expected
    assert {type(count) for count in class_counts(np.int64(5), np.int64(100), np.float32(10))} == {int}


def test_long_values_are_cut() -> None:
    assert short([1, 2]) == "[1, 2]"
    assert len(short(list(range(8142)))) <= 120
    assert short(list(range(8142))).endswith("8140, 8141]")


def test_a_whole_number_beyond_every_float_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed is a finite number"):
        check_number("gamma", 10**400)
