"""Every page of the book: complete by itself, readable in both themes, no wider than a phone, its widgets alive.

One load a page serves all tests of this module: opening a chapter with its mathematics takes seconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from controls import FRAMES, VERDICT, answer, numbers, questions, says, settle, turn
from playwright.sync_api import Locator, Page, expect

import lt_core as lt

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import ROOT, toc_pages, widget_models

CHAPTERS = [name for name in toc_pages() if re.search(r"/\d\d_", name)]
KINDS = [name for name in lt.widgets.__all__ if name[0].isupper()]
GALLERY = "book/appendix/widgets"
PLACES = {
    "book/index": ["TrainInThePage"],
    "book/part1_long_tail/01_data": ["LongTail", "PerClass"],
    "book/part1_long_tail/02_gradients": ["GradientFlow"],
    "book/part1_long_tail/03_rebalancing": ["GradientFlow"],
    "book/part2_adjusting/04_logit_adjustment": ["GradientFlow", "PriorShift"],
    "book/part2_adjusting/05_margins": ["MarginCurves"],
    "book/part2_adjusting/06_ala": ["CosineAngle"],
    "book/part2_adjusting/07_gala": ["GalaAccumulators"],
    "book/part2_adjusting/08_rebalancing_predictions": ["Rebalance"],
    "book/part2_adjusting/09_one_family": ["TrainInThePage"],
    "book/part3_experiments/11_cifar100_lt": ["PerClass"],
    "book/part4_beyond/14_other_answers": ["MethodTable"],
    GALLERY: sorted(KINDS),
}

# Some time after a change of size the theme puts what scrolls sideways into the Tab order.
REACHABLE = """() => [...document.querySelectorAll('pre, .cell_output > .output, .pst-scrollable-table-container')]
  .every((node) => node.scrollWidth <= node.clientWidth || node.tabIndex === 0)"""
# What is wider than its place scrolls and fades at the edge where there is more.
SCROLLING = "div.math mjx-container, div.highlight pre, .pst-scrollable-table-container, .cell_output > .output"
FADED = """(selector) => [...document.querySelectorAll(selector)].every(
  (node) => node.scrollWidth <= node.clientWidth + 1 || node.classList.contains('more-right')
    || node.closest('details:not([open])'))"""
CUT = """(selector) => [...document.querySelectorAll(selector)]
  .filter((node) => node.scrollWidth > node.clientWidth + 1)
  .map((node) => `${node.parentElement.id} by ${node.scrollWidth - node.clientWidth} pixels`)"""
BEYOND = """() => [...document.querySelectorAll('p mjx-container mjx-math')]
  .filter((node) => !node.closest('table') && node.getBoundingClientRect().right > innerWidth)
  .map((node) => node.textContent)"""

# A wrong answer by script, since there are hundreds: what the page says, and how many reasons it gives.
MISTAKE = """(fieldset, [place, text]) => {
  const input = fieldset.querySelectorAll('input')[place];
  if (text === null) input.checked = true;
  else input.value = text;
  input.dispatchEvent(new Event('input', { bubbles: true }));
  fieldset.querySelector('.quiz-check').click();
  const told = fieldset.querySelector('.quiz-feedback');
  return [told.querySelector('.quiz-verdict').textContent, told.querySelectorAll('.quiz-why').length];
}"""
PHONE = {"width": 390, "height": 844}
# What of a table its box hides, and the words to find it by. A widget's table is the widget's matter.
HIDDEN = """() => [...document.querySelectorAll('article table')].filter((table) => !table.closest('.lt-widget'))
  .map((table) => {
    const box = table.closest('.output, .pst-scrollable-table-container') ?? table.parentElement;
    const header = [...table.querySelectorAll('th')].slice(0, 4).map((cell) => cell.textContent.trim()).join(' | ');
    const mask = getComputedStyle(box).maskImage;
    return { header, hidden: box.scrollWidth - box.clientWidth, hint: mask.includes('gradient') };
  })"""
# Numbers over two lines: text nodes of cells that are not marked as words.
BROKEN = r"""() => [...document.querySelectorAll('article table.dataframe td:not(.words)')].filter((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return /\d/.test(cell.textContent) && new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size > 1;
  }).map((cell) => cell.textContent)"""
PAPER = {"width": 673, "height": 1000}  # what A4 leaves beside the margins of print.css
CLIPPED = """() => [...document.querySelectorAll('pre, mjx-container[display], .cell_output > .output, table')]
  .filter((node) => node.offsetParent && node.getBoundingClientRect().right > innerWidth + 1)
  .map((node) => node.textContent.slice(0, 60))"""


def stored_kinds(page: str) -> list[str]:
    """The widgets of a page, from the state that its notebook stores."""
    notebook = ROOT / f"{page}.ipynb"
    if not notebook.is_file():
        return []
    names = [m["state"].get("_anywidget_id", "").rpartition(".")[2] for m in widget_models(notebook).values()]
    return sorted(name for name in names if name)


def test_every_widget_is_on_the_page_of_its_idea_and_in_the_gallery() -> None:
    assert {page: kinds for page in toc_pages() if (kinds := stored_kinds(page))} == PLACES


def every(names: list[str]) -> pytest.MarkDecorator:
    """The test once for each of these pages; tests of one page come one after the other, and open it once."""
    return pytest.mark.parametrize("loaded", names, indirect=True, scope="module")


@every(toc_pages())
def test_every_table_is_whole_on_a_desktop_and_hints_on_a_phone(page: Page) -> None:
    cut = [f"{table['header']}: {table['hidden']} pixels" for table in page.evaluate(HIDDEN) if table["hidden"] > 0]
    broken = page.evaluate(BROKEN)
    page.set_viewport_size(PHONE)
    page.evaluate(FRAMES)
    broken += page.evaluate(BROKEN)
    silent = [table["header"] for table in page.evaluate(HIDDEN) if table["hidden"] > 1 and not table["hint"]]
    assert broken == [], "values over two lines"
    assert cut == [], "tables wider than the column at 1280 pixels"
    assert silent == [], "tables that scroll on a phone and do not fade at their edge"


@every(toc_pages())
def test_page(
    request: pytest.FixtureRequest,
    page: Page,
    axe: Callable[..., list[str]],
    screenshot: Callable[[Page | Locator, str], Path],
) -> None:
    name = str(request.node.callspec.params["loaded"])
    kinds = PLACES.get(name, [])
    found = []
    for theme, rules in (("light", "all"), ("dark", "colour")):
        turn(page, theme)
        found += [f"{theme}: {violation}" for violation in axe(page, rules=rules)]
        screenshot(page, f"{name}-{theme}")
        for kind in kinds:
            screenshot(find(page, kind), f"{name}-{kind}-{theme}")
    for width in (1280, 768, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate(FRAMES)  # widgets and formulas are drawn for this width
        page.wait_for_function(FADED, arg=SCROLLING)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.evaluate(BEYOND) == [], f"formulas in the text at {width} pixels"
        if width == 1280:
            assert page.evaluate(CUT, "div.math mjx-container") == [], "displays that a desktop cuts"
    page.evaluate("() => document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    page.wait_for_function(FADED, arg=SCROLLING)
    page.evaluate("() => document.querySelectorAll('details').forEach((node) => { node.open = false; })")
    page.set_viewport_size({"width": 360, "height": 800})
    page.evaluate(FRAMES)
    page.wait_for_function(REACHABLE)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    found += [f"360 pixels: {violation}" for violation in axe(page, rules="narrow")]
    for kind in kinds:
        widget = find(page, kind)
        assert sticks_out(widget) == [], f"{kind} at 360 pixels"
        screenshot(widget, f"{name}-{kind}-phone")
        answers(kind, widget)
    assert not found, "\n".join(found)


@every(CHAPTERS)
def test_print_clips_nothing_and_has_no_solutions(page: Page) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)
    expect(page.locator("article h1")).to_be_visible()
    expect(page.locator("div.exercise").first).to_be_visible()
    for solution in page.locator("div.solution").all():
        expect(solution).to_be_hidden()
    page.evaluate(FRAMES)  # formulas are set for the paper's width
    assert page.evaluate(CLIPPED) == []


@every(CHAPTERS)
def test_the_right_answers_are_right_on_the_page_and_every_mistake_has_its_reason(
    request: pytest.FixtureRequest, page: Page
) -> None:
    name = Path(request.node.callspec.params["loaded"]).name
    fieldsets = page.locator(".quiz-question")
    expect(fieldsets).to_have_count(len(questions(name)))
    assert page.locator(".quiz mjx-merror").count() == 0
    assert not re.search(r"\\\(|\{[a-z]+\}`|\$", page.locator(".quiz").inner_text())
    for place, question in enumerate(questions(name)):
        fieldset = fieldsets.nth(place)
        for number, option in enumerate(question.options):
            if option.right or question.kind == "several":
                continue
            mistake = [0, f"{option.value:g}"] if question.kind == "number" else [number, None]
            assert fieldset.evaluate(MISTAKE, mistake) == ["Not right.", 1]
        answer(fieldset, question)
        expect(fieldset.locator(VERDICT)).to_have_count(0)  # an answer that changes takes the verdict away
        fieldset.get_by_role("button", name="Check").click()
        expect(fieldset.locator(VERDICT)).to_contain_text("Right")
    total = len(questions(name))
    expect(page.locator(".quiz-score")).to_have_text(f"{total} of {total} solved.")


def find(page: Page, kind: str) -> Locator:
    widget = page.locator(f'.lt-widget[data-kind="{kind}"][data-ready]')
    widget.scroll_into_view_if_needed()
    settle(widget)
    return widget


def answers(kind: str, widget: Locator) -> None:
    """Every slider shows the focus and moves by an arrow key, and one at least changes what the widget says.

    A widget that is a table has no slider; the buttons in its head answer.
    """
    focusable = widget.locator("input, select, button, summary, [tabindex]")
    marked = focusable.evaluate_all("nodes => nodes.map((node) => 'lmSuppressShortcuts' in node.dataset)")
    assert all(marked), f"{kind}: JupyterLab would take the arrow keys"
    if kind == "MethodTable":
        text, button = says(widget), widget.locator("thead button").first
        button.press("Enter")
        settle(widget)
        assert button.evaluate("node => getComputedStyle(node).outlineStyle") == "solid", f"{kind}: no focus ring"
        assert says(widget) != text, f"{kind}: no button changes what it says"
        return
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


def sticks_out(widget: Locator) -> list[str]:
    """Parts of the widget that are wider than it."""
    return widget.evaluate(
        """node => [...node.querySelectorAll('.lt-controls *, .lt-picture, .lt-status')].filter((part) => {
            const [inner, outer] = [part.getBoundingClientRect(), node.getBoundingClientRect()];
            return inner.width && (inner.right > outer.right + 1 || inner.left < outer.left - 1);
        }).map((part) => part.outerHTML.slice(0, 80))"""
    )
