"""The built folder as a whole: mathematics, search and navigation without a server. Its pages: test_built_pages.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import toc_pages

PAGES = toc_pages()


def test_mathematics_is_typeset_from_the_folder(open_page: Callable[..., Page]) -> None:
    page = open_page("book/part1_long_tail/02_gradients")
    fonts = page.evaluate("document.fonts.ready.then(() => [...document.fonts].map((f) => f.family + ' ' + f.status))")
    assert "MJXTEX loaded" in fonts
    assert page.locator("div.math mjx-container").count() > 5
    assert page.locator("mjx-merror").count() == 0


def test_the_folder_can_be_walked_and_searched_without_a_server(open_page: Callable[..., Page]) -> None:
    page = open_page("book/index")
    page.get_by_role("link", name="next").first.click()
    expect(page).to_have_url((Path(__file__).parents[2] / "_build" / "html" / f"{PAGES[1]}.html").as_uri())
    found = open_page("search")
    found.get_by_role("searchbox").last.fill("accumulated gradients")
    found.get_by_role("searchbox").last.press("Enter")
    expect(found.locator("#search-results li").first).to_be_visible()


def test_a_request_that_leaves_the_folder_is_recorded(open_page: Callable[..., Page]) -> None:
    page = open_page("book/index")
    recorder = open_page.recorder  # type: ignore[attr-defined]
    page.evaluate("() => fetch('https://example.org/').catch(() => null)")
    page.evaluate("() => console.error('a complaint')")
    page.wait_for_timeout(100)
    assert any("external request: https://example.org/" in problem for problem in recorder.problems)
    assert any("a complaint" in problem for problem in recorder.problems)
    recorder.problems.clear()
