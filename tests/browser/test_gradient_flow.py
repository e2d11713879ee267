"""`GradientFlow` on the page: its pushes are the gradients of `lt_core`'s losses, by autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from controls import choose, numbers, press, put, says, settle, slider, value
from playwright.sync_api import Locator

import lt_core as lt

COUNTS = [500, 90, 20, 5]
NAMES = ["head", "medium", "rare", "tail"]
TAIL = 3
LABELS = {
    "ce": "cross-entropy",
    "focal": "focal loss",
    "cb": "class-balanced loss",
    "ldam": "LDAM",
    "la": "logit-adjusted loss",
    "balanced_softmax": "balanced softmax",
    "ala": "ALA",
    "gala": "GALA",
}


def evaluate(loss: str, scores: list[float], target: int, **options: Any) -> tuple[float, list[float]]:
    """Loss and gradient of one image in `lt_core`."""
    inputs = torch.tensor([scores], dtype=torch.float64, requires_grad=True)
    module = lt.losses.build_loss(loss, COUNTS, reduction="sum", **options)
    if loss == "gala":
        module.theta = torch.tensor(COUNTS, dtype=torch.float64)
    result = module(inputs, torch.tensor([target]))
    result.backward()
    return result.item(), inputs.grad[0].tolist()


def column(widget: Locator, name: str) -> list[float]:
    """The four classes' numbers in a column of the table."""
    return [value(row[name]) for row in numbers(widget)[:4]]


def loss_said(widget: Locator) -> float:
    return float(says(widget).split("Loss ")[1].rstrip("."))


def close(expected: list[float]) -> Any:
    return pytest.approx(expected, abs=2e-5)


def set_scores(widget: Locator, word: str, scores: list[float]) -> None:
    for name, score in zip(NAMES, scores, strict=True):
        assert value(put(widget, f"{word} of {name}", score)) == score


def test_the_first_picture_shows_what_the_adjustment_changes(gallery) -> None:
    widget = gallery("GradientFlow")
    _, adjusted = evaluate("balanced_softmax", [0.0] * 4, TAIL)
    _, plain = evaluate("ce", [0.0] * 4, TAIL)
    assert column(widget, "gradient") == close(adjusted)
    assert column(widget, "gradient of cross-entropy") == close(plain)
    assert says(widget).startswith(
        f"Balanced softmax pushes tail up with {-adjusted[TAIL]:.2f} and head down with {adjusted[0]:.2f}; "
        f"cross-entropy would push them with {-plain[TAIL]:.2f} and {plain[0]:.2f}."
    )


def test_every_loss_and_its_gradient(gallery) -> None:
    """Uneven scores, a common and a rare target, all on one page."""
    widget = gallery("GradientFlow")
    for loss, label in LABELS.items():
        choose(widget, "Loss", label)
        cosine = loss in lt.losses.COSINE_LOSSES
        scores = [0.31, 0.12, -0.2, 0.25] if cosine else [1.5, -0.3, 0.8, 0.2]
        scale = 30.0 if cosine else 1.0
        if loss in ("ce", "ldam"):  # the first of its kind; the others keep these scores
            set_scores(widget, "Cosine" if cosine else "Logit", scores)
        for target in (1, TAIL):
            choose(widget, "Class of the image", NAMES[target])
            expected, gradient = evaluate(loss, scores, target)
            _, plain = evaluate("ce", [scale * s for s in scores], target)
            assert column(widget, "gradient") == close(gradient), (loss, target)
            assert column(widget, "gradient of cross-entropy") == close([scale * g for g in plain]), (loss, target)
            assert loss_said(widget) == pytest.approx(expected, abs=6e-4), (loss, target)
            assert value(numbers(widget)[4]["gradient"]) == pytest.approx(0, abs=1e-5), (loss, target)


def test_probabilities_and_adjusted_probabilities(gallery) -> None:
    widget = gallery("GradientFlow")
    margins = {"ldam": lt.losses.ldam_margins(COUNTS)[TAIL], "ala": 0.225 * lt.losses.quantity_factor(COUNTS)[TAIL]}
    log_prior = (torch.tensor(COUNTS) / sum(COUNTS)).log()
    for loss, label in LABELS.items():
        choose(widget, "Loss", label)
        cosine = loss in lt.losses.COSINE_LOSSES
        scores = 30 * torch.tensor([0.2, 0.2, 0.2, 0.55]) if cosine else torch.zeros(4)
        assert column(widget, "p") == close(scores.softmax(0).tolist()), loss
        adjusted = scores - 30 * torch.tensor([0, 0, 0, margins.get(loss, 0.0)])
        if loss in ("la", "balanced_softmax", "gala"):
            adjusted = log_prior
        # GALA's eps moves the tail's log(theta + eps) by 2e-4 from the prior's.
        tolerance = 3e-4 if loss == "gala" else 2e-5
        assert column(widget, "p̃") == pytest.approx(adjusted.softmax(0).tolist(), abs=tolerance), loss


