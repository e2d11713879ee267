"""`LongTail` on the page: its numbers are those of `lt_core`."""

from __future__ import annotations

import pytest
from controls import choose, numbers, press, put, says, toggle, value
from playwright.sync_api import Locator

import lt_core as lt


def expected(factor: float, profile: str) -> dict[str, tuple[int, int]]:
    counts = lt.data.class_counts(100, 500, factor, profile)
    groups = lt.metrics.shot_groups(counts)
    images = {g: sum(n for n, inside in zip(counts, mask, strict=True) if inside) for g, mask in groups.items()}
    return {g: (int(mask.sum()), images[g]) for g, mask in groups.items()}


def shown(widget: Locator) -> dict[str, tuple[int, int]]:
    return {row["group"]: (int(value(row["classes"])), int(value(row["images"]))) for row in numbers(widget)}


def test_counts_follow_the_imbalance_factor_by_keyboard(gallery) -> None:
    widget = gallery("LongTail")
    assert shown(widget) == expected(100, "exp")
    assert "10,847 training images" in says(widget)
    assert press(widget, "Imbalance factor", *["ArrowLeft"] * 3) == "10"
    assert shown(widget) == expected(10, "exp")
    assert "No class is few-shot" in says(widget)
    assert press(widget, "Imbalance factor", *["ArrowRight"] * 3) == "100"
    assert "10,847 training images" in says(widget)


def test_the_factor_stops_at_round_values_and_the_words_agree(gallery) -> None:
    widget = gallery("LongTail")
    for place, factor in enumerate((1, 2, 5, 10, 20, 50, 100, 200, 500)):
        keys = ["ArrowRight"] if place else ["Home"]
        assert press(widget, "Imbalance factor", *keys) == str(factor)
        counts = lt.data.class_counts(100, 500, factor)
        rounded = ", since counts are rounded down" if counts[0] / counts[-1] != factor else ""
        assert f"{counts[0]} to {counts[-1]}, a ratio of {counts[0] / counts[-1]:.0f}{rounded}. " in says(widget)
    assert press(widget, "Imbalance factor", "End") == "500"


@pytest.mark.parametrize(("option", "profile"), [("step", "step"), ("balanced", "balanced")])
def test_profiles(gallery, option: str, profile: str) -> None:
    widget = gallery("LongTail")
    choose(widget, "Profile", option)
    assert shown(widget) == expected(100, profile)


def test_looking_at_a_class_names_it(gallery) -> None:
    widget = gallery("LongTail")
    assert put(widget, "Class", 75) == "place 76"
    name, count = lt.data.CIFAR100_CLASSES[75].replace("_", " "), lt.data.class_counts()[75]
    assert f"Place 76, {name}: {count} (few)" in says(widget)


def test_the_axis_can_be_logarithmic(gallery) -> None:
    widget = gallery("LongTail")
    bars = widget.locator("svg rect")
    before = float(bars.nth(99).get_attribute("height"))
    toggle(widget, "Logarithmic axis")
    assert float(bars.nth(99).get_attribute("height")) > 5 * before
