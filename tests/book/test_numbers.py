"""A number in prose is one that the page shows, cites or allows, and another number in its place is noticed."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import prose_numbers
from evidence import Number, code_values, equalities, numbers, values_in
from prose_numbers import Page, record_pages, significant

from lt_core.report.published_large import GALA_ROWS

ROOT = Path(__file__).parents[2]

SAMPLE = 150  # altered numbers a page
NOTICED = {2: 0.33, 3: 0.6}  # of numbers with two digits, and with three or more, at least this share is noticed


@pytest.fixture(scope="module")
def page() -> Callable[[Path], Page]:
    read: dict[Path, Page] = {}
    return lambda path: read.setdefault(path, Page(path))


@pytest.mark.parametrize("path", record_pages(), ids=lambda p: p.stem)
def test_every_number_in_prose_is_explained(path: Path, page: Callable[[Path], Page]) -> None:
    found = [f"{number.text} in: {number.sentence}" for number in page(path).unexplained()]
    assert not found, "\n".join(found)


def test_chapter_15_prints_what_galas_readme_has() -> None:
    chapter = nbformat.read(ROOT / "book" / "part4_beyond" / "15_large_data.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in chapter.cells)
    titles = {"imagenet_lt": "ImageNet-LT", "inaturalist2018": "iNaturalist 2018", "places_lt": "Places-LT"}
    for name, (plain, balanced, tau) in GALA_ROWS.items():
        assert f"| {titles[name]} | {plain} | {balanced} | {tau} | {balanced - plain:.1f} |" in text


def test_every_page_with_records_is_read() -> None:
    assert {path.stem[:2] for path in record_pages()} >= {"01", "02", "06", "07", "10", "11", "12"}


@pytest.mark.parametrize("entry", prose_numbers.allowances(), ids=lambda e: e["number"])
def test_an_allowance_has_a_reason_and_is_needed(entry: dict[str, str], page: Callable[[Path], Page]) -> None:
    assert entry.keys() <= {"page", "number", "reason"}
    assert len(entry["reason"]) > 10
    if "page" not in entry:
        return
    (path,) = [path for path in record_pages() if path.stem[:2] == entry["page"]]
    without = Page(path)
    without.allowed = without.allowed - {entry["number"]}
    assert entry["number"] in {number.text for number in without.unexplained()}, "no longer needed"


def other(text: str, chance: random.Random) -> str:
    """The number with one of its digits changed, never the first one to zero."""
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    place = chance.choice(places)
    digit = chance.choice([d for d in "123456789" if d != text[place]])
    return text[:place] + digit + text[place + 1 :]


@pytest.mark.parametrize("digits", NOTICED)
@pytest.mark.parametrize("path", record_pages(), ids=lambda p: p.stem)
def test_another_number_in_a_sentence_is_noticed(path: Path, digits: int, page: Callable[[Path], Page]) -> None:
    """Not each: a page shows many numbers, and what replaces a number of two digits is often one of them."""
    shown, chance = page(path), random.Random(path.stem)
    candidates = [
        (place, sentence, number)
        for place, section in enumerate(shown.sections)
        for sentence in section.sentences
        if not prose_numbers.SOURCE.search(sentence)
        for number in numbers(sentence)
        if min(significant(number.text), 3) == digits
        and number.text not in {n.text for n in shown.unexplained_in(place, sentence)}
    ]
    if not candidates:
        pytest.skip("no such number in the text")
    tried, noticed = 0, 0
    for place, sentence, number in chance.choices(candidates, k=SAMPLE):
        text = other(number.text, chance)
        altered = re.sub(rf"(?<![\d.,]){re.escape(number.text)}(?!\d)", text, sentence, count=1)
        if altered != sentence:
            tried += 1
            noticed += text in {n.text for n in shown.unexplained_in(place, altered)}
    assert tried > SAMPLE / 2
    assert noticed >= NOTICED[digits] * tried, f"{noticed} of {tried}"


TABLE = "<style>td { padding: 77px }</style><table><tr><td>34.62</td><td>−0.183</td><td>2,750</td></tr></table>"
CODE = "accuracy = model(0.125)\nax.set(ylim=(0, 61.5))\n%pip install x==9.99\n"


@pytest.fixture
def chapter(tmp_path: Path) -> Callable[..., Page]:
    """A chapter with one sentence in a section of a table, one in another section, and one in the summary."""

    def make(here: str = "", elsewhere: str = "", summary: str = "", caption: str = "") -> Page:
        cells = [
            new_markdown_cell("# 00 · Numbers\n\n*Time*: 35 minutes."),
            new_markdown_cell("## A table"),
            new_code_cell(CODE, outputs=[new_output("display_data", data={"text/html": TABLE})]),
            new_markdown_cell(here),
            new_markdown_cell(f"## Elsewhere\n\n$$ a = 0.721 b $$ (00-a)\n\n{elsewhere}\n\n## Summary\n\n{summary}"),
            new_markdown_cell("## Exercises\n\nNothing here is read: 98.76."),
        ]
        cells[2].metadata["mystnb"] = {"figure": {"name": "fig-00-a", "caption": caption}, "image": {"alt": ""}}
        path = tmp_path / "00_numbers.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return Page(path)

    return make


@pytest.mark.parametrize(
    "sentence",
    [
        "Accuracy is 34.62, or 34.6, or about 35 %.",
        "It falls by 0.183, that is 18 %, and 2,750 images are left.",
        "The code has 0.125, the display 0.721.",
        "Three classes, 12 seeds and 2 rows in 2019; ResNet-32 on CIFAR100-LT, top-1, float32, `x = 55.5`.",
        "Chapters 10 to 14 and Table 44, seed 17.",
        "Its authors report 47.9 {cite}`zhao2022ala`.",
        "The README has 47.9 ([code](https://example.org)).",
        "The paper's Table 4 has 47.9.",
        "At 47.9 {cite}`zhao2022ala` it is better. Ours is below 47.9.",
        "With $0.125 \\cdot 2 = 0.25$ it is 0.25.",
        "By hand: take 0.4 and 0.55; they make 0.4 + 0.55 = 0.95.",
        "A title {cite}`zhao2022ala`:\n\n| row | 71.3 |\n|---|---|\n| row | 70.8 |",
    ],
)
def test_an_explained_number_passes(chapter: Callable[..., Page], sentence: str) -> None:
    assert not chapter(here=sentence).unexplained()


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("Accuracy is 34.63.", ["34.63"]),
        ("Accuracy is 34 %.", ["34"]),
        ("It falls by 0.19, or 19 %.", ["0.19", "19"]),
        ("The share is 18.", ["18"]),  # 0.183 is no 18 without a percent sign
        ("Two more: 36.4 and 2,751.", ["36.4", "2,751"]),
        ("It gains 6 points, 4 to 7 %.", ["6", "4", "7"]),
        ("There are 13 of them.", ["13"]),
        ("The axis ends at 61.5.", ["61.5"]),  # a drawing's number is no evidence
        ("The style has 77, the shell 9.99.", ["77", "9.99"]),
        ("With 0.125 · 2 = 0.28 it fails.", ["0.28"]),
        ("By hand: take 0.4 and 0.55; they make 0.4 + 0.55 = 0.97.", ["0.97"]),
        ("A solution has 98.76.", ["98.76"]),
    ],
)
def test_an_unexplained_number_is_named(chapter: Callable[..., Page], sentence: str, missing: list[str]) -> None:
    assert [number.text for number in chapter(here=sentence).unexplained()] == missing


def test_captions_are_read_and_few_digits_are_looked_for_close_by(chapter: Callable[..., Page]) -> None:
    assert [number.text for number in chapter(caption="It ends at 34.9.").unexplained()] == ["34.9"]
    assert not chapter(summary="It has 35 %.", elsewhere="It has 34.6.").unexplained()
    assert [number.text for number in chapter(elsewhere="It has 35 %.").unexplained()] == ["35"]
    assert not chapter(elsewhere="{numref}`fig-00-a` has 35 %.").unexplained()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10,847 images, 2.5 of them; −0.86 and .45", [10847, 2.5, 0.86, 0.45]),
        ("$n = 5{,}000$ and $\\tfrac12$ at $10^{-3}$", [5000, 1, 2, 10, 3]),
        ("from 80 to 82 % in commit 763bf41", [80, 82]),
    ],
)
def test_numbers_are_read_as_they_are_printed(text: str, found: list[float]) -> None:
    assert [number.value for number in numbers(text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"DF = (1 − 0.574)/2 = 0.213, and $A$ = 0.213 · 1.443 = 0.308", {"0.213": True, "0.308": True}),
        (r"still $2/2.9 = 69\,\%$ of them, $\log 100 = 4.6$", {"69": True, "4.6": True}),
        (r"$(77 - 21)/4 = 13$ and $1 - (2.78/4.30)^2 = 0.58$", {"13": False, "0.58": True}),
        (
            r"$-0.1/\sqrt{1 - 0.96} = -0.5$, $\frac14 + \tfrac12 = 0.75$, $(2-1)(3-1) = 3$",
            {"0.5": True, "0.75": True, "3": False},
        ),
        ("2 · 3 = 6 and 2 · 4 = 6; 2 · 4 = 8", {"6": False, "8": True}),
        ("2 · 4 = 6 and 2 · 3 = 6", {"6": False}),
        (r"the $\log = 4.6$ of $10.0^9999 / 2 = 5$", {}),
        (r"$d = 64 < 99$, $s = 30$ and at $n = 5$, 3 = 4 (chapter 2) = 7", {}),
    ],
)
def test_arithmetic_is_checked(text: str, found: dict[str, bool]) -> None:
    assert equalities(text) == found


def test_units_are_seen() -> None:
    assert [number.measured for number in numbers("8 of 9, 3 points, 80 to 82 %")] == [False, False, True, True, True]
    assert values_in("<td>81.3%</td>") == {81.3, 81.3 / 100}
    assert code_values("x = f(0.5, k=3)\nplt.plot(x, lw=7)") == {0.5, 3.0}
    assert prose_numbers.fits(Number("0.30", False, ""), {0.2951})
    assert not prose_numbers.fits(Number("0.30", False, ""), {0.2949})