def test_a_logit_by_keyboard(gallery) -> None:
    widget = gallery("GradientFlow")
    choose(widget, "Loss", "cross-entropy")
    assert press(widget, "Logit of head", "End") == "6.00"
    assert press(widget, "Logit of tail", "Home") == "−6.00"
    assert value(press(widget, "Logit of rare", *["ArrowRight"] * 5)) == 0.5
    _, gradient = evaluate("ce", [6.0, 0.0, 0.5, -6.0], TAIL)
    assert column(widget, "logit") == [6.0, 0.0, 0.5, -6.0]
    assert column(widget, "gradient") == close(gradient)


def test_the_option_of_a_loss(gallery) -> None:
    """Its slider is there for its loss alone, and changes the gradient."""
    widget = gallery("GradientFlow")
    for loss, label, option, key, expected in (
        ("focal", "Focusing γ", "gamma", "End", 5.0),
        ("la", "Strength τ", "tau", "End", 2.0),
        ("gala", "Strength λ₁", "lambda_pos", "Home", 0.0),
    ):
        assert slider(widget, label).count() == 0
        choose(widget, "Loss", LABELS[loss])
        _, before = evaluate(loss, [0.0] * 4, TAIL)
        assert column(widget, "gradient") == close(before)
        assert value(press(widget, label, key)) == expected
        _, after = evaluate(loss, [0.0] * 4, TAIL, **{option: expected})
        assert after != close(before)
        assert column(widget, "gradient") == close(after)


def test_cosines_take_the_place_of_logits(gallery) -> None:
    widget = gallery("GradientFlow")
    assert slider(widget, "Logit of head").count() == 1
    choose(widget, "Loss", "LDAM")
    assert slider(widget, "Logit of head").count() == 0
    assert press(widget, "Cosine of head", "End") == "1.00"
    _, gradient = evaluate("ldam", [1.0, 0.2, 0.2, 0.55], TAIL)
    assert column(widget, "gradient") == close(gradient)


def test_weight_and_margin_are_said(gallery) -> None:
    widget = gallery("GradientFlow")
    choose(widget, "Loss", "class-balanced loss")
    assert f"The weight of tail is {lt.losses.class_balanced_weights(COUNTS)[TAIL]:.2f}." in says(widget)
    choose(widget, "Loss", "LDAM")
    choose(widget, "Class of the image", "medium")
    assert f"takes {lt.losses.ldam_margins(COUNTS)[1]:.2f} off the cosine of medium" in says(widget)


def ends(widget: Locator) -> list[tuple[float, float]]:
    """(top, bottom) of the four filled arrows in the picture, the lower of each class's two filled shapes."""
    boxes = "nodes => nodes.map(n => { const b = n.getBBox(); return [b.y, b.y + b.height]; })"
    return [widget.locator(f'[data-filled="{c}"]').evaluate_all(boxes)[1] for c in range(4)]


def test_arrows_are_as_long_as_the_gradient_and_point_its_way(gallery) -> None:
    widget = gallery("GradientFlow")
    put(widget, "Logit of medium", 1.0)
    for loss in ("ce", "balanced_softmax", "cb"):
        choose(widget, "Loss", LABELS[loss])
        gradient = column(widget, "gradient")
        arrows = ends(widget)
        zero = arrows[TAIL][1]
        unit = (zero - arrows[TAIL][0]) / -gradient[TAIL]
        for c in (0, 1, 2):
            assert arrows[c][0] == pytest.approx(zero, abs=0.1), (loss, c)
            assert arrows[c][1] - zero == pytest.approx(gradient[c] * unit, abs=0.1), (loss, c)


def test_a_mark_can_be_dragged(gallery) -> None:
    widget = gallery("GradientFlow")
    box = widget.locator('[data-handle="0"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = widget.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x, y - 7)  # 42 pixels are 12 logits
    mouse.up()
    settle(widget)
    assert column(widget, "logit")[0] == pytest.approx(2.0, abs=0.15)
    shown = slider(widget, "Logit of head").get_attribute("aria-valuetext")
    assert value(shown) == column(widget, "logit")[0]
    _, gradient = evaluate("balanced_softmax", column(widget, "logit"), TAIL)
    assert column(widget, "gradient") == close(gradient)
