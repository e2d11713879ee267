"""Put the figures of notebooks into the HTML as `<svg>` elements, so that the page's style sheet colours them.

The colours of `lt_core.plots` become CSS variables, whose shades in both themes are in `book/_static/figures.css`; ids
get the figure's number on the page before them, and the alternative text becomes the element's label.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from lt_core import plots

NAMES = (
    *("INK", "GREY", "GRID", "BLUE", "GREEN", "RED", "PINK", "ORANGE", "INDIGO", "TEAL", "WINE"),
    *("OLIVE", "BROWN", "STEEL"),
)
COLOURS = {getattr(plots, name).lower(): f"var(--fig-{name.lower()})" for name in NAMES}
COLOURS["#ffffff"] = "var(--fig-ground)"
ENLARGED = 1.2  # of a figure's own size, at most: its lettering is then as large as the text
PIXELS = 96 / 72  # of CSS, for a point
logger = logging.getLogger(__name__)


def inlined(svg: str, alt: str, number: int) -> str:
    """The figure as an element of a page; ``number`` parts its ids from those of the page's other figures."""
    opening, body = re.fullmatch(r"<svg ([^>]*)>(.*)</svg>\s*", svg, re.S).groups()  # type: ignore[union-attr]
    width = float(re.search(r'width="([\d.]+)pt"', opening)[1])  # type: ignore[index]
    box = re.search(r'viewBox="([^"]*)"', opening)[1]  # type: ignore[index]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.S)  # it would hold for the page
    body = body.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="f{number}-{found[1]}"' if found[1] in used else "", body)
    body = re.sub(r'((?:url\(|href=")#)', rf"\g<1>f{number}-", body)
    body = re.sub(r' (fill|stroke)="(#[0-9a-f]{6})"', r' style="\1: \2"', body)
    body = re.sub(r'style="[^"]*"', lambda style: re.sub("#[0-9a-f]{6}", _variable, style[0]), body)
    size = f"max-width: {ENLARGED * PIXELS * width:.0f}px"
    label = escape(" ".join(alt.split()))
    return f'<svg class="lt-figure" role="img" aria-label="{label}" viewBox="{box}" style="{size}">{body}</svg>'


def _variable(colour: re.Match[str]) -> str:
    return COLOURS.get(colour[0], colour[0])


class InlineFigures(SphinxPostTransform):
    """Replaces every image node that is a figure of a notebook."""

    default_priority = 5  # before anything copies or converts images
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for number, image in enumerate(list(self.document.findall(nodes.image)), 1):
            path = Path(self.app.srcdir) / image["uri"]
            if path.suffix != ".svg" or not path.is_file():
                continue
            svg = path.read_text(encoding="utf-8")
            if '<g id="figure_1">' not in svg:  # not drawn by matplotlib
                continue
            if not image.get("alt"):
                logger.warning("a figure without alternative text", location=image)
            image.replace_self(nodes.raw("", inlined(svg, image.get("alt", ""), number), format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(InlineFigures)
    app.add_css_file("figures.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
