"""`MarginCurves` on the page: the margins and where they cross are those of `lt_core`."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from controls import choose, numbers, press, put, says, settle, slider, toggle, value
from playwright.sync_api import Locator
from scipy.optimize import brentq

import lt_core as lt


def factor(images: int, quantity: str = "log") -> float:
    return lt.losses.quantity_factor([5, images], quantity, torch.float64)[1].item()


def ratio(images: float) -> float:
    """QF over LDAM's margin, at a count that need not be whole."""
    return 1 / np.log(images / 5 + 1) / (0.5 * (5 / images) ** 0.25)


def row(widget: Locator, images: int) -> dict[str, float]:
    found = next(row for row in numbers(widget) if value(row["images"]) == images)
    return {name: value(text) for name, text in found.items()}


def read_at(widget: Locator) -> int:
    """The count at which the page reads the values."""
    return int(value(slider(widget, "Images of the class").get_attribute("aria-valuetext") or ""))


def test_the_first_picture_is_half_the_quantity_factor(gallery) -> None:
    widget = gallery("MarginCurves")
    for images in (5, 50, 500):
        shown = row(widget, images)
        assert shown["QF"] == pytest.approx(factor(images), abs=6e-5)
        assert shown["A"] == pytest.approx(factor(images) / 2, abs=6e-5)
        assert shown["LDAM"] == pytest.approx(factor(images, "ldam"), abs=6e-5)
        threshold = 1 - 2 * factor(images, "ldam") / factor(images)
        assert shown["A below LDAM above cosine"] == pytest.approx(threshold, abs=6e-5)
    crossing = brentq(lambda n: 0.5 * ratio(n) - 1, 5, 50)
    assert f"for classes of up to {int(crossing)} images" in says(widget)


def test_the_cosine_moves_alas_margin_by_keyboard(gallery) -> None:
    widget = gallery("MarginCurves")
    text = press(widget, "Target cosine", *["ArrowRight"] * 8)
    assert text == "0.40 (66°)"
    assert row(widget, 50)["A"] == pytest.approx(0.3 * factor(50), abs=6e-5)
    assert "LDAM's margin is the larger one for every class" in says(widget)
    assert press(widget, "Target cosine", "Home") == "−1.00 (180°)"
    assert row(widget, 50)["A = QF"] == pytest.approx(factor(50), abs=6e-5)
    assert "ALA's margin is the larger one for every class" in says(widget)


def test_reading_another_class(gallery) -> None:
    widget = gallery("MarginCurves")
    press(widget, "Images of the class", "End", "ArrowLeft", "ArrowLeft")
    images = read_at(widget)
    assert 400 < images < 500
    shown = row(widget, images)
    assert shown["A"] == pytest.approx(factor(images) / 2, abs=6e-5)
    threshold = 1 - 2 * factor(images, "ldam") / factor(images)
    said = re.search(r"ALA takes off ([\d.]+), LDAM ([\d.]+)\..* above cosine (−?[\d.]+)\.", says(widget))
    expected = [factor(images) / 2, factor(images, "ldam"), threshold]
    assert [value(text.rstrip(".")) for text in said.groups()] == pytest.approx(expected, abs=5.1e-3)


def test_a_power_is_ldams_margin_at_one_quarter(gallery) -> None:
    widget = gallery("MarginCurves")
    assert slider(widget, "Exponent of the power").count() == 0  # not there before it does something
    choose(widget, "Also show", "a power")
    assert row(widget, 500)["power"] == pytest.approx(0.5 * 0.01**0.5, abs=6e-5)
    assert press(widget, "Exponent of the power", *["ArrowLeft"] * 5) == "0.25 (LDAM)"
    assert row(widget, 500)["power"] == row(widget, 500)["LDAM"]
    assert put(widget, "Exponent of the power", 1) == "1.00"
    assert row(widget, 500)["power"] == pytest.approx(0.005, abs=6e-5)


def test_log2_is_the_quantity_factor_of_the_library(gallery) -> None:
    widget = gallery("MarginCurves")
    choose(widget, "Also show", "log2")
    assert row(widget, 50)["log2"] == pytest.approx(factor(50, "log2") / 2, abs=6e-5)
    choose(widget, "Also show", "nothing")
    assert "log2" not in numbers(widget)[0]


