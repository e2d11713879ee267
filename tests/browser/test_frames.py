"""`frames` on the built pages: the slider moves by keyboard, and another picture comes with its texts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from controls import turn
from playwright.sync_api import Locator, Page, expect

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import ROOT, toc_pages, widget_models


def stored_frames() -> dict[str, list[list[str]]]:
    """The frames of each page that has some, a list of HTML texts for each slider, from the state in its notebook."""
    found: dict[str, list[list[str]]] = {}
    for page in toc_pages():
        notebook = ROOT / f"{page}.ipynb"
        if not notebook.is_file():
            continue
        models = widget_models(notebook)
        for box in models.values():
            if "lt-frames" in box["state"].get("_dom_classes", []):
                stack = models[box["state"]["children"][-1].removeprefix("IPY_MODEL_")]["state"]
                children = [models[child.removeprefix("IPY_MODEL_")]["state"]["value"] for child in stack["children"]]
                found.setdefault(page, []).append(children)
    return found


FRAMES = stored_frames()
PLACES = [(page, place) for page, sliders in FRAMES.items() for place in range(len(sliders))]


def texts(page: Page, frame: str) -> tuple[str, str, str]:
    """The slider's value, the alternative text and the caption that a stored frame has."""
    return page.evaluate(
        """(html) => {
            const frame = new DOMParser().parseFromString(html, "text/html").querySelector("figure");
            const caption = frame.querySelector("figcaption");
            const value = caption.querySelector("strong").textContent.replace(/^[^:]*: /, "").replace(/[.]$/, "");
            return [value, frame.querySelector("img").alt, caption.textContent.trim()];
        }""",
        frame,
    )


def check(widget: Locator, expected: tuple[str, str, str]) -> None:
    """The frame is the one that is shown, drawn, and what the slider says."""
    value, alt, caption = expected
    picture = widget.locator("img")
    expect(picture).to_have_count(1)
    expect(picture).to_have_attribute("alt", alt)
    expect(widget.locator("figcaption")).to_have_text(caption)
    expect(widget.get_by_role("slider")).to_have_attribute("aria-valuetext", value)
    picture.evaluate("node => node.decode()")
    assert picture.bounding_box()["width"] > 250


def test_chapters_10_12_13_and_15_show_frames() -> None:
    names = ("10_recipe", "12_quantity_difficulty", "13_inside")
    assert set(FRAMES) == {f"book/part3_experiments/{name}" for name in names} | {"book/part4_beyond/15_large_data"}


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_frames_answer_and_fit(name: str, place: int, open_page, screenshot) -> None:
    page = open_page(name)
    frames = [texts(page, frame) for frame in FRAMES[name][place]]
    assert len({alt for _, alt, _ in frames}) == len({caption for *_, caption in frames}) == len(frames)
    widget = page.locator(".lt-frames").nth(place)
    walk(widget, frames)
    name_and_focus(page, widget)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            turn(page, theme)
            screenshot(widget, f"frames/{Path(name).name}-{place}-{theme}-{width}")
        inner, outer = widget.locator("img").bounding_box(), widget.bounding_box()
        assert inner["x"] >= outer["x"]
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


def walk(widget: Locator, frames: list[tuple[str, str, str]]) -> None:
    """The keyboard reaches every frame."""
    handle = widget.get_by_role("slider")
    check(widget, frames[0])
    handle.focus()
    for expected in frames[1:]:
        handle.press("ArrowRight")
        check(widget, expected)
    handle.press("Home")
    check(widget, frames[0])
    handle.press("End")
    check(widget, frames[-1])


def name_and_focus(page: Page, widget: Locator) -> None:
    """The slider has a name, shows the focus, announces the frame and is one stop of the Tab key, not more."""
    label = widget.locator(".widget-slider label").inner_text()
    handle = widget.get_by_role("slider", name=label, exact=True)
    expect(handle).to_have_count(1)
    expect(widget.locator("[aria-live=polite] figcaption")).to_have_count(1)
    handle.focus()
    page.keyboard.press("ArrowLeft")
    ring = handle.evaluate("node => getComputedStyle(node).outlineStyle + ' ' + getComputedStyle(node).outlineWidth")
    assert ring == "solid 3px"
    page.keyboard.press("Tab")
    assert not widget.evaluate("node => node.contains(document.activeElement)")
