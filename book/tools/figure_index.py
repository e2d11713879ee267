"""Every figure of the chapters with its cell and the records that it is drawn from.

Records are followed through the page's code: what is assigned from a call that loads records is made of them, and so is
what is assigned from that. What is only handed on inside a function is not seen, so a figure may name too many records,
never a record that its page does not load.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from pages import cells, chapters, parsed

LICENCE = "https://creativecommons.org/licenses/by/4.0/"
LOADS = {"load_study": "study", "load_systems": "systems", "load": ""}  # functions, with their folder of book/results
METADATA = (
    '<metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://creativecommons.org/ns#"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"><cc:Work><dc:title>{title}</dc:title>'
    '<dc:publisher>Logit Adjustment for the Long Tail</dc:publisher><cc:license rdf:resource="' + LICENCE + '"/>'
    "</cc:Work></rdf:RDF></metadata>"
)


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Args:
        page: the notebook.
        cell: its place among all cells, from 1.
        name: its label, such as ``fig-01-toy``.
        caption: MyST.
        alt: text for who does not see it.
        svg: as the notebook stores it.
        records: folders below ``book/results`` that its code reads; none for a figure of computed values.
    """

    page: Path
    cell: int
    name: str
    caption: str
    alt: str
    svg: str
    records: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{self.name}.svg"

    def document(self, number: str) -> str:
        """The SVG as a file of its own, with title, description and licence in it."""
        title = escape(f"{number}. {words(self.caption)}")
        told = f"<title>{title}</title><desc>{escape(self.alt)}</desc>{METADATA.format(title=title)}"
        start = self.svg.index(">", self.svg.index("<svg")) + 1
        opening = self.svg[self.svg.index("<svg") : start]
        return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}{told}{self.svg[start:]}'


def words(text: str) -> str:
    """A caption without markup; of formulas the letters stay."""
    text = re.sub(r" ?\{cite\w*(?::\w+)?\}`[^`]*`", "", text)
    text = re.sub(r"\{[\w:]+\}`([^`<]*)(?:<[^`]*)?`|\[([^]]*)\]\([^)]*\)", lambda m: (m[1] or m[2] or "").strip(), text)
    return " ".join(re.sub(r"[*`${}\\]", "", text).split())


def loaded(node: ast.AST) -> set[str]:
    """The folders of records that the calls in an expression load."""
    found = set()
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
        name = call.func.attr
        if name not in LOADS or (name == "load" and not ast.unparse(call.func).endswith("records.load")):
            continue
        texts = [n.value for arg in call.args for n in ast.walk(arg) if isinstance(n, ast.Constant) and n.value]
        paths = [text for text in texts if isinstance(text, str) and not text.endswith(".json")]
        found.add("/".join(filter(None, [LOADS[name], *paths])) or "single runs")
    return found


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


class Followed:
    """Which names of a page's code are made of which records."""

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = {}

    def sources(self, node: ast.AST) -> set[str]:
        return loaded(node).union(*(self.of.get(name, set()) for name in names(node)))

    def read(self, tree: ast.Module) -> set[str]:
        """Follow a cell's statements; returns all records that they use."""
        used: set[str] = set()
        for statement in tree.body:
            found = self.sources(statement)
            used |= found
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and found:
                    self.of[node.id] = self.of.get(node.id, set()) | found
                elif isinstance(node, ast.FunctionDef) and found:
                    self.of[node.name] = found
        return used


def svg_of(cell: Any) -> str:
    """The SVG among a cell's outputs."""
    for output in cell.get("outputs", []):
        if svg := output.get("data", {}).get("image/svg+xml"):
            return "".join(svg)
    raise ValueError(f"a figure without SVG: {cell.source[:60]!r}")


def of_page(path: Path) -> Iterator[Figure]:
    """The figures of a page in order."""
    followed = Followed()
    for place, cell in enumerate(cells(path), 1):
        if cell.cell_type != "code":
            continue
        used = followed.read(parsed(cell.source))
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            alt = cell.metadata["mystnb"].get("image", {}).get("alt", "")
            records = tuple(sorted(used))
            yield Figure(path, place, figure["name"], figure["caption"], alt, svg_of(cell), records)


@cache
def figures() -> tuple[Figure, ...]:
    """All figures of the chapters."""
    return tuple(figure for path in chapters() if path.suffix == ".ipynb" for figure in of_page(path))


if __name__ == "__main__":
    for figure in figures():
        print(figure.name, figure.cell, *figure.records or ["computed"])
