"""The built folder as a whole: search, navigation, print, numbers, without a server. Its pages: test_built_pages.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import toc_pages

PAGES = toc_pages()
CHAPTER = "book/part2_adjusting/06_ala"


def test_mathematics_is_typeset_from_the_folder(open_page: Callable[..., Page]) -> None:
    page = open_page("book/part1_long_tail/02_gradients")
    loaded = "({ family, status }) => family === 'MJXTEX' && status === 'loaded'"
    page.wait_for_function(f"() => [...document.fonts].some({loaded})")  # not before the formulas are drawn
    assert page.locator("div.math mjx-container").count() > 5
    assert page.locator("mjx-merror").count() == 0


def test_the_folder_can_be_walked_without_a_server(open_page: Callable[..., Page]) -> None:
    page = open_page("book/index")
    page.get_by_role("link", name="next").first.click()
    expect(page).to_have_url((Path(__file__).parents[2] / "_build" / "html" / f"{PAGES[1]}.html").as_uri())


def search(page: Page, words: str) -> None:
    page.get_by_role("searchbox").last.fill(words)
    page.get_by_role("searchbox").last.press("Enter")
    page.wait_for_url(re.compile(r"search\.html\?q="))


@pytest.mark.parametrize("words", ["accumulated gradients", "re-balancing", "rebalancing", "cite", "license"])
def test_search_leads_to_a_section(open_page: Callable[..., Page], words: str) -> None:
    page = open_page("search")
    search(page, words)
    found = page.locator("#search-results li")
    expect(found.first).to_be_visible()
    marked = page.locator("#search-results mark").all_inner_texts()
    stems = [re.sub(r"(ing|ed|s|e)$", "", word.replace("-", "")) for word in words.split()]
    assert marked
    assert all(any(mark.lower().replace("-", "").startswith(stem) for stem in stems) for mark in marked), marked
    assert "\\" not in page.locator("#search-results").inner_text()
    section = page.locator("#search-results a[href*='#']").first
    anchor = section.get_attribute("href").partition("#")[2]  # type: ignore[union-attr]
    section.click()
    page.wait_for_url(f"**#{anchor}")  # until it is loaded: a page with widgets is heavy
    expect(page.locator(f"[id='{anchor}']")).to_be_in_viewport()


def test_search_says_that_nothing_was_found(open_page: Callable[..., Page]) -> None:
    page = open_page("search")
    search(page, "xyzzy")
    expect(page.get_by_role("status")).to_have_text("No sections found for “xyzzy”.")


@pytest.mark.parametrize("width", [390, 768, 991])
@pytest.mark.parametrize(("button", "side"), [("Chapters", "primary"), ("On this page", "secondary")])
def test_a_drawer_opens_and_closes(open_page: Callable[..., Page], width: int, button: str, side: str) -> None:
    page = open_page(CHAPTER)
    page.set_viewport_size({"width": width, "height": 800})
    opener = page.locator(".bd-header-article").get_by_role("button", name=button)
    drawer = page.locator(f"#pst-{side}-sidebar-modal")
    opener.click()
    expect(drawer.get_by_role("link").nth(1)).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(drawer.locator("> *")).to_have_count(0)  # the theme puts what it held back into the page after a moment
    opener.click()
    drawer.get_by_role("button", name="Close").click()
    expect(drawer).to_be_hidden()
    expect(drawer.locator("> *")).to_have_count(0)
    opener.click()
    link = drawer.get_by_role("link").nth(2)
    target = link.get_attribute("href")
    link.click()
    page.wait_for_url(lambda address: address.endswith(target.lstrip("./")))  # type: ignore[union-attr]
    expect(page.locator(f"#pst-{side}-sidebar-modal")).to_be_hidden()


def test_the_sidebar_folds_on_a_wide_screen(open_page: Callable[..., Page]) -> None:
    page = open_page(CHAPTER)
    button = page.locator(".bd-header-article").get_by_role("button", name="Chapters")
    sidebar = page.locator("#pst-primary-sidebar")
    expect(sidebar).to_be_visible()
    button.click()
    expect(sidebar).to_be_hidden()
    button.click()
    expect(sidebar).to_be_visible()


@pytest.mark.parametrize("width", [390, 768, 991, 1280])
def test_a_way_to_search_is_in_sight(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(PAGES[-1])  # whose place in the list of chapters is far down
    page.set_viewport_size({"width": width, "height": 500})
    if width > 991:
        expect(page.locator("#pst-primary-sidebar .search-button-field")).to_be_in_viewport(ratio=1)
    page.locator(".bd-header-article .search-button").click()
    expect(page.locator("#pst-search-dialog").get_by_role("searchbox")).to_be_focused()
    bar = page.locator(".bd-header-article").bounding_box()
    assert bar is not None
    assert bar["y"] < 1, "an empty bar stands above the article's"


def test_escape_closes_a_menu(open_page: Callable[..., Page]) -> None:
    page = open_page(CHAPTER)
    menu = page.locator(".dropdown-download-buttons .dropdown-menu")
    page.locator(".dropdown-download-buttons > button").click()
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.locator(".dropdown-download-buttons > button").click()
    expect(menu).to_be_visible()


def test_a_solution_opens_by_its_title(open_page: Callable[..., Page]) -> None:
    page = open_page(CHAPTER)
    solution = page.locator("div.solution").first
    content = solution.locator("#solution-content")
    expect(content).to_be_hidden()
    title = solution.locator(".admonition-title")
    assert title.get_by_role("link").count() == 0
    before = page.url
    title.click(position={"x": 120, "y": 15})
    expect(content).to_be_visible()
    assert page.url == before


def test_a_line_has_75_to_80_characters_on_wide_screens(open_page: Callable[..., Page]) -> None:
    page = open_page("book/index")
    for width in (1280, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        lines = (
            page.locator("article section > p")
            .nth(1)
            .evaluate(
                """(node) => {
                const [text, range, tops] = [node.textContent, document.createRange(), new Set()];
                range.selectNodeContents(node);
                for (const box of range.getClientRects()) tops.add(Math.round(box.top / 8));
                return text.length / (tops.size - 0.5);
            }"""
            )
        )
        assert 65 <= lines <= 90, f"{lines:.0f} characters a line at {width} pixels"


@pytest.mark.parametrize(("name", "widgets", "formulas"), [("book/index", 1, 0), (CHAPTER, 1, 1)])
def test_without_scripts_a_sentence_stands_for_widgets_and_formulas(
    browser: Browser, html: Path, name: str, widgets: int, formulas: int
) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((html / f"{name}.html").as_uri())
    said = page.locator(".no-script").all_inner_texts()
    assert sum("A widget stands here" in text for text in said) == widgets
    assert sum("Formulas need JavaScript" in text for text in said) == formulas
    expect(page.locator(".no-script").first).to_be_visible()
    context.close()


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


def test_a_page_says_what_it_is_to_whoever_links_to_it(html: Path) -> None:
    for name in PAGES:
        head = (html / f"{name}.html").read_text(encoding="utf-8").partition("</head>")[0]
        [meta] = [tag for tag in re.findall(r"<meta [^>]*>", head) if 'name="description"' in tag]
        text = re.findall(r'content="([^"]*)"', meta)[0]
        assert 40 <= len(text) <= 200, f"{name}: {text}"
        assert not text.startswith("In this chapter")
        assert 'property="og:image"' in head
        assert 'rel="icon"' in head
    assert (html / "_static" / "preview.png").is_file()


def test_the_numbers_of_a_chapter_are_its_own(html: Path) -> None:
    for name in PAGES:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        numbers = re.findall(r'<span class="caption-number">\w+ ([\d.]+)', text)
        numbers += re.findall(r'class="eqno">\(([\d.]+)\)', text)
        chapter = re.search(r"/(\d\d)_", name)
        if chapter:
            assert numbers
            assert {number.partition(".")[0] for number in numbers} == {str(int(chapter[1]))}, name
        else:
            assert all("." not in number for number in numbers), name


def test_the_bibliography_shows_what_the_text_cites_and_links_every_entry(open_page: Callable[..., Page]) -> None:
    page = open_page("book/appendix/bibliography")
    labels = page.locator(".citation .label").all_inner_texts()
    assert labels
    assert all(re.fullmatch(r"\[.+, \d{4}[ab]?\]", label) for label in labels), labels
    for entry in page.locator(".citation").all():
        assert entry.locator("a.external[href^='https://']").count(), entry.inner_text()
    page = open_page(CHAPTER)
    cited = page.locator("a[href*='bibliography.html#']")
    assert {f"[{text}]" for text in cited.all_inner_texts()} <= set(labels)
    cited.first.click()
    target = page.locator(".citation:target")
    expect(target).to_be_in_viewport()
    assert target.evaluate("(node) => getComputedStyle(node).backgroundColor") != "rgba(0, 0, 0, 0)"


def test_a_request_that_leaves_the_folder_is_recorded(open_page: Callable[..., Page]) -> None:
    page = open_page("book/index")
    recorder = open_page.recorder  # type: ignore[attr-defined]
    with page.expect_request("https://example.org/"):
        page.evaluate("() => fetch('https://example.org/').catch(() => null)")
    with page.expect_console_message(lambda message: message.text == "a complaint"):
        page.evaluate("() => console.error('a complaint')")
    assert any("external request: https://example.org/" in problem for problem in recorder.problems)
    assert any("a complaint" in problem for problem in recorder.problems)
    recorder.problems.clear()
