"""Figures: the SVG that a notebook stores, its size and lettering, and the palette in both themes."""

from __future__ import annotations

import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from drawings import difference
from nbval.plugin import get_sanitize_patterns

import lt_core as lt

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import inline_svg
import notebooks
from check_pages import ROOT

PAGES = sorted((ROOT / "book").rglob("*.ipynb"))


@pytest.fixture(autouse=True)
def style() -> Any:
    lt.plots.use_style()
    yield
    plt.close("all")


@cache
def drawing(shift: float = 0, colour: str = lt.plots.BLUE, title: str = "a", marks: int = 20) -> str:
    fig, (left, right) = lt.plots.panels(2)
    left.plot(np.arange(8) + shift, np.arange(8), "o-", color=colour)
    left.set(title=title, xlim=(0, 8), ylim=(0, 8))
    right.imshow(np.arange(9).reshape(3, 3))
    right.text(0, 0, "white", color="white")
    right.text(2, 2, "black", color="black")
    left.scatter(np.linspace(0, 8, marks), np.linspace(8, 0, marks))
    return lt.plots.svg(fig)


def stored() -> list[tuple[str, str]]:
    """Page and SVG of every figure of the book that is one."""
    found = []
    for path in PAGES:
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if "image/svg+xml" in output.get("data", {}):
                    found.append((path.stem, output.data["image/svg+xml"]))
    return found


def test_a_figure_is_the_same_each_time_without_date_and_long_numbers() -> None:
    svg = drawing()
    assert svg == drawing.__wrapped__() == lt.plots.tidy(svg)
    assert svg.startswith("<svg ")
    assert not re.search(r"<metadata|<dc:|<\?xml|DOCTYPE|<text", svg)
    outside = re.sub(r'(?:scale|matrix)\([^)]*\)|base64,[^"]*', "", svg)
    assert not re.search(r"\d\.\d{3}", outside)


def test_pictures_and_many_marks_are_stored_as_pictures() -> None:
    assert drawing().count("base64,") == 1  # the matrix
    few, many = drawing(marks=1000), drawing(marks=1001)
    assert many.count("base64,") == 2
    assert len(many) < 0.7 * len(few)


def test_what_stands_on_a_picture_keeps_its_colour_in_the_dark() -> None:
    svg = drawing()
    assert lt.plots.ON_LIGHT in svg
    assert lt.plots.ON_DARK.lower() in svg
    page = inline_svg.inlined(svg, "alt", 1)
    assert lt.plots.ON_LIGHT in page
    assert "#ffffff" not in page


@pytest.mark.parametrize(
    "changes", [{"shift": 0.1}, {"colour": lt.plots.RED}, {"title": "b"}, {"marks": 21}], ids=lambda c: next(iter(c))
)
def test_another_drawing_differs(changes: dict[str, Any]) -> None:
    assert difference(drawing(), drawing(**changes))


def test_rounding_and_names_do_not_differ() -> None:
    svg = drawing()
    moved = re.sub(r"(?<= [xy]=\")[\d.]+", lambda n: f"{float(n[0]) + 0.3:.2f}", svg)
    moved = re.sub(r"\bp[0-9a-f]{10}\b", "another", moved)
    assert moved != svg
    assert difference(svg, moved) == ""
    assert difference(svg, re.sub(r"(?<= x=\")[\d.]+", lambda n: f"{float(n[0]) + 0.6:.2f}", svg))


def test_the_check_of_the_notebooks_leaves_drawings_out() -> None:
    """nbval compares SVGs as text; ours are compared, where records give them, by `difference`."""
    patterns = get_sanitize_patterns((ROOT / "tests" / "nbval_sanitize.cfg").read_text(encoding="utf-8"))
    text = f"before {drawing()} after"
    for regex, replacement in patterns:
        text = re.sub(regex, replacement, text)
    assert text == "before SVG\n after"


