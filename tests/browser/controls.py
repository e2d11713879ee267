"""Using a widget or a quiz as a reader does: by the labels of controls, through the keyboard, reading what it says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import quiz

VERDICT = ".quiz-feedback .quiz-verdict"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
TIME = "(_, milliseconds) => new Promise((done) => setTimeout(done, milliseconds))"
# Frames of a fifth of a second, and intervals five times as long: a training takes twenty seconds.
LEISURE = """() => {
  const { requestAnimationFrame, cancelAnimationFrame, setInterval } = window;
  window.hurry = () => Object.assign(window, { requestAnimationFrame, cancelAnimationFrame, setInterval });
  window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 200);
  window.cancelAnimationFrame = clearTimeout;
  window.setInterval = (tick, time) => setInterval(tick, 5 * time);
}"""


def settle(widget: Locator) -> None:
    """Wait until what was changed is drawn."""
    widget.evaluate(FRAMES)


def let_pass(node: Locator, milliseconds: int = 0) -> None:
    """Let this time pass in the page: a timer of the page that was due before is over, however slow the machine is."""
    node.evaluate(TIME, milliseconds)


@contextmanager
def leisurely(page: Page) -> Iterator[None]:
    """What moves by itself moves slowly: a test meets it halfway on a machine that keeps the test waiting, too."""
    page.evaluate(LEISURE)
    try:
        yield
        page.evaluate(FRAMES)  # no slow frame is left, which the page's own function could not cancel
    finally:
        page.evaluate("() => window.hurry()")


def turn(page: Page, theme: str) -> None:
    """Let the reader's system change its colours; the page follows, and its transitions are over."""
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
    page.evaluate("() => document.getAnimations().forEach((animation) => animation.finish())")


def slider(widget: Locator, label: str) -> Locator:
    return widget.get_by_role("slider", name=label, exact=True)


def press(widget: Locator, label: str, *keys: str) -> str:
    """Focus the slider and press keys ("Home", "End", "ArrowRight", …); returns the value it then announces."""
    control = slider(widget, label)
    control.focus()
    for key in keys:
        control.press(key)
    settle(widget)
    return control.get_attribute("aria-valuetext") or ""


def put(widget: Locator, label: str, value: float) -> str:
    """Move the slider to a place in its own units (the logarithm, or the index, where it has those)."""
    control = slider(widget, label)
    control.evaluate("(node, v) => { node.value = v; node.dispatchEvent(new Event('input', {bubbles: true})); }", value)
    settle(widget)
    return control.get_attribute("aria-valuetext") or ""


def choose(widget: Locator, label: str, option: str) -> None:
    """Choose an option of a radio group or of a select."""
    group = widget.get_by_role("group", name=label, exact=True)
    if group.count():
        group.get_by_role("radio", name=option, exact=True).check()
    else:
        widget.get_by_role("combobox", name=label, exact=True).select_option(label=option)
    settle(widget)


def toggle(widget: Locator, label: str) -> None:
    box = widget.get_by_role("checkbox", name=label, exact=True)
    box.focus()
    box.press("Space")
    settle(widget)


def click(widget: Locator, label: str) -> None:
    button = widget.get_by_role("button", name=label, exact=True)
    button.focus()
    button.press("Enter")
    settle(widget)


def says(widget: Locator) -> str:
    """The result in words."""
    return widget.locator(".lt-status").inner_text()


def numbers(widget: Locator) -> list[dict[str, str]]:
    """The widget's table: a row as {column: text}."""
    details = widget.locator("details.lt-numbers")
    if details.get_attribute("open") is None:
        details.locator("summary").press("Enter")
    details.locator("tr").first.wait_for(state="attached")  # the table is made after the event that opens it
    settle(widget)
    rows: Any = details.locator("tr").evaluate_all("rows => rows.map(r => [...r.cells].map(c => c.textContent))")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def value(text: str) -> float:
    """A number as the widgets write it: with thousands separators, a minus sign, perhaps a unit."""
    return float(text.replace(",", "").replace("−", "-").split()[0])


def questions(name: str) -> list[quiz.Question]:
    return quiz.read(quiz.FOLDER / f"{name}.yaml")


def answer(fieldset: Locator, question: quiz.Question) -> None:
    """Give the right answer."""
    if question.kind == "number":
        fieldset.get_by_role("textbox").fill(f"{question.options[0].value:g}")
        return
    for place, option in enumerate(question.options):
        if option.right:
            fieldset.locator(".quiz-option input").nth(place).check()
