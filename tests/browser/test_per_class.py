"""`PerClass` on the page: its numbers are those of the recorded runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from controls import choose, numbers, press, says, settle, slider, value
from numpy.typing import NDArray
from playwright.sync_api import Locator

import lt_core as lt

SHORT = lt.records.find_results(Path(lt.__file__).parent) / "study" / "short"
RUNS = {
    "cross-entropy": "ce",
    "balanced softmax": "balanced_softmax",
    "LDAM-DRW": "ldam-drw",
    "ALA": "ala",
    "GALA": "gala",
}
NAMES = np.array([name.replace("_", " ") for name in lt.data.CIFAR100_CLASSES])
COUNTS = np.array(lt.data.class_counts())


def accuracy(method: str) -> NDArray[np.float64]:
    """Mean over the seeds, (100,), percent."""
    records = [lt.records.load(SHORT / f"{RUNS[method]}-if100-s{seed}") for seed in range(3)]
    return np.mean([record["final"]["last"]["per_class"] for record in records], axis=0)


def by(key: NDArray[np.float64]) -> list[str]:
    """Names by falling key; of equal ones the most frequent class first, as the labels' order is here."""
    return NAMES[np.argsort(-np.round(key, 3), kind="stable")].tolist()


def column(widget: Locator, name: str) -> list[float]:
    return [value(row[name]) for row in numbers(widget)]


def shown(widget: Locator) -> list[str]:
    return [row["class"] for row in numbers(widget)]


def summary(baseline: str, method: str) -> str:
    """What the widget says of two methods."""
    change = accuracy(method) - accuracy(baseline)
    groups = lt.metrics.shot_groups(COUNTS.tolist())
    parts = ", ".join(f"{name}-shot {change[mask.numpy()].mean():+.1f}" for name, mask in groups.items())
    gain, lose = (change > 1e-9).sum(), (change < -1e-9).sum()
    text = f"From {baseline} to {method}: {parts} points; {gain} of 100 classes gain, {lose} lose."
    return re.sub(r"(?<= )-(?=\d)", "−", text)


def one(name: str, baseline: str = "cross-entropy", method: str = "balanced softmax") -> str:
    """What it says of a class."""
    c = NAMES.tolist().index(name)
    return f"{name} ({COUNTS[c]} images): {accuracy(baseline)[c]:.1f} → {accuracy(method)[c]:.1f}\xa0%."


def find(widget: Locator, text: str, *keys: str) -> None:
    box = widget.get_by_label("Find classes (Enter: next match)", exact=True)
    box.focus()
    box.fill(text)
    for key in keys:
        box.press(key)
    settle(widget)


def test_the_numbers_are_the_means_of_the_recorded_runs(gallery) -> None:
    widget = gallery("PerClass")
    before, after = accuracy("cross-entropy"), accuracy("balanced softmax")
    assert shown(widget) == NAMES.tolist()
    assert column(widget, "images") == COUNTS.tolist()
    assert column(widget, "baseline (%)") == pytest.approx(before, abs=0.006)
    assert column(widget, "method (%)") == pytest.approx(after, abs=0.006)
    assert column(widget, "change") == pytest.approx(after - before, abs=0.006)
    groups = lt.metrics.shot_groups(COUNTS.tolist())
    assert [row["group"] for row in numbers(widget)] == [g for g in groups for _ in range(int(groups[g].sum()))]
    assert summary("cross-entropy", "balanced softmax") in says(widget)
    assert one(str(NAMES[np.argmax(after - before)])) in says(widget)


def test_an_arrow_ends_where_the_class_is(gallery) -> None:
    """The upper end of the marks of a class is higher by its change; the axis is the same for all."""
    widget = gallery("PerClass")
    change = accuracy("balanced softmax") - accuracy("cross-entropy")
    drawn = widget.locator("[data-class]").evaluate_all(
        "marks => marks.map((mark) => [Number(mark.dataset.class), mark.querySelector('path').getAttribute('d')])"
    )
    paths = [path for _, path in sorted(drawn)]
    start, end = np.array([re.fullmatch(r"M.*,(.*)V(.*)", path).groups() for path in paths], dtype=float).T
    pixels = start - end
    slope = pixels @ change / (change @ change)
    assert slope > 1
    np.testing.assert_allclose(pixels, slope * change, atol=0.05)


