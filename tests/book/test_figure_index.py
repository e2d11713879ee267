"""The list of all figures: complete, with the records that a cell really reads, and files that stand alone."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import figure_index
from figure_index import Followed, figures, words
from labels import numbers
from pages import ROOT, chapters

PAGE = (ROOT / "book" / "appendix" / "figures.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def test_every_chapter_with_figures_is_on_the_page_once() -> None:
    listed = re.findall(r"(?m)^```\{figures\} (\S+)$", PAGE)
    assert listed == [p.stem for p in chapters() if any(figure.page == p for figure in figures())]


@pytest.mark.parametrize("figure", figures(), ids=lambda figure: figure.name)
def test_a_file_stands_alone(figure: figure_index.Figure) -> None:
    number = numbers()[figure.name]
    root = ET.fromstring(figure.document(number).encode())
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text is not None
    assert title.text.startswith(f"{number}. ")
    assert not re.search(r"[`{}]|\]\(", title.text)
    assert figure_index.LICENCE in figure.document(number)
    assert root.get("viewBox")
    assert figure.alt


SHORT = 'study = lt.report.load_study("short")'


def used(*cells: str) -> set[str]:
    followed = Followed()
    return [followed.read(ast.parse(cell)) for cell in cells][-1]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["x = 1", "plot(x)"], set()),
        ([SHORT, "plot(1)"], set()),
        ([SHORT, "plot(study)"], {"study/short"}),
        ([SHORT, "a, b = study.runs", "c = [r for r in b]", "plot(c)"], {"study/short"}),
        ([SHORT, "def f():\n    return study", "plot(f())"], {"study/short"}),
        (['r = lt.records.load(results / "float32/short/ce-if100-s0")', "plot(r)"], {"float32/short/ce-if100-s0"}),
        (['r = [lt.records.load(p / "record.json") for p in found]', "plot(r)"], {"single runs"}),
        (['m = torch.load("a.pt")', "plot(m)"], set()),
    ],
)
def test_records_are_followed_through_assignments(cells: list[str], expected: set[str]) -> None:
    assert used(*cells) == expected


def test_known_figures() -> None:
    records = {figure.name: figure.records for figure in figures()}
    assert records["fig-01-toy"] == ()
    assert records["fig-11-groups"] == ("study/short",)
    assert set(records["fig-11-priors"]) == {"study/plain", "study/short", "study/strong"}


def test_a_caption_without_markup() -> None:
    text = "*Rare* and $x$ {cite}`a2020`, see {numref}`fig-1` and [here](a.md)."
    assert words(text) == "Rare and x, see fig-1 and here."
