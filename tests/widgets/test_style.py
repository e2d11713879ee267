"""The colours of the widgets are those of the figures: one colour, one meaning in the whole book."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lt_core import plots
from lt_core.widgets import base

NAMED = {
    **{f"--lt-{group}": colour for group, colour in plots.GROUP_COLOURS.items()},
    "--lt-ldam": plots.METHOD_COLOURS["LDAM-DRW"],
    "--lt-ala": plots.METHOD_COLOURS["ALA"],
    **{f"--lt-free-{number}": colour for number, colour in enumerate(plots.PALETTE, 1) if colour != plots.INK},
}
# What arranges and has no meaning: ground, lettering, lines, and the accent of what can be used.
WITHOUT_MEANING = {f"--lt-{name}" for name in ("paper", "ink", "soft", "line", "field", "edge", "accent")}
FIGURES = Path(__file__).parents[2] / "book" / "_static" / "figures.css"


def hues(css: str) -> tuple[dict[str, str], dict[str, str]]:
    """The colours by name, in the light and in the dark: the first two blocks of a style sheet."""
    light, dark = re.findall(r"\{([^}]*)\}", css)[:2]
    return dict(re.findall(r"(--[\w-]+): (#\w+);", light)), dict(re.findall(r"(--[\w-]+): (#\w+);", dark))


@pytest.mark.parametrize("name", NAMED)
def test_a_hue_is_that_of_the_figures_in_both_themes(name: str) -> None:
    light, dark = hues(base.style())
    assert light[name].upper() == NAMED[name].upper()
    drawn, drawn_dark = hues(FIGURES.read_text(encoding="utf-8"))
    key = next(key for key, colour in drawn.items() if colour.upper() == NAMED[name].upper())
    assert dark[name] == drawn_dark[key]


def test_every_colour_of_the_widgets_has_a_meaning() -> None:
    light, dark = hues(base.style())
    assert set(light) == set(dark) == {*NAMED, *WITHOUT_MEANING}