def test_shapes_start_at_one_and_have_equal_slopes_at_a_ratio_of_49(gallery) -> None:
    widget = gallery("MarginCurves")
    toggle(widget, "1 at the rarest class")
    assert row(widget, 5)["QF"] == row(widget, 5)["LDAM"] == 1
    assert row(widget, 500)["QF"] == pytest.approx(factor(500) / factor(5), abs=6e-5)
    assert row(widget, 500)["LDAM"] == pytest.approx(0.01**0.25, abs=6e-5)
    equal = brentq(lambda r: r / ((r + 1) * np.log(r + 1)) - 0.25, 2, 100)
    assert f"up to {int(5 * equal)} images ({equal:.1f} times the rarest)" in says(widget)
    assert slider(widget, "Target cosine").is_disabled()  # it is divided out
    toggle(widget, "1 at the rarest class")
    assert slider(widget, "Target cosine").is_enabled()
    assert row(widget, 500)["A"] == pytest.approx(factor(500) / 2, abs=6e-5)


def test_dragging_the_line_does_what_the_slider_does(gallery) -> None:
    widget = gallery("MarginCurves")
    handle = widget.locator("[data-handle=images]").bounding_box()
    ticks = widget.locator("svg .lt-axes .lt-tick")
    target = ticks.nth(ticks.count() - 2).bounding_box()  # 200 images
    mouse, height = widget.page.mouse, handle["y"] + handle["height"] / 2
    mouse.move(handle["x"] + handle["width"] / 2, height)
    mouse.down()
    mouse.move(target["x"], height, steps=3)
    mouse.up()
    settle(widget)
    images = int(re.match(r"(\d+) images", says(widget))[1])
    assert abs(images - 200) <= 3
    assert row(widget, images)["A"] == pytest.approx(factor(images) / 2, abs=6e-5)


def taken(cosine: float, cosface: float = 0.35, arcface: float = 0.5, sphereface: float = 1.7) -> list[float]:
    """What CosFace, ArcFace and SphereFace take off, by `lt_core`."""
    row, own = torch.tensor([[cosine, 0.0]], dtype=torch.float64), torch.tensor([0])
    losses = (
        lt.losses.CosFaceLoss(2, cosface),
        lt.losses.ArcFaceLoss(2, arcface),
        lt.losses.SphereFaceLoss(2, sphereface),
    )
    return [loss.margin(row, own).item() for loss in losses]


def test_against_the_angle_the_faces_stand_beside_ldam(gallery) -> None:
    widget = gallery("MarginCurves")
    assert slider(widget, "ArcFace adds").count() == 0
    choose(widget, "Against", "the angle")
    for row in numbers(widget)[:7]:
        degrees = int(row["angle"].removesuffix("°"))
        expected = [*taken(np.cos(np.deg2rad(degrees))), factor(50, "ldam")]
        shown = [value(row[name]) for name in ("CosFace", "ArcFace", "SphereFace", "LDAM")]
        assert shown == pytest.approx(expected, abs=6e-5)
    assert press(widget, "Target cosine", *["ArrowRight"] * 10) == "0.50 (60°)"
    assert "60° from its class" in says(widget)
    assert "SphereFace takes off 0.708, ArcFace takes off 0.476, CosFace takes off 0.350" in says(widget)
    press(widget, "Images of the class", "Home")
    assert "LDAM takes off 0.500" in says(widget)
    choose(widget, "Against", "the class count")
    assert slider(widget, "ArcFace adds").count() == 0
    assert "images" in numbers(widget)[0]


def test_the_face_margins_move_by_their_sliders(gallery) -> None:
    widget = gallery("MarginCurves")
    choose(widget, "Against", "the angle")
    assert put(widget, "CosFace subtracts", 0.2) == "0.20"
    assert put(widget, "ArcFace adds", 1) == "1.00 (57°)"
    assert put(widget, "SphereFace multiplies", 2) == "2.0"
    shown = next(row for row in numbers(widget) if row["angle"] == "150°")
    expected = taken(np.cos(np.deg2rad(150)), 0.2, 1.0, 2.0)
    assert [value(shown[name]) for name in ("CosFace", "ArcFace", "SphereFace")] == pytest.approx(expected, abs=6e-5)


def test_dragging_turns_the_image(gallery) -> None:
    widget = gallery("MarginCurves")
    choose(widget, "Against", "the angle")
    handle = widget.locator("[data-handle=angle]").bounding_box()
    target = widget.locator("svg .lt-axes .lt-tick").nth(2).bounding_box()  # 60 degrees
    mouse, height = widget.page.mouse, handle["y"] + handle["height"] / 2
    mouse.move(handle["x"] + handle["width"] / 2, height)
    mouse.down()
    mouse.move(target["x"], height, steps=3)
    mouse.up()
    settle(widget)
    degrees = int(re.search(r"at (\d+)° from", says(widget))[1])
    assert abs(degrees - 60) <= 2
