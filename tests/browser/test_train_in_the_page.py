"""`TrainInThePage` on the page: it trains as torch does with the losses of `lt_core`."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
from controls import choose, click, leisurely, numbers, press, says, settle, slider, value
from playwright.sync_api import Locator, expect

import lt_core as lt
from lt_core.losses.registry import COSINE_LOSSES, build_loss
from lt_core.widgets.base import LOSSES, module
from lt_core.widgets.train_in_the_page import FACTORS, HIDDEN, NETWORKS, STEPS, scores, train

LABELS = {
    "ce": "cross-entropy",
    "focal": "focal, γ = 2",
    "cb": "class-balanced, β = 0.9999",
    "ldam": "LDAM",
    "la": "logit-adjusted, τ = 1",
    "balanced_softmax": "balanced softmax",
    "ala": "ALA",
    "gala": "GALA",
}
TRAIN = """async ([text, runs]) => {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const { training } = await import(address);
  URL.revokeObjectURL(address);
  return runs.map((run) => {
    const { gradient, step, weights } = training(run);
    const { loss, gradient: first } = gradient();
    for (let i = 0; i < 5; i += 1) step();
    return { loss, gradient: [...first], weights: [...weights] };
  });
}"""
ONE_POINT = 100 / 300 + 0.01  # percent: a test point on the boundary may fall to either side, and the page rounds


def accuracies(widget: Locator, column: str) -> list[float]:
    """Percent of each class, and their mean."""
    return [value(row[column]) for row in numbers(widget)]


@cache
def expected(loss: str, step: int = STEPS, **chosen: Any) -> list[float]:
    shares = lt.widgets.TrainInThePage(**chosen).test_accuracy(loss, step)
    return [100 * share for share in [*shares, sum(shares) / len(shares)]]


def check(widget: Locator, loss: str, step: int = STEPS, **chosen: Any) -> None:
    """The table holds what torch gives for this loss, and for cross-entropy beside it."""
    shown = accuracies(widget, f"right: {LABELS[loss]}")
    assert shown == pytest.approx(expected(loss, step, **chosen), abs=ONE_POINT)
    if loss != "ce":
        before = accuracies(widget, "right: cross-entropy at its end")
        assert before == pytest.approx(expected("ce", **chosen), abs=ONE_POINT)


def test_gradients_and_weights_are_autograd_s(gallery) -> None:
    page, text = gallery("TrainInThePage").page, module("losses.js", "network.js")
    for network in NETWORKS:
        data = lt.widgets.TrainInThePage(network=network)
        points, labels = data.training_data()
        start = data.first_weights()
        run = {
            "hidden": HIDDEN[network],
            "points": points.tolist(),
            "labels": labels.tolist(),
            "counts": data.counts,
            "start": torch.cat([w.flatten() for w in start]).tolist(),
        }
        results = page.evaluate(TRAIN, [text, [{**run, "loss": loss} for loss in LOSSES]])
        for loss, result in zip(LOSSES, results, strict=True):
            weights = [w.clone().requires_grad_() for w in start]
            mean = build_loss(loss, data.counts).double()(scores(points, weights, loss in COSINE_LOSSES), labels)
            gradient = torch.cat([g.flatten() for g in torch.autograd.grad(mean, weights)])
            size = gradient.abs().max().item()
            assert size > 1e-3
            assert result["loss"] == pytest.approx(mean.item(), rel=1e-6), (network, loss)
            torch.testing.assert_close(as_tensor(result["gradient"]), gradient, rtol=1e-6, atol=1e-6 * size)
            after = torch.cat([w.flatten() for w in train(loss, points, labels, data.counts, start, 5)])
            assert (after - as_tensor(run["start"])).abs().max() > 0.1
            torch.testing.assert_close(as_tensor(result["weights"]), after, rtol=1e-6, atol=1e-6)


def as_tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_first_picture_is_trained(gallery) -> None:
    widget = gallery("TrainInThePage")
    check(widget, "ce")
    assert [row["training points"] for row in numbers(widget)] == ["200", "20", "2", "222"]
    head, middle, tail, mean = (round(v) for v in expected("ce"))
    said = says(widget).replace("\u00a0", " ")
    assert f"Cross-entropy after 200 steps: {head} / {middle} / {tail} % right, mean {mean} %." in said
    assert "Rarest class: tail, 2 of 222 training points." in said
    assert widget.locator(".lt-name").all_text_contents() == ["head", "middle", "tail"]
    assert widget.locator(".lt-reference").count() == 0


def area(widget: Locator, k: int) -> float:
    """Square pixels of the picture that belong to class k, by asking the picture at every fourth pixel."""
    return (
        widget.locator(".lt-region")
        .nth(k)
        .evaluate(
            """(node) => {
          const { width, height } = node.ownerSVGElement.viewBox.baseVal;
          let inside = 0;
          for (let x = 2; x < width; x += 4) for (let y = 2; y < height; y += 4)
            inside += node.isPointInFill(new DOMPoint(x, y)) ? 16 : 0;
          return inside / (width * height);
        }"""
        )
    )


def test_each_loss_trains_as_in_torch(gallery) -> None:
    widget = gallery("TrainInThePage")
    for loss in LOSSES[1:]:
        choose(widget, "Loss", LABELS[loss])
        check(widget, loss)
        assert widget.locator(".lt-reference").count() > 0
        assert says(widget).startswith(LABELS[loss][0].upper() + LABELS[loss][1:])


def test_the_loss_is_chosen_by_keyboard_and_moves_the_boundary(gallery) -> None:
    widget = gallery("TrainInThePage")
    regions = [area(widget, k) for k in range(3)]
    assert sum(regions) == pytest.approx(1, abs=0.02)
    select = widget.get_by_role("combobox", name="Loss", exact=True)
    select.focus()
    for _ in range(LOSSES.index("balanced_softmax")):
        select.press("ArrowDown")
    settle(widget)
    check(widget, "balanced_softmax")
    assert area(widget, 2) > regions[2] + 0.05
    assert area(widget, 0) < regions[0] - 0.05


def test_regions_are_those_of_the_scores(gallery) -> None:
    """The picture's own scales come from the rings: their centres are the means of the test points."""
    widget = gallery("TrainInThePage")
    choose(widget, "Network", "12 hidden units")
    choose(widget, "Loss", LABELS["balanced_softmax"])
    data = lt.widgets.TrainInThePage(network="tiny")
    points, labels = data.test_data()
    means = torch.stack([points[labels == k].mean(dim=0) for k in range(3)])
    rings: Any = widget.locator(".lt-ring").evaluate_all(
        "rings => rings.map(r => [r.cx.baseVal.value, r.cy.baseVal.value])"
    )
    unit = (rings[2][0] - rings[0][0]) / (means[2, 0] - means[0, 0]).item()
    pixels = (points - means[0]) * torch.tensor([unit, -unit]) + torch.tensor(rings[0])
    owners: Any = widget.locator("svg").first.evaluate(
        """(picture, places) => {
          const regions = [...picture.querySelectorAll(".lt-region")];
          return places.map(([x, y]) => regions.findIndex((r) => r.isPointInFill(new DOMPoint(x, y))));
        }""",
        pixels.tolist(),
    )
    weights = train("balanced_softmax", *data.training_data(), data.counts, data.first_weights(), STEPS)
    predicted = scores(points, weights, cosine=False).argmax(dim=1)
    # Points of the test set may lie outside the picture, and within a pixel of a curved boundary.
    agree = [o == p for o, p in zip(owners, predicted.tolist(), strict=True) if o >= 0]
    assert len(agree) > 890
    assert sum(agree) >= len(agree) - 9