def test_methods_are_chosen(gallery) -> None:
    widget = gallery("PerClass")
    choose(widget, "Method", "LDAM-DRW")
    assert summary("cross-entropy", "LDAM-DRW") in says(widget)
    choose(widget, "Baseline", "GALA")
    assert summary("GALA", "LDAM-DRW") in says(widget)
    assert column(widget, "baseline (%)") == pytest.approx(accuracy("GALA"), abs=0.006)
    assert column(widget, "method (%)") == pytest.approx(accuracy("LDAM-DRW"), abs=0.006)


def test_a_method_is_chosen_by_keyboard(gallery) -> None:
    widget = gallery("PerClass")
    methods = [
        o.inner_text() for o in widget.get_by_role("combobox", name="Method", exact=True).locator("option").all()
    ]
    assert methods == ["cross-entropy", "balanced softmax", "LDAM-DRW", "ALA", "GALA"]
    box = widget.get_by_role("combobox", name="Method", exact=True)
    box.focus()
    box.press("ArrowDown")
    settle(widget)
    assert summary("cross-entropy", "LDAM-DRW") in says(widget)


def test_sorting_moves_the_classes_and_keeps_the_chosen_one(gallery) -> None:
    widget = gallery("PerClass")
    press(widget, "Class", "Home")
    assert one("apple") in says(widget)
    before, after = accuracy("cross-entropy"), accuracy("balanced softmax")
    for option, key in (("gain", after - before), ("baseline", before), ("images", COUNTS)):
        choose(widget, "Sort classes by", option)
        assert shown(widget) == by(key)
        assert int(slider(widget, "Class").input_value()) == by(key).index("apple")
        assert one("apple") in says(widget)


def test_the_cursor_walks_along_the_order_that_is_shown(gallery) -> None:
    widget = gallery("PerClass")
    assert press(widget, "Class", "Home", "ArrowRight") == NAMES[1]
    assert one(str(NAMES[1])) in says(widget)
    choose(widget, "Sort classes by", "gain")
    ranked = by(accuracy("balanced softmax") - accuracy("cross-entropy"))
    assert press(widget, "Class", "End") == ranked[-1]
    assert press(widget, "Class", "ArrowLeft") == ranked[-2]
    assert one(ranked[-2]) in says(widget)


def test_a_search_moves_to_the_first_match_and_enter_to_the_next(gallery) -> None:
    widget = gallery("PerClass")
    matching = [name for name in NAMES.tolist() if "bear" in name or "beaver" in name]
    find(widget, "bea")
    assert f"{len(matching)} classes match “bea”." in says(widget)
    assert one(matching[0]) in says(widget)
    find(widget, "bea", "Enter")
    assert one(matching[1]) in says(widget)
    faded = widget.locator('[data-class][opacity="0.25"]').count()
    assert faded == 100 - len(matching)
    find(widget, "bea", *["Enter"] * len(matching))
    assert one(matching[0]) in says(widget)


def test_a_search_ignores_case_and_finds_superclasses(gallery) -> None:
    widget = gallery("PerClass")
    find(widget, "Maple tree")
    assert "1 class matches “Maple tree”." in says(widget)
    assert one("maple tree") in says(widget)
    find(widget, "fruit and vegetables")
    assert "5 classes match" in says(widget)
    assert one("apple") in says(widget)


def test_a_search_without_a_match_says_so(gallery) -> None:
    widget = gallery("PerClass")
    press(widget, "Class", "Home")
    find(widget, "unicorn", "Enter")
    assert "No class matches “unicorn”." in says(widget)
    assert one("apple") in says(widget)
    find(widget, "")
    assert says(widget).startswith("From cross-entropy")


def test_the_pointer_shows_a_class_and_a_click_keeps_it(gallery) -> None:
    widget = gallery("PerClass")
    box = widget.locator("svg").bounding_box()
    press(widget, "Class", "Home")
    mark = widget.locator('[data-class="60"] path').first.bounding_box()
    at = {"x": mark["x"] - box["x"] + mark["width"] / 2, "y": box["height"] / 2}
    widget.locator("svg").hover(position=at)
    settle(widget)
    assert one(str(NAMES[60])) in says(widget)
    widget.locator(".lt-question").hover()
    settle(widget)
    assert one("apple") in says(widget)
    widget.locator("svg").click(position=at)
    widget.locator(".lt-question").hover()
    settle(widget)
    assert one(str(NAMES[60])) in says(widget)
    assert slider(widget, "Class").get_attribute("aria-valuetext") == NAMES[60]
