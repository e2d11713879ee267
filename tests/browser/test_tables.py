"""Tables: none is wider than its column on a desktop, no value is broken, and a phone shows that there is more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from controls import FRAMES
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import toc_pages

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


@pytest.mark.parametrize("name", toc_pages())
def test_every_table_is_whole_on_a_desktop_and_hints_on_a_phone(name: str, open_page: Callable[..., Page]) -> None:
    page = open_page(name)
    cut = [f"{table['header']}: {table['hidden']} pixels" for table in page.evaluate(HIDDEN) if table["hidden"] > 0]
    broken = page.evaluate(BROKEN)
    page.set_viewport_size(PHONE)
    page.evaluate(FRAMES)
    broken += page.evaluate(BROKEN)
    silent = [table["header"] for table in page.evaluate(HIDDEN) if table["hidden"] > 1 and not table["hint"]]
    assert broken == [], "values over two lines"
    assert cut == [], "tables wider than the column at 1280 pixels"
    assert silent == [], "tables that scroll on a phone and do not fade at their edge"


def test_numbers_stand_to_the_right_words_to_the_left_under_one_header(open_page: Callable[..., Page]) -> None:
    page = open_page("book/part1_long_tail/01_data")
    cells = page.locator("article table.dataframe tbody td").evaluate_all(
        """cells => cells.map((cell) => [cell.textContent, cell.matches('.words'), getComputedStyle(cell).textAlign])"""
    )
    assert len(cells) > 50
    for text, words, side in cells:
        assert side == ("left" if words else "right"), text
    empty = "rows => rows.filter((row) => [...row.cells].slice(1).every((cell) => !cell.textContent)).length"
    assert page.locator("article table.dataframe thead tr").evaluate_all(empty) == 0
