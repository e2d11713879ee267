"""`{figures} 01_data` lists a chapter's figures: a small picture, number, caption, cell, records, and the SVG file.

The files are written at the build, each with its title, description and licence inside; see
`book/tools/figure_index.py` for where a figure's records come from.
"""

from __future__ import annotations

import os
import sys
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from figure_index import Figure, figures
from labels import numbers

FOLDER = "_static/figures"


def facts(figure: Figure, prefix: str) -> str:
    """The line below a figure: its cell, what it is drawn from, and the file."""
    records = ", ".join(f"<code>book/results/{escape(name)}</code>" for name in figure.records)
    source = f"records in {records}" if records else "computed in its chapter, from no record"
    name = numbers()[figure.name]
    link = f'<a href="{prefix}{FOLDER}/{figure.file}" download>SVG of {name}</a>'
    return f'<p class="figure-facts">Cell {figure.cell} of the notebook; {source}. {link}</p>'


def picture(figure: Figure, prefix: str) -> str:
    alt = escape(" ".join(figure.alt.split()), quote=True)
    return f'<img class="figure-thumbnail" loading="lazy" src="{prefix}{FOLDER}/{figure.file}" alt="{alt}">'


class Figures(SphinxDirective):
    """The figures of one chapter."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        chosen = [figure for figure in figures() if figure.page.stem == self.arguments[0]]
        if not chosen:
            raise self.error(f"no chapter {self.arguments[0]!r} has figures")
        self.env.note_dependency(str(chosen[0].page))
        prefix = os.path.relpath(".", os.path.dirname(self.env.docname) or ".").replace(os.sep, "/") + "/"
        entries: list[nodes.Node] = []
        for figure in chosen:
            entry = nodes.container(classes=["figure-entry"])
            entry += nodes.raw("", picture(figure, prefix), format="html")
            text = f"{{numref}}`{figure.name}`. {figure.caption}"
            self.state.nested_parse(StringList(text.splitlines(), source=self.env.docname), self.content_offset, entry)
            entry += nodes.raw("", facts(figure, prefix), format="html")
            entries.append(entry)
        return entries


def write(app: Sphinx, error: Exception | None) -> None:
    """The SVG files."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures():
        (folder / figure.file).write_text(figure.document(numbers()[figure.name]), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("figures", Figures)
    app.add_css_file("figure_list.css")
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
