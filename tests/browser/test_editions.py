"""The notebooks for Colab beside the built pages: one numbering, and what the download button gives."""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from address import commit, repository
from colab import edition, notebook_pages
from labels import numbers
from pages import ROOT, chapters, page_named
from plain import page_name

HTML = ROOT / "_build" / "html"

NUMBERED = (
    (r'<div class="math[^>]*id="equation-([\w-]+)">\s*<span class="eqno">(\([\d.]+\))', ""),
    (r'<figcaption>\s*<p><span class="caption-number">(Figure [\d.]+) </span>.*?href="#(fig-[\w-]+)"', "turned"),
    (r'id="((?:thm|ex)-[\w-]+)">\s*<p class="admonition-title"><span class="caption-number">(\w+ [\d.]+) </span>', ""),
)
CITED = re.compile(r"\[((?:[^\[\]]*?, \d{4}[a-z]?(?:, )?)+)\]")


def page(path: Path) -> str:
    return (HTML / f"{page_name(path)}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_the_numbers_are_those_of_the_page(path: Path) -> None:
    html = page(path)
    shown: dict[str, str] = {}
    for pattern, turned in NUMBERED:
        pairs = re.findall(pattern, html, re.DOTALL)
        shown |= {label: number for number, label in pairs} if turned else dict(pairs)
    assert len(shown) > 10
    own = re.compile(rf"(?:\w+ |\()0?{int(path.stem[:2])}\.\d+\)?")
    assert shown == {label: number for label, number in numbers().items() if own.fullmatch(number)}


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_citations_read_as_on_the_page(path: Path) -> None:
    article = re.search(r"<article.*</article>", page(path), re.DOTALL)
    assert article
    words = " ".join(unescape(re.sub(r"<[^>]*>", "", article[0])).split())
    text = "\n\n".join(cell.source for cell in edition(path).cells if cell.cell_type == "markdown")
    plain = " ".join(re.sub(r"\[([^\[\]]+)\]\(https?://[^)]*\)", r"\1", text).split())
    found = [CITED.findall(side) for side in (plain, words)]
    assert found[0]
    assert sorted(found[0]) == sorted(found[1])


@pytest.mark.parametrize("path", notebook_pages(), ids=lambda p: p.stem)
def test_the_download_is_the_edition_for_colab(path: Path) -> None:
    name = page_name(path)
    assert f'href="{"../" * name.count("/")}_sources/{name}.ipynb"' in page(path)
    given = nbformat.read(HTML / "_sources" / f"{name}.ipynb", as_version=4)
    expected = edition(path, repository(), commit())
    assert [cell.source for cell in given.cells[3:]] == [cell.source for cell in expected.cells[3:]]


@pytest.mark.skipif(bool(repository()), reason="the address is set")
def test_without_an_address_no_badge_leads_anywhere() -> None:
    for path in notebook_pages():
        html = page(path)
        assert "colab.research.google.com" not in html
        assert "does not know the address" in html
    html = page(page_named("how_to_use"))
    assert "https://github.com/OWNER/NAME" in html
    assert "issues/new" not in html
