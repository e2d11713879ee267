"""`PriorShift` on the page: its numbers are those of `two_normals`, and the boundary can be held."""

from __future__ import annotations

import itertools
import re

import pytest
from controls import numbers, press, put, says, settle, slider, value
from playwright.sync_api import Browser, Locator
from scipy.stats import norm

from lt_core.widgets import base
from lt_core.widgets.prior_shift import two_normals

OPEN = """async ([text, calls]) => {
  const module = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  return calls.map(([name, ...args]) => module[name](...args));
}"""


def test_the_mathematics_of_the_page_is_that_of_python(browser: Browser) -> None:
    page = browser.new_page()
    places = [-9.0, -7.9, -3.0, -0.1, 0.0, 0.5, 2.0, 6.0, 8.5]
    given = list(itertools.product((1, 3.5, 100, 1000), (0.5, 2.0, 5.0), (0.0, 0.35, 1.0, 2.0)))
    calls = [["normalCdf", x] for x in places] + [["twoNormals", *row] for row in given]
    found = page.evaluate(OPEN, [base.read("two_normals.js"), calls])
    page.close()
    assert found[: len(places)] == pytest.approx(norm.cdf(places), abs=1e-13)
    for result, row in zip(found[len(places) :], given, strict=True):
        assert result == pytest.approx(two_normals(*row), abs=1e-12)


def check(widget: Locator, ratio: float, distance: float, tau: float) -> None:
    """The whole table, and the chosen row in words."""
    rows = numbers(widget)
    for shown, strength in zip(rows, (0, tau, 1, 2), strict=True):
        rates = two_normals(ratio, distance, strength)
        assert value(shown["boundary"]) == pytest.approx(rates["boundary"], abs=5.1e-3)
        titles = {"head right": "head", "tail right": "tail", "balanced error": "balanced"}
        for title, key in {**titles, "error, as training": "training"}.items():
            assert value(shown[title]) == pytest.approx(100 * rates[key], abs=0.051)
    assert f"balanced error {rows[1]['balanced error']}, at best {rows[2]['balanced error']}" in says(widget)


def test_prior_overlap_and_strength_by_keyboard(gallery) -> None:
    widget = gallery("PriorShift")
    check(widget, 100, 2.0, 0.0)
    assert "1.30 beyond the tail's centre" in says(widget)
    assert press(widget, "Strength τ", *["ArrowRight"] * 20) == "1.00"
    check(widget, 100, 2.0, 1.0)
    assert press(widget, "Head images for one of the tail", "ArrowLeft") == "50"
    assert put(widget, "Distance of the centres", 3.5) == "3.5"
    assert put(widget, "Strength τ", 0.25) == "0.25"
    check(widget, 50, 3.5, 0.25)


def test_equal_counts_leave_nothing_to_adjust(gallery) -> None:
    widget = gallery("PriorShift")
    press(widget, "Head images for one of the tail", "Home")
    for tau in (0.0, 2.0):
        put(widget, "Strength τ", tau)
        check(widget, 1, 2.0, tau)
        assert "the boundary lies at 1.00" in says(widget)


def test_a_boundary_beyond_the_picture_is_still_named(gallery) -> None:
    widget = gallery("PriorShift")
    put(widget, "Distance of the centres", 0.5)
    boundary = two_normals(100, 0.5, 0)["boundary"]
    assert boundary > 8
    assert widget.locator("svg").first.get_by_text(f"boundary {boundary:.2f} →").count() == 1
    check(widget, 100, 0.5, 0.0)


@pytest.mark.parametrize("picture", [0, 1])
def test_dragging_does_what_the_slider_does(gallery, picture: int) -> None:
    widget = gallery("PriorShift")
    node = widget.locator("svg.lt-picture").nth(picture)
    handle = node.locator("[data-handle=tau]").bounding_box()
    ticks = node.locator(".lt-axes .lt-tick")
    # To x = 2, the tail's centre, on the left; to a strength of 1.5 on the right.
    target = ticks.nth(3).bounding_box()
    mouse, height = widget.page.mouse, handle["y"] + handle["height"] / 2
    mouse.move(handle["x"] + handle["width"] / 2, height)
    mouse.down()
    mouse.move(target["x"] + target["width"] / 2, height, steps=4)
    mouse.up()
    settle(widget)
    tau = float(re.search(r"τ\s=\s([\d.]+):", says(widget))[1])
    expected = (0.55, 0.6) if picture == 0 else (1.45, 1.55)
    assert expected[0] - 0.051 <= tau <= expected[1] + 0.051
    assert float(slider(widget, "Strength τ").input_value()) == pytest.approx(tau)
    check(widget, 100, 2.0, tau)