def test_the_style_keeps_letters_readable_on_a_phone() -> None:
    assert notebooks.lettering(drawing()) >= 9
    fig, ax = plt.subplots(figsize=(6.4, 3))
    ax.plot([0, 1])
    assert notebooks.lettering(lt.plots.svg(fig)) < 7.5


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (3, 1)), (4, (2, 2))])
def test_at_most_two_panels_stand_abreast(count: int, shape: tuple[int, int]) -> None:
    fig, axes = lt.plots.panels(count)
    assert len(axes) == count
    assert axes[0].get_gridspec().get_geometry() == shape
    assert fig.get_figwidth() == lt.plots.WIDTH


def test_no_figure_of_the_book_is_too_large() -> None:
    sizes = {(page, len(svg.encode())) for page, svg in stored()}
    assert [(page, size) for page, size in sizes if size > lt.plots.LIMIT] == []


def test_no_figure_of_the_book_differs_when_tidied_again() -> None:
    assert [page for page, svg in stored() if lt.plots.tidy(svg) != svg] == []


def test_the_tool_names_what_is_too_large_or_unreadable_or_no_svg() -> None:
    def output(data: dict[str, str]) -> Any:
        return nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])

    frames = {"image/png": "", notebooks.WIDGET_VIEW: ""}
    fig, ax = plt.subplots(figsize=(6.4, 3))
    ax.plot([0, 1])
    large, wide = drawing() + "x" * lt.plots.LIMIT, lt.plots.svg(fig)
    shown = (frames, {"image/svg+xml": drawing()}, {"image/png": ""}, {"image/svg+xml": large}, {"image/svg+xml": wide})
    faults = notebooks.figure_faults(nbformat.v4.new_notebook(cells=[output(data) for data in shown]))
    assert [re.sub(r"[\d,.]{3,}", "…", fault.split(";")[0]) for fault in faults] == [
        "cell 2 shows a PNG",
        "the figure of cell 3 has … bytes",
        "the letters of cell 4's figure have … pixels on a phone",
    ]


def test_ids_of_two_figures_on_a_page_part() -> None:
    pages = [inline_svg.inlined(drawing(), "What it shows: 1 < 2.", number) for number in (1, 2)]
    names = [set(re.findall(r' id="([^"]*)"', page)) for page in pages]
    assert names[0]
    assert not names[0] & names[1]
    for page, own in zip(pages, names, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page)) <= own
        assert 'role="img" aria-label="What it shows: 1 &lt; 2."' in page
        assert "<style" not in page


def test_every_colour_of_the_palette_is_readable_on_both_grounds() -> None:
    """3:1, as WCAG asks of what carries meaning; and each colour is mapped, by `figures.css`, in both themes."""
    css = (ROOT / "book" / "_static" / "figures.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"(--fig-\w+): (#\w+);", block)) for block in re.findall(r"\{([^}]*)\}", css)[:2])
    for colour, variable in inline_svg.COLOURS.items():
        name = variable[4:-1]
        if name in ("--fig-ink", "--fig-ground", "--fig-grid"):
            continue
        assert light[name] == colour
        assert contrast(colour, "#ffffff") >= 3, name
        assert contrast(dark[name], "#121212") >= 3, name
    used = {*lt.plots.METHOD_COLOURS.values(), *lt.plots.GROUP_COLOURS.values(), *lt.plots.PALETTE}
    assert {colour.lower() for colour in used} <= set(inline_svg.COLOURS)


def test_one_colour_has_one_meaning() -> None:
    groups, methods = set(lt.plots.GROUP_COLOURS.values()), set(lt.plots.METHOD_COLOURS.values())
    free = set(lt.plots.PALETTE) - {lt.plots.INK}
    assert all(not one & other for one, other in pairwise((groups, methods, free, groups)))
    assert lt.plots.METHOD_COLOURS.keys() == lt.plots.METHOD_MARKERS.keys()


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        shades = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)
