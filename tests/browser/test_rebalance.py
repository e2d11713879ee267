"""`Rebalance` on the page: its numbers are those of `lt_core` for the recorded probabilities."""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest
import torch
from controls import choose, numbers, press, put, says, settle, slider, value
from playwright.sync_api import Locator
from torch import Tensor

import lt_core as lt

RUNS = {"cross-entropy": "ce", "balanced softmax": "balanced_softmax"}
METHODS = {"re-balance (sees the test set)": "rebalance", "subtract the log prior": "adjust"}
COUNTS = lt.data.class_counts(imbalance_factor=100)
GROUPS = ("all", "many", "medium", "few")
NAMES = [name.replace("_", " ") for name in lt.data.CIFAR100_CLASSES]


@cache
def recorded(run: str) -> tuple[Tensor, Tensor]:
    """Probabilities of the run, and the labels."""
    labels, _ = lt.report.analysis.cifar100_test_labels()
    folder = lt.records.find_results() / "study" / "strong" / f"{RUNS[run]}-if100-s0"
    return lt.records.load_probabilities(folder), labels


def scores(run: str, method: str, tau: float) -> Tensor:
    probabilities, _ = recorded(run)
    if method == "rebalance":
        return lt.posthoc.rebalance_predictions(probabilities, tau)
    return lt.posthoc.adjust_logits(probabilities.log(), COUNTS, tau).exp()


def accuracy(run: str, method: str, tau: float) -> dict[str, float]:
    """Percent by shot group."""
    found = lt.metrics.shot_accuracy(scores(run, method, tau).argmax(1), recorded(run)[1], COUNTS)
    return {name: 100 * share for name, share in found.items() if share is not None}


def column(widget: Locator, name: str) -> dict[str, float]:
    """A column of the table by group and class; its title without the strength."""
    rows = numbers(widget)
    title = next(key for key in rows[0] if key.startswith(name))
    return {row["classes"]: value(row[title]) for row in rows}


def told(widget: Locator) -> float:
    """The accuracy in the widget's sentence."""
    found = re.search(r"accuracy ([\d.]+) %", says(widget))
    assert found is not None
    return float(found[1])


def test_accuracy_by_group_follows_run_method_and_strength(gallery) -> None:
    widget = gallery("Rebalance")
    for run, (option, method) in product(RUNS, METHODS.items()):
        choose(widget, "Trained with", run)
        choose(widget, "After training", option)
        trained = accuracy(run, method, 0)
        for tau in (0, 0.5, 1, 1.5):
            assert put(widget, "Strength τ", tau) == f"{tau:.2f}"
            expected = accuracy(run, method, tau)
            shown, before = column(widget, "accuracy, at"), column(widget, "accuracy, as trained")
            assert {name: shown[name] for name in GROUPS} == pytest.approx(expected, abs=0.051)
            assert {name: before[name] for name in GROUPS} == pytest.approx(trained, abs=0.051)
            assert told(widget) == pytest.approx(expected["all"], abs=0.051)  # 49.15 may be 49.1 here and 49.2 there


def test_every_class_has_the_accuracy_and_the_mass_of_the_package(gallery) -> None:
    widget = gallery("Rebalance")
    choose(widget, "After training", "subtract the log prior")
    assert press(widget, "Strength τ", *["ArrowRight"] * 7) == "1.35"
    probabilities, labels = recorded("cross-entropy")
    after = scores("cross-entropy", "adjust", 1.35)
    expected = 100 * lt.metrics.per_class_accuracy(after.argmax(1), labels, 100)
    shown = column(widget, "accuracy, at")
    assert [shown[name] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-9)
    # Rows are not renormalised: probabilities divided by a power of the prior.
    prior = torch.tensor(COUNTS, dtype=torch.float64)
    masses = (probabilities / prior**1.35).sum(0)
    mass = column(widget, "mass, at")
    expected = masses / masses.mean()
    assert [mass[name] for name in NAMES] == pytest.approx(expected.tolist(), rel=2e-3)


def test_equal_masses_at_one(gallery) -> None:
    widget = gallery("Rebalance")

    def heights() -> list[float]:
        marks = widget.locator(".lt-now").evaluate_all("nodes => nodes.map((n) => n.transform.baseVal[0].matrix.f)")
        assert len(marks) == 100
        return marks

    level = heights()
    assert max(level) - min(level) < 0.01
    assert column(widget, "mass, at")["few"] == 1
    press(widget, "Strength τ", "Home")
    probabilities, _ = recorded("cross-entropy")
    trained = probabilities.sum(0) / 100
    assert column(widget, "mass, as trained")["few"] == pytest.approx(float(trained[70:].mean()), rel=2e-3)
    # On the logarithmic axis the marks lie on a straight line of the logarithms, the largest mass on top.
    place = torch.tensor(heights(), dtype=torch.float64)
    assert float(torch.corrcoef(torch.stack([place, trained.log()]))[0, 1]) == pytest.approx(-1, abs=1e-9)


def test_what_the_head_gives_back_helps_once(gallery) -> None:
    widget = gallery("Rebalance")
    gain = accuracy("cross-entropy", "rebalance", 1)["all"] - accuracy("cross-entropy", "rebalance", 0)["all"]
    assert gain > 5
    assert f"+{gain:.1f} points against as trained" in says(widget)
    taus = [i / 20 for i in range(41)]
    found = [accuracy("cross-entropy", "rebalance", tau)["all"] for tau in taus]
    best = max(range(41), key=lambda i: found[i])
    assert f"Best: {found[best]:.1f} % at τ = {taus[best]:.2f}" in says(widget).replace("\u00a0", " ")
    choose(widget, "Trained with", "balanced softmax")
    gain = accuracy("balanced softmax", "rebalance", 1)["all"] - accuracy("balanced softmax", "rebalance", 0)["all"]
    assert 0 < gain < 1
    assert f"+{gain:.1f} points against as trained" in says(widget)
    choose(widget, "After training", "subtract the log prior")
    loss = accuracy("balanced softmax", "adjust", 0)["all"] - accuracy("balanced softmax", "adjust", 1)["all"]
    assert loss > 6
    assert f"−{loss:.1f} points against as trained" in says(widget)


def test_the_cursor_can_be_dragged(gallery) -> None:
    widget = gallery("Rebalance")
    picture = widget.locator(".lt-picture").nth(1)
    picture.scroll_into_view_if_needed()
    cursor = picture.locator("[data-handle=tau]")
    x = cursor.evaluate("node => node.getBoundingClientRect().x")
    y = picture.bounding_box()["y"] + 100
    press(widget, "Strength τ", "Home")
    start = cursor.evaluate("node => node.getBoundingClientRect().x")
    widget.page.mouse.move(start, y)
    widget.page.mouse.down()
    widget.page.mouse.move(start + (x - start) / 2, y)
    widget.page.mouse.up()
    settle(widget)
    assert slider(widget, "Strength τ").get_attribute("aria-valuetext") == "0.50"
    expected = accuracy("cross-entropy", "rebalance", 0.5)["all"]
    assert told(widget) == pytest.approx(expected, abs=0.051)
