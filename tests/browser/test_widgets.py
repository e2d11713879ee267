"""What holds for every widget on every page of the built book."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from controls import numbers, says, settle
from playwright.sync_api import Locator, Page

import lt_core as lt

ROOT = Path(__file__).resolve().parents[2]
KINDS = [name for name in lt.widgets.__all__ if name[0].isupper()]
GALLERY = "book/appendix/widgets"
STATE = "application/vnd.jupyter.widget-state+json"


def kinds_by_page() -> dict[str, list[str]]:
    """The widgets of each page, from the state that its notebook stores."""
    found: dict[str, list[str]] = {}
    for page in re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8")):
        notebook = ROOT / f"{page}.ipynb"
        if not notebook.is_file():
            continue
        metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
        models = metadata.get("widgets", {}).get(STATE, {}).get("state", {}).values()
        names = [model["state"].get("_anywidget_id", "").rpartition(".")[2] for model in models]
        if any(names):
            found[page] = sorted(name for name in names if name)
    return found


PAGES = kinds_by_page()


def find(page: Page, kind: str) -> Locator:
    widget = page.locator(f'.lt-widget[data-kind="{kind}"]')
    widget.scroll_into_view_if_needed()
    page.wait_for_selector(f'.lt-widget[data-kind="{kind}"][data-ready]')
    return widget


def test_the_gallery_shows_every_widget() -> None:
    assert PAGES[GALLERY] == sorted(KINDS)


def test_every_widget_is_on_the_page_of_its_idea() -> None:
    expected = {
        "book/index": ["TrainInThePage"],
        "book/part1_long_tail/01_data": ["LongTail", "PerClass"],
        "book/part1_long_tail/02_gradients": ["GradientFlow"],
        "book/part2_adjusting/06_ala": ["CosineAngle", "MarginCurves"],
        "book/part2_adjusting/07_gala": ["GalaAccumulators"],
        "book/part3_experiments/11_cifar100_lt": ["PerClass"],
        "book/part3_experiments/12_analysis": ["Rebalance"],
    }
    assert {page: kinds for page, kinds in PAGES.items() if page != GALLERY} == expected


def stick_out(widget: Locator) -> list[str]:
    """Parts of the widget that are wider than it."""
    return widget.evaluate(
        """node => [...node.querySelectorAll('.lt-controls *, .lt-picture, .lt-status')].filter((part) => {
            const [inner, outer] = [part.getBoundingClientRect(), node.getBoundingClientRect()];
            return inner.width && (inner.right > outer.right + 1 || inner.left < outer.left - 1);
        }).map((part) => part.outerHTML.slice(0, 80))"""
    )


@pytest.mark.parametrize("name", PAGES)
def test_widgets_are_legible_in_both_themes_and_on_a_phone(name: str, open_page, screenshot) -> None:
    """Pictures for the eye, kept as artefacts; nothing sticks out of a widget at either width."""
    page = open_page(name)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
            for kind in PAGES[name]:
                widget = find(page, kind)
                settle(widget)
                assert stick_out(widget) == [], f"{kind} at {width} pixels"
                screenshot(widget, f"widgets/{kind}-{Path(name).name}-{theme}-{width}")


@pytest.mark.parametrize("name", PAGES)
def test_every_control_answers_to_the_keyboard(name: str, open_page) -> None:
    """Every slider shows the focus, moves by an arrow key, and one at least changes what the widget says."""
    page = open_page(name)
    for kind in PAGES[name]:
        widget = find(page, kind)
        assert numbers(widget), f"{kind} has no table"
        changed = False
        for control in widget.get_by_role("slider").all():
            if not control.is_visible() or control.is_disabled():
                continue
            label, text = control.get_attribute("aria-valuetext"), says(widget)
            control.focus()
            ring = control.evaluate("node => getComputedStyle(node).outlineStyle + getComputedStyle(node).outlineWidth")
            assert ring == "solid3px", f"{kind}: no focus ring"
            control.press("ArrowLeft" if control.input_value() == control.get_attribute("max") else "ArrowRight")
            settle(widget)
            assert control.get_attribute("aria-valuetext") != label, f"{kind}: the slider stays where it is"
            changed |= says(widget) != text
        assert changed, f"{kind}: no slider changes what it says"
