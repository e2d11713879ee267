"""`GalaAccumulators` on the page: its toy, trained again here with `GALALoss`, gives the same accumulators."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from controls import choose, click, leisurely, let_pass, numbers, press, put, says, value
from playwright.sync_api import Locator, expect

import lt_core as lt
from lt_core.widgets.gala_accumulators import TOY_CENTRES, TOY_COUNTS, TOY_NAMES, TOY_STEPS

LOG_COUNTS = np.log(TOY_COUNTS)
HARD, EASY = TOY_NAMES.index("hard"), TOY_NAMES.index("easy")


@cache
def theta_by_step(lambda_pos=1.0, lambda_neg=1.0, form="released", accumulate="double") -> np.ndarray:
    """Theta of the toy after every step, (steps, C)."""
    points, labels = [], []
    for k, (n, centre) in enumerate(zip(TOY_COUNTS, TOY_CENTRES, strict=True)):
        level = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        points.append(centre + 0.55 * torch.logit(level))
        labels += [k] * n
    x, y = torch.cat(points), torch.tensor(labels)
    inputs = torch.stack([x, torch.ones_like(x)], dim=1)
    loss = lt.losses.GALALoss(len(TOY_COUNTS), lambda_pos, lambda_neg, form, accumulate).double()
    weights = torch.zeros(2, len(TOY_COUNTS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=0.2, momentum=0.9)
    rows = []
    for _ in range(TOY_STEPS):
        optimizer.zero_grad()
        loss(inputs @ weights, y).backward()
        optimizer.step()
        rows.append(loss.theta.numpy().copy())
    return np.array(rows)


def as_counts(theta: np.ndarray) -> np.ndarray:
    logs = np.log(theta + 1e-3)
    return np.exp(logs - logs.mean() + LOG_COUNTS.mean())


def slope(theta: np.ndarray) -> float:
    return float(np.polyfit(LOG_COUNTS, np.log(theta + 1e-3), deg=1)[0])


def column(widget: Locator, name: str) -> np.ndarray:
    return np.array([value(row[name]) for row in numbers(widget)])


def test_the_first_picture_says_what_gala_has_learned(gallery) -> None:
    widget = gallery("GalaAccumulators")
    theta = theta_by_step()[-1]
    np.testing.assert_allclose(column(widget, "θ"), theta, rtol=1e-9)
    np.testing.assert_allclose(column(widget, "log(θ + ε)"), np.log(theta + 1e-3), rtol=1e-9)
    np.testing.assert_allclose(column(widget, "θ as a count"), as_counts(theta), rtol=1e-9)
    assert [int(n) for n in column(widget, "images")] == list(TOY_COUNTS)
    assert 0.6 < slope(theta) < 0.65
    assert f"Step 200: log θ rises with log n at a slope of {slope(theta):.2f}, a milder prior" in says(widget)
    hard, easy = as_counts(theta)[[HARD, EASY]]
    assert f"with 30 images, θ counts the hard one as {hard:.1f} and the easy one as {easy:.1f}" in says(widget)
    assert widget.locator("svg text", has_text="fitted: slope").text_content() == f"fitted: slope {slope(theta):.2f}"


def test_the_step_slider_walks_through_the_run(gallery) -> None:
    widget = gallery("GalaAccumulators")
    assert press(widget, "Training step", "Home") == "1"
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[0], rtol=1e-9)
    assert f"slope of {slope(theta_by_step()[0]):.2f}, almost the counts" in says(
        widget
    )  # 0.97: epsilon takes the rest
    assert press(widget, "Training step", "ArrowRight", "ArrowRight") == "3"
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[2], rtol=1e-9)
    assert put(widget, "Training step", 49) == "50"
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[49], rtol=1e-9)
    assert press(widget, "Training step", "End") == "200"
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[-1], rtol=1e-9)


@pytest.mark.parametrize("form", ["released", "formula"])
@pytest.mark.parametrize("accumulate", ["double", "single"])
def test_every_form_and_sum_is_the_one_of_the_package(gallery, form: str, accumulate: str) -> None:
    widget = gallery("GalaAccumulators")
    choose(widget, "Form", form)
    choose(widget, "Accumulation", accumulate)
    for lambda_pos, lambda_neg in ((1.2, 0.9), (0.5, 2.0)):
        assert value(put(widget, "λ₁, on θ", lambda_pos)) == lambda_pos
        assert value(put(widget, "λ₂, on φ", lambda_neg)) == lambda_neg
        expected = theta_by_step(lambda_pos, lambda_neg, form, accumulate)
        for step in (1, 20, 200):
            put(widget, "Training step", step - 1)
            np.testing.assert_allclose(column(widget, "θ"), expected[step - 1], rtol=1e-8)
            assert f"slope of {slope(expected[step - 1]):.2f}" in says(widget)


def test_theta_and_phi_are_added_up_apart_and_agree(gallery) -> None:
    widget = gallery("GalaAccumulators")
    choose(widget, "Form", "formula")
    put(widget, "λ₂, on φ", 0.3)
    np.testing.assert_allclose(column(widget, "φ"), column(widget, "θ"), rtol=1e-10)
    put(widget, "Training step", 4)
    np.testing.assert_allclose(column(widget, "φ"), theta_by_step(1.0, 0.3, "formula")[4], rtol=1e-9)


def test_in_the_released_form_lambda_2_changes_no_digit(gallery) -> None:
    widget = gallery("GalaAccumulators")
    before, said = numbers(widget), says(widget)
    assert press(widget, "λ₂, on φ", "Home") == "0.00"
    assert (numbers(widget), says(widget)) == (before, said)
    assert press(widget, "λ₂, on φ", "End") == "2.00"
    assert (numbers(widget), says(widget)) == (before, said)
    assert "λ₂ changes nothing" in said


def test_in_the_formula_lambda_2_matters_unless_it_is_lambda_1(gallery) -> None:
    widget = gallery("GalaAccumulators")
    released = column(widget, "θ")
    choose(widget, "Form", "formula")
    np.testing.assert_allclose(column(widget, "θ"), released, rtol=1e-9)
    assert "With λ₁ = λ₂ the formula is the released form" in says(widget)
    press(widget, "λ₂, on φ", "Home")
    theta = theta_by_step(1.0, 0.0, "formula")[-1]
    assert (np.abs(column(widget, "θ") / released - 1) > 0.01).any()
    np.testing.assert_allclose(column(widget, "θ"), theta, rtol=1e-8)
    first, last = np.log(theta[[0, -1]] + 1e-3)
    assert f"gains (λ₁ − λ₂) log θ, {first:.2f} in the largest class and {last:.2f} in the rarest" in says(widget)


def test_lambda_1_scales_the_exponent(gallery) -> None:
    widget = gallery("GalaAccumulators")
    assert press(widget, "λ₁, on θ", "End") == "2.00"
    power = 2 * slope(theta_by_step(lambda_pos=2.0)[-1])
    assert f"With λ₁ = 2 the loss uses n to the power {power:.2f}" in says(widget)
    assert press(widget, "λ₁, on θ", "Home") == "0.00"
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step(lambda_pos=0.0)[-1], rtol=1e-8)


def test_the_double_sum_grows_faster_and_learns_the_same_slope(gallery) -> None:
    widget = gallery("GalaAccumulators")
    double = column(widget, "θ")
    assert widget.locator("svg text", has_text="like t").text_content() == "like t²"
    choose(widget, "Accumulation", "single")
    single = column(widget, "θ")
    assert widget.locator("svg text", has_text="like t").text_content() == "like t"
    assert (double > 50 * single).all()
    assert abs(slope(double) - slope(single)) < 0.02


def test_reset_step_and_play(gallery) -> None:
    widget = gallery("GalaAccumulators")
    step = widget.get_by_role("slider", name="Training step", exact=True)
    click(widget, "Play")  # from the end it starts again
    click(widget, "Reset")
    assert widget.get_by_role("button", name="Pause", exact=True).count() == 0
    expect(step).to_have_attribute("aria-valuetext", "1")
    click(widget, "Step")
    expect(step).to_have_attribute("aria-valuetext", "2")
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[1], rtol=1e-9)
    with leisurely(widget.page):
        click(widget, "Play")
        expect(step).not_to_have_attribute("aria-valuetext", "2")
        click(widget, "Pause")
    held = step.get_attribute("aria-valuetext")
    assert 2 < value(held) < 200
    let_pass(widget, 500)  # longer than its slow tick
    assert step.get_attribute("aria-valuetext") == held
    put(widget, "Training step", 170)
    click(widget, "Play")
    expect(widget.get_by_role("button", name="Play", exact=True)).to_be_visible(timeout=30_000)  # it stops by itself
    expect(step).to_have_attribute("aria-valuetext", "200")
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[-1], rtol=1e-9)


def test_with_reduced_motion_play_jumps_to_the_end(gallery) -> None:
    widget = gallery("GalaAccumulators", reduced_motion=True)
    click(widget, "Reset")
    click(widget, "Play")
    assert press(widget, "Training step") == "200"
    assert widget.get_by_role("button", name="Pause", exact=True).count() == 0


def test_the_cursor_can_be_dragged(gallery) -> None:
    widget = gallery("GalaAccumulators")
    box = widget.locator("[data-handle=step]").bounding_box()
    widget.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    widget.page.mouse.down()
    widget.page.mouse.move(box["x"] - 100, box["y"] + 10)
    widget.page.mouse.up()
    at = int(press(widget, "Training step"))
    assert 1 < at < 200
    np.testing.assert_allclose(column(widget, "θ"), theta_by_step()[at - 1], rtol=1e-9)
