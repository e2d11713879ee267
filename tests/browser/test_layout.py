"""Every widget under the hand: nothing moves while a slider is dragged, and a phone shows picture and controls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import READER
from controls import choose, says, settle, slider
from playwright.sync_api import Locator

import lt_core as lt

PHONE = {"width": 390, "height": 844}
DESK = READER["viewport"]
DRAG_STEPS = 12
# Sliders that another choice hides, or leaves without effect: the choice, the option that it takes, the slider.
CHOSEN = [
    ("GalaAccumulators", "Form", "formula", "λ₂, on φ"),
    ("MarginCurves", "Also show", "a power", "Exponent of the power"),
    ("MarginCurves", "Against", "the angle", "CosFace subtracts"),
    ("MarginCurves", "Against", "the angle", "ArcFace adds"),
    ("MarginCurves", "Against", "the angle", "SphereFace multiplies"),
    ("GradientFlow", "Loss", "focal loss", "Focusing γ"),
    ("GradientFlow", "Loss", "logit-adjusted loss", "Strength τ"),
    ("GradientFlow", "Loss", "GALA", "Strength λ₁"),
    ("GradientFlow", "Loss", "ALA", "Cosine of tail"),
]
SLIDERS = {
    "TrainInThePage": ["Imbalance factor", "Training step"],
    "LongTail": ["Imbalance factor", "Class"],
    "PerClass": ["Class"],
    "GradientFlow": [f"Logit of {name}" for name in ("head", "medium", "rare", "tail")],
    "MarginCurves": ["Target cosine", "Images of the class"],
    "CosineAngle": ["Angle of the feature"],
    "GalaAccumulators": ["Training step", "λ₁, on θ", "λ₂, on φ"],
    "PriorShift": ["Head images for one of the tail", "Distance of the centres", "Strength τ"],
    "Rebalance": ["Strength τ"],
    "MethodTable": [],  # a table: nothing to drag, and no picture
}
AT_ONCE = [(kind, "", "", label) for kind, labels in SLIDERS.items() for label in labels if label != "λ₂, on φ"]

# Where what can be used begins and ends, on the screen.
ENDS = """node => {
  const boxes = [...node.querySelectorAll('input, select, button')].map((e) => e.getBoundingClientRect());
  const shown = boxes.filter((box) => box.width);
  return [Math.min(...shown.map((box) => box.top)), Math.max(...shown.map((box) => box.bottom))];
}"""
# Left and top edges of what can be used and of the words beside it, in the page.
PLACES = """node => [...node.querySelectorAll('input, select, button, label, legend')]
  .map((e) => e.getBoundingClientRect()).flatMap((box) => [box.left + scrollX, box.top + scrollY])"""


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def screen(request: pytest.FixtureRequest, gallery_page) -> Iterator[dict[str, int]]:
    """The gallery on a screen of this size."""
    page, _ = gallery_page
    page.set_viewport_size(request.param)
    yield request.param
    page.set_viewport_size(DESK)


def test_every_slider_is_tried(gallery) -> None:
    """Those that are shown at first; the hidden ones are named above."""
    assert set(SLIDERS) == {name for name in lt.widgets.__all__ if name[0].isupper()}
    for kind, labels in SLIDERS.items():
        shown = [control for control in gallery(kind).get_by_role("slider").all() if control.is_visible()]
        assert [control.evaluate("node => node.labels[0].textContent") for control in shown] == labels


@pytest.mark.parametrize(("kind", "choice", "option", "label"), AT_ONCE + CHOSEN)
def test_no_control_moves_while_a_slider_is_dragged(
    kind: str, choice: str, option: str, label: str, screen: dict[str, int], gallery
) -> None:
    widget = gallery(kind)
    if choice:
        choose(widget, choice, option)
    said, moved = drag(widget, label)
    assert len(said) > 1
    assert moved <= 1


@pytest.mark.parametrize("screen", [PHONE], ids=["phone"], indirect=True)
def test_the_measure_notices_a_sentence_above_the_controls(screen: dict[str, int], gallery) -> None:
    widget = gallery("GalaAccumulators")
    widget.evaluate("node => node.querySelector('.lt-controls').before(node.querySelector('.lt-status'))")
    loose = "<style>.lt-status { min-height: 0 !important; order: 0 !important; }</style>"
    widget.evaluate("(node, sheet) => node.insertAdjacentHTML('beforeend', sheet)", loose)
    assert drag(widget, "Training step")[1] > 10


def drag(widget: Locator, label: str) -> tuple[set[str], float]:
    """Drag a slider from one end to the other; what the widget said, and how far anything moved away, in pixels."""
    control, mouse = slider(widget, label), widget.page.mouse
    control.scroll_into_view_if_needed()
    box = control.bounding_box()
    y = box["y"] + box["height"] / 2
    mouse.move(box["x"] + 2, y)
    mouse.down()
    settle(widget)
    assert control.input_value() == control.get_attribute("min")
    rest, said, moved = widget.evaluate(PLACES), {says(widget)}, 0.0
    for step in range(1, DRAG_STEPS + 1):
        mouse.move(box["x"] + 2 + (box["width"] - 4) * step / DRAG_STEPS, y)
        settle(widget)
        said.add(says(widget))
        places = widget.evaluate(PLACES)
        moved = max(moved, *(abs(now - before) for now, before in zip(places, rest, strict=True)))
    assert control.input_value() == control.get_attribute("max")
    mouse.up()
    return said, moved


@pytest.mark.parametrize("kind", [kind for kind, labels in SLIDERS.items() if labels])
@pytest.mark.parametrize("screen", [PHONE], ids=["phone"], indirect=True)
def test_a_phone_shows_a_picture_together_with_its_controls(kind: str, screen: dict[str, int], gallery) -> None:
    widget = gallery(kind)
    for choice, option in [("", ""), *((choice, option) for name, choice, option, _ in CHOSEN if name == kind)]:
        if choice:
            choose(widget, choice, option)
        room = screen["height"] - widget.page.locator(".bd-header-article").bounding_box()["height"]
        top, bottom = widget.evaluate(ENDS)
        pictures = [picture.bounding_box() for picture in widget.locator(".lt-picture").all()]
        assert bottom - pictures[0]["y"] <= room, "the controls end below the screen"
        if len(pictures) > 1:
            assert bottom <= pictures[1]["y"] + 1, "the second picture stands above the controls"
            assert pictures[1]["y"] + pictures[1]["height"] - top <= room
