"""Figures of the built pages: letters large enough on a phone, colours of the page's theme, an alternative text."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import ROOT, toc_pages
from pages import cells, pages, visible_outputs

SMALLEST = 9  # pixels of the screen
# Letters are outlines of 100 units, and a group places and scales those of a text: its transform to the screen says how
# large they come out. Indices and exponents, smaller inside such a group, are not counted.
LETTERING = """svg => Math.min(...[...svg.querySelectorAll('use[href*="DejaVu"]')].map((letter) => {
  const { a, b } = letter.parentElement.getScreenCTM();
  return 100 * Math.hypot(a, b);
}))"""
GROUND = "svg => getComputedStyle(svg.querySelector('path')).fill"


@pytest.mark.parametrize("name", toc_pages())
def test_every_figure_reads_on_a_phone_and_in_both_themes(name: str, browser: Browser, html: Path) -> None:
    """Without JavaScript: a figure needs none, and the page opens at once."""
    page = browser.new_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page.goto((html / f"{name}.html").as_uri())
    figures = page.locator("svg.lt-figure").all()
    small = [f"figure {n}: {size:.1f}" for n, f in enumerate(figures, 1) if (size := f.evaluate(LETTERING)) < SMALLEST]
    unnamed = [n for n, figure in enumerate(figures, 1) if len(figure.get_attribute("aria-label") or "") < 20]
    plates = []
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        plates += [f"{theme}, {n}" for n, figure in enumerate(figures, 1) if figure.evaluate(GROUND) != ground]
    page.close()
    assert small == [], f"lettering under {SMALLEST} pixels at 390"
    assert unnamed == [], "figures without alternative text"
    assert plates == [], "figures on another ground than the page's"


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.stem)
def test_every_figure_of_a_notebook_is_part_of_its_page(path: Path, html: Path) -> None:
    """Not a picture that the page links to, which the tests above would not look at."""
    outputs = [output for cell in cells(path) for output in visible_outputs(cell)]
    stored = sum("image/svg+xml" in output.get("data", {}) for output in outputs)
    page = html / path.relative_to(ROOT).with_suffix(".html")
    assert page.read_text(encoding="utf-8").count('<svg class="lt-figure"') == stored


@pytest.mark.parametrize("name", toc_pages())
def test_ids_of_a_page_are_unique(name: str, html: Path) -> None:
    """Two figures must not paint with each other's clip paths and markers."""
    figures = re.findall(r'<svg class="lt-figure".*?</svg>', (html / f"{name}.html").read_text(encoding="utf-8"), re.S)
    ids = [name for figure in figures for name in re.findall(r' id="([^"]*)"', figure)]
    assert len(ids) == len(set(ids))