def test_the_network_can_have_hidden_units(gallery) -> None:
    widget = gallery("TrainInThePage")
    choose(widget, "Loss", "GALA")
    widget.get_by_role("radio", name="linear", exact=True).focus()
    widget.page.keyboard.press("ArrowRight")
    settle(widget)
    check(widget, "gala", network="tiny")


def test_the_imbalance_factor_by_keyboard(gallery) -> None:
    widget = gallery("TrainInThePage")
    for factor in reversed(FACTORS[1:-2]):
        assert press(widget, "Imbalance factor", "ArrowLeft") == str(factor)
        counts = lt.data.class_counts(3, 200, factor)
        assert [int(value(row["training points"])) for row in numbers(widget)] == [*counts, sum(counts)]
    assert press(widget, "Imbalance factor", "Home") == "1"
    check(widget, "ce", imbalance_factor=1)
    assert "Every class has 200 of 600 training points." in says(widget)
    assert press(widget, "Imbalance factor", "End") == "200"
    check(widget, "ce", imbalance_factor=200)
    assert "Rarest class: tail, 1 of 215 training points." in says(widget)


def test_the_step_by_keyboard(gallery) -> None:
    widget = gallery("TrainInThePage")
    assert press(widget, "Training step", "Home") == "0"
    assert "before training" in says(widget)
    check(widget, "ce", step=0)
    assert press(widget, "Training step", "ArrowRight") == "1"
    assert "after 1 step:" in says(widget)
    check(widget, "ce", step=1)
    at = int(press(widget, "Training step", "PageUp"))
    assert at > 10
    check(widget, "ce", step=at)


def test_train_runs_from_the_start_and_pauses(gallery) -> None:
    widget = gallery("TrainInThePage")
    step = slider(widget, "Training step")
    button = widget.get_by_role("button", name=re.compile("^(Train|Pause)$"))
    button.focus()
    with leisurely(widget.page):
        button.press("Enter")
        expect(button).to_have_text("Pause")
        expect(step).not_to_have_value("0")  # the first frame is drawn after the label has changed
        button.press("Enter")
        expect(button).to_have_text("Train")
    paused = int(step.input_value())
    assert 0 < paused < STEPS
    check(widget, "ce", step=paused)
    assert int(step.input_value()) == paused
    click(widget, "Train")  # and on from where it stopped
    expect(button).to_have_text("Train", timeout=60_000)  # a hundred frames, of which a busy machine draws few a second
    assert step.input_value() == str(STEPS)
    check(widget, "ce")


def test_train_does_not_move_under_reduced_motion(gallery) -> None:
    widget = gallery("TrainInThePage", reduced_motion=True)
    assert press(widget, "Training step", "Home") == "0"
    click(widget, "Train")
    assert slider(widget, "Training step").input_value() == str(STEPS)
    assert widget.get_by_role("button", name="Pause", exact=True).count() == 0
    check(widget, "ce")
