"""The annotated source as a reader uses it: by pointer, by keyboard, without scripts, on a phone."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from controls import let_pass, settle
from playwright.sync_api import Browser, Locator, Page, expect

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import annotated

PAGE = "book/annotated/index"


@pytest.fixture
def gala(open_page: Callable[..., Page]) -> Locator:
    return open_page(PAGE).locator(".annotated").nth(list(annotated.losses()).index("gala"))


def lit(root: Locator) -> set[str]:
    """The symbols that are lit, in the code, in the equations and in the list."""
    return set(
        root.locator(".lit").evaluate_all(
            "nodes => nodes.map((n) => n.dataset.symbol ?? [...n.classList].find((c) => c.startsWith('sym-')).slice(4))"
        )
    )


def name(root: Locator, text: str) -> Locator:
    return root.locator(".annotated-name[role=button]").filter(has_text=re.compile(f"^{text}$")).first


def meaning(root: Locator) -> Locator:
    return root.page.locator(".annotated-meaning")


def test_every_symbol_is_marked_on_both_sides_and_explained(open_page: Callable[..., Page]) -> None:
    page = open_page(PAGE)
    assert page.locator(".annotated mjx-merror").count() == 0
    for root, loss in zip(page.locator(".annotated").all(), annotated.losses().values(), strict=True):
        for symbol, names in annotated.used(loss).items():
            word = annotated.ids()[symbol]
            expect(root.locator(f".annotated-symbol[data-symbol='{word}']")).to_have_count(1)
            assert not names or root.locator(f".annotated-name[data-symbol='{word}']").count(), symbol
            assert root.locator(f".annotated-legend .sym-{word}").count(), symbol


def test_pointing_at_a_name_or_at_a_formula_lights_both(gala: Locator) -> None:
    for target in (name(gala, "theta"), gala.locator(".annotated-equation .sym-theta").first):
        target.hover()
        assert lit(gala) == {"theta"}
        assert gala.locator(".annotated-code .lit").count() > 3
        assert gala.locator(".annotated-equation .lit").count() > 3
        expect(meaning(gala)).to_contain_text("accumulated positive gradients")
        back = gala.page.locator("#pst-back-to-top")
        back.evaluate("node => { node.style.visibility = 'visible'; }")  # as after scrolling up
        expect(back).to_be_hidden()  # it would lie over the meaning
        gala.page.locator("article h1").hover()
        assert lit(gala) == set()
        expect(meaning(gala)).to_be_hidden()


def test_the_keyboard_is_enough(gala: Locator) -> None:
    press = gala.page.keyboard.press
    first = name(gala, "lambda_pos")
    first.focus()
    press("Tab")
    press("Shift+Tab")
    expect(first).to_be_focused()
    assert first.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    assert lit(gala) == {"lambda-1"}
    expect(meaning(gala)).to_contain_text("lambda_pos")
    let_pass(gala)  # the page looks after a moment where a focus that was lost has gone
    press("Escape")
    assert lit(gala) == set()
    press("Enter")
    expect(first).to_have_attribute("aria-pressed", "true")
    assert lit(gala) == {"lambda-1"}
    first.evaluate("node => node.blur()")
    let_pass(gala)
    assert lit(gala) == {"lambda-1"}, "what Enter keeps stays"
    press("Escape")
    assert lit(gala) == set()


def test_without_scripts_both_columns_and_plain_tex_are_there(browser: Browser, html: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((html / f"{PAGE}.html").as_uri())
    code, notes = page.locator(".annotated-code").first, page.locator(".annotated-notes").first
    assert code.bounding_box()["x"] < notes.bounding_box()["x"]  # type: ignore[index]
    assert r"\theta" in page.locator("article").inner_text()
    assert r"\class" not in page.locator("article").inner_text()
    context.close()


def test_on_a_phone_the_equation_stands_below_its_lines(gala: Locator) -> None:
    gala.page.set_viewport_size({"width": 390, "height": 844})
    settle(gala)  # equations are set smaller where there is less room, and what stands below them moves up
    row = gala.locator(".annotated-row").nth(2)
    code, notes = (row.locator(f".annotated-{part}").bounding_box() for part in ("code", "notes"))
    assert code is not None
    assert notes is not None
    assert notes["y"] >= code["y"] + code["height"] - 1
    assert code["x"] + code["width"] <= 390
