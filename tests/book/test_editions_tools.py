"""The printed edition and the packed site, on small made-up pages."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pikepdf
import pytest
from bs4 import BeautifulSoup

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import offline
import pdf
from edition import Edition, parts, target

NAMES = ["book/index", "book/part1/01_a", "book/part1/02_b"]
TOC = {"root": NAMES[0], "parts": [{"caption": "Part I", "chapters": [{"file": name} for name in NAMES[1:]]}]}
VIEW = '<script type="application/vnd.jupyter.widget-view+json">{}</script>'
SOLVED = (
    '<div class="exercise" id="ex-1"><p class="admonition-title">Exercise 1.1</p></div>'
    '<div class="solution dropdown"><p class="admonition-title">Solution to Exercise 1.1</p><p>It is 42.</p></div>'
)
QUIZ = (
    '<fieldset class="quiz-question"><legend><span class="quiz-count">Question 1 of 1.</span> Why?</legend>'
    '<details><summary>All answers</summary><p class="quiz-why">a: right.</p></details></fieldset>'
)


def page(title: str, body: str = "") -> str:
    opening = f'<article class="bd-article"><section id="top"><h1>{title}<a class="headerlink" href="#top">#</a></h1>'
    return f'<nav>elsewhere</nav>{opening}<section id="one"><h2>One</h2>{body}</section></section></article>'


def made(first: str = "", second: str = "", widgets: list[str] | None = None) -> tuple[Edition, BeautifulSoup]:
    """The document of three pages, of which the chapters have these bodies."""
    edition = Edition(NAMES, dict.fromkeys(NAMES, "online"))
    for name, body in zip(NAMES, ("", first, second), strict=True):
        edition.add(name, page(name, body), widgets or [] if VIEW in body else [])
    return edition, BeautifulSoup(edition.html(TOC, "", ""), "html.parser")


@pytest.mark.parametrize(
    ("href", "leads"),
    [
        ("#one", "#book-part1-01-a--one"),
        ("02_b.html", "#book-part1-02-b"),
        ("../index.html#one", "#book-index--one"),
        ("../../index.html", "#book-index"),
        ("https://arxiv.org/abs/1", "https://arxiv.org/abs/1"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        ("../../search.html", None),
        ("../../_sources/book/index.md", None),
    ],
)
def test_a_link_leads_into_the_document_out_of_the_book_or_nowhere(href: str, leads: str | None) -> None:
    assert target(href, NAMES[1], NAMES) == leads


def test_pages_follow_the_table_of_contents() -> None:
    assert parts(TOC) == [("", NAMES[:1]), ("Part I", NAMES[1:])]
    edition, soup = made()
    assert edition.faults == []
    assert [node["id"] for node in soup.find_all("article")] == [
        name.replace("/", "-").replace("_", "-") for name in NAMES
    ]
    assert [node.text for node in soup.select("h1")] == ["Part I"]
    assert "elsewhere" not in soup.text
    assert [link["href"] for link in soup.select(".contents-section a")] == [
        "#book-part1-01-a--one",
        "#book-part1-02-b--one",
    ]


def test_pages_with_the_same_ids_keep_their_own() -> None:
    body = '<label for="x">x</label><input id="x"><svg><g clip-path="url(#c)"></g><clippath id="c"></clippath></svg>'
    edition, soup = made(body, body)
    assert edition.faults == []
    assert [node["for"] for node in soup.find_all("label")] == [node["id"] for node in soup.find_all("input")]
    assert [node["clip-path"] for node in soup.find_all("g")] == [
        f"url(#{node['id']})" for node in soup.find_all("clippath")
    ]
    assert len({node["id"] for node in soup.find_all("input")}) == 2


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="#gone">x</a>', "nothing is called #book-part1-01-a--gone"),
        ('<a href="02_b.html#gone">x</a>', "nothing is called #book-part1-02-b--gone"),
        ('<a href="../../search.html">x</a>', "links to ../../search.html"),
        ('<a href="#p">x</a><p id="p"></p><p id="p"></p>', "2 things are called #book-part1-01-a--p"),
        (VIEW, "has 1 widgets, 0 are drawn"),
        (SOLVED.replace('class="exercise"', ""), "a solution without an exercise"),
    ],
)
def test_what_is_wrong_with_a_page_is_named(body: str, fault: str) -> None:
    edition, _ = made(body)
    assert len(edition.faults) == 1
    assert fault in edition.faults[0]


def test_a_page_without_an_article_is_named() -> None:
    edition = Edition(NAMES, {})
    edition.add(NAMES[0], "<p>nothing</p>", [])
    assert edition.faults == ["book/index has no article with a title"]


def test_solutions_and_answers_stand_at_the_end_and_are_linked() -> None:
    edition, soup = made(SOLVED + QUIZ)
    assert edition.faults == []
    chapter, appendix = soup.find(id="book-part1-01-a"), soup.find(id="solutions-book-part1-01-a")
    assert chapter is not None
    assert appendix is not None
    assert "42" not in chapter.text
    assert "a: right." not in chapter.text
    assert "It is 42." in appendix.text
    assert "a: right." in appendix.text
    back = appendix.select_one("a.back")
    assert back is not None
    assert chapter.find(id=str(back["href"])[1:]) is not None
    for link in chapter.select("p.see a"):
        assert appendix.find(id=str(link["href"])[1:]) is not None


def test_a_widget_is_its_picture_and_folded_code_is_counted() -> None:
    folded = '<details class="hide"><pre>draw()</pre></details>'
    edition, soup = made(VIEW + folded, widgets=['<section class="lt-widget"><svg></svg></section>'])
    assert edition.faults == []
    assert edition.folded == 1
    assert "draw()" not in soup.text
    drawn = soup.select_one(".drawn")
    assert drawn is not None
    assert drawn.svg is not None
    assert "Try it online." in drawn.text


def test_a_page_online_is_named_by_its_address_or_its_title(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "repository", lambda: "https://github.com/ann/tail")
    assert "https://ann.github.io/tail/book/index.html" in pdf.places(["book/index"], {})["book/index"]
    monkeypatch.setattr(pdf, "repository", lambda: "")
    assert "http" not in (place := pdf.places(["book/index"], {"book/index": "A & B"})["book/index"])
    assert "“A &amp; B”" in place


def test_a_pdf_without_outline_links_or_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, path = pikepdf.new(), tmp_path / "x.pdf"
    file.add_blank_page(page_size=(100, 100))
    sheet = file.add_blank_page(page_size=(100, 100))
    sheet.Contents = file.make_stream(b"BT <0001> Tj <0001> Tj <0001> Tj <0001> Tj ET\n")
    known = pikepdf.Array([sheet.obj, pikepdf.Name.XYZ, 0, 0, 0])
    file.Root.Dests = pikepdf.Dictionary({"/known": known})
    links = [pikepdf.Dictionary(Dest=pikepdf.Name(name)) for name in ("/known", "/gone")]
    sheet.Annots = pikepdf.Array([*links, pikepdf.Dictionary(Dest=known)])
    with file.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Part", 0))
        outline.root[0].children.append(pikepdf.OutlineItem("One chapter", 1))
    file.save(path)
    pdf.compact(path)
    assert pdf.page_numbers(path) == {"known": 2}
    assert pdf.pdf_faults(path, ["One  chapter", "Another"]) == [
        "the outline lacks Another",
        "sheet 1 is blank",
        "sheet 2 links to /gone, which is nowhere",
    ]
    monkeypatch.setattr(pdf, "LIMIT", 10)
    assert "at most 10" in pdf.pdf_faults(path, [])[0]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "html"
    for name in ("index.html", "b/page.html", "b/a.js", ".buildinfo", ".doctrees/x.doctree"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_the_same_site_gives_the_same_archive(site: Path, tmp_path: Path) -> None:
    first = offline.pack(site, tmp_path / "one" / "book.zip", "note")
    (site / "b" / "a.js").chmod(0o755)
    os.utime(site / "index.html", (1e9, 1e9))
    assert offline.pack(site, tmp_path / "two" / "book.zip", "note") == first
    (site / "b" / "a.js").write_text("changed")
    assert offline.pack(site, tmp_path / "two" / "book.zip", "note") != first


def test_the_archive_has_the_site_and_a_note_and_its_checksum(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "book.zip"
    digest = offline.pack(site, path, "open index.html")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["README.txt", "b/a.js", "b/page.html", "index.html"]
        assert archive.read("README.txt") == b"open index.html"
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "book.zip.sha256").read_text() == f"{digest}  book.zip\n"


def test_a_folder_that_is_no_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no index\.html"):
        offline.pack(tmp_path, tmp_path / "x.zip", "")
