"""`CosineAngle` on the page: factors, scores and boundary angles are those of `lt_core`."""

from __future__ import annotations

import math

import pytest
import torch
from controls import choose, numbers, press, put, says, settle, slider, value
from playwright.sync_api import Locator
from scipy.optimize import brentq

import lt_core as lt

ANGLES, COUNTS, NAMES = (90, 210, 330), [500, 90, 5], ("frequent", "medium", "rare")
SCALE = 30
LOSSES = {"ALA": lt.losses.ALALoss(COUNTS), "LDAM": lt.losses.LDAMLoss(COUNTS)}


def cosines(feature: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(feature - a)) for a in ANGLES]], dtype=torch.float64)


def margin(feature: float, target: int, loss: str) -> float:
    if loss == "cross-entropy":
        return 0.0
    return LOSSES[loss].margin(cosines(feature), torch.tensor([target])).item()


def furthest(target: int, rival: int, loss: str) -> float:
    """How far from the target, towards the rival, the target's score still wins: a root, found numerically."""
    towards = (ANGLES[rival] - ANGLES[target] + 180) % 360 - 180

    def lead(theta: float) -> float:
        feature = ANGLES[target] + math.copysign(theta, towards)
        row = cosines(feature)[0]
        return (row[target] - margin(feature, target, loss) - row[rival]).item()

    return brentq(lead, 0, abs(towards))


def check(widget: Locator, feature: float, target: int, loss: str) -> None:
    """Every number of the table, computed again."""
    row, taken = cosines(feature)[0], margin(feature, target, loss)
    adjusted = SCALE * row
    adjusted[target] -= SCALE * taken
    expected = {"cosine": row, "p": 100 * (SCALE * row).softmax(0), "p̃": 100 * adjusted.softmax(0)}
    expected["adjusted score"] = adjusted
    shown = numbers(widget)
    assert [line["class"] for line in shown] == list(NAMES)
    for name, values in expected.items():
        assert [value(line[name]) for line in shown] == pytest.approx(values.tolist(), abs=6e-4), name
    mine = shown[target]
    assert value(mine["taken off"]) == pytest.approx(taken, abs=6e-5)
    if loss == "ALA":
        factors = LOSSES["ALA"].factors(cosines(feature), torch.tensor([target]))
        for name, factor in factors.items():
            assert value(mine[name]) == pytest.approx(factor.item(), abs=6e-5)
    for rival in {0, 1, 2} - {target}:
        for column, of in {"wins up to θ": "cross-entropy", "in training": loss}.items():
            assert float(shown[rival][column].rstrip("°")) == pytest.approx(furthest(target, rival, of), abs=6e-3)


def test_the_first_sample_is_right_but_not_by_enough(gallery) -> None:
    widget = gallery("CosineAngle")
    check(widget, 25, 2, "ALA")
    factors = {k: v.item() for k, v in LOSSES["ALA"].factors(cosines(25), torch.tensor([2])).items()}
    text = says(widget)
    assert "θ = 55°: DF {DF:.3f} times QF {QF:.3f} is A = {A:.3f}".format(**factors) in text
    assert f"grow {math.exp(SCALE * factors['A']):,.0f} times" in text
    assert "right, but not by enough" in text


def test_the_feature_turns_by_keyboard(gallery) -> None:
    widget = gallery("CosineAngle")
    assert press(widget, "Angle of the feature", *["ArrowLeft"] * 10) == "15°"
    check(widget, 15, 2, "ALA")
    assert "The sample is right, and by enough." in says(widget)
    assert put(widget, "Angle of the feature", 150) == "150°"
    check(widget, 150, 2, "ALA")
    assert "θ = 180°" in says(widget)
    assert "The sample is misclassified." in says(widget)
    assert press(widget, "Angle of the feature", "End") == "360°"
    check(widget, 360, 2, "ALA")


@pytest.mark.parametrize("target", [0, 1])
def test_the_target_class(gallery, target: int) -> None:
    widget = gallery("CosineAngle")
    choose(widget, "Target class", NAMES[target])
    put(widget, "Angle of the feature", 140)
    check(widget, 140, target, "ALA")


@pytest.mark.parametrize("loss", ["LDAM", "cross-entropy"])
def test_the_loss(gallery, loss: str) -> None:
    widget = gallery("CosineAngle")
    choose(widget, "Loss", loss)
    check(widget, 25, 2, loss)
    put(widget, "Angle of the feature", 300)
    check(widget, 300, 2, loss)


def ends(widget: Locator, kind: str) -> list[float]:
    """Directions of the rays of a kind in the picture, in degrees."""
    corners = widget.locator(f"line[data-ray={kind}]").evaluate_all(
        "lines => lines.map(l => ['x1', 'y1', 'x2', 'y2'].map(n => Number(l.getAttribute(n))))"
    )
    return sorted(math.degrees(math.atan2(y1 - y2, x2 - x1)) % 360 for x1, y1, x2, y2 in corners)


@pytest.mark.parametrize("loss", ["ALA", "LDAM"])
def test_the_rays_are_drawn_where_the_scores_tie(gallery, loss: str) -> None:
    widget = gallery("CosineAngle")
    choose(widget, "Loss", loss)
    for kind, of in {"boundary": "cross-entropy", "demanded": loss}.items():
        expected = [(330 + furthest(2, 0, of)) % 360, 330 - furthest(2, 1, of)]
        assert ends(widget, kind) == pytest.approx(sorted(expected), abs=1e-6)
    assert widget.locator("path[data-zone=before], path[data-zone=after]").count() == 2
    choose(widget, "Loss", "cross-entropy")
    assert ends(widget, "demanded") == []
    assert widget.locator("path[data-zone=before], path[data-zone=after]").count() == 0


def test_dragging_the_feature_does_what_the_slider_does(gallery) -> None:
    widget = gallery("CosineAngle")
    circle = widget.locator("svg").first.locator("circle[fill=none]").bounding_box()
    handle = widget.locator("[data-handle=feature]").bounding_box()
    mouse = widget.page.mouse
    mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    mouse.down()
    mouse.move(circle["x"] - 10, circle["y"] + circle["height"] / 2, steps=4)  # due left, beyond the circle
    mouse.up()
    settle(widget)
    assert slider(widget, "Angle of the feature").get_attribute("aria-valuetext") == "180°"
    check(widget, 180, 2, "ALA")
