"""A loss line by line beside its equations: `{annotated} NAME` shows a loss of `book/annotated.yaml`.

The code is that of the source file at the time of the build. A page has both columns and the meanings of the symbols
without JavaScript; `book/_static/annotated.js` lets a symbol light up in both.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Comment, String
from quiz import Part, depart, raw, visit
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import annotated
from symbols import SOURCE as NOTATION


class Annotated(Part):
    """All of a loss."""


def code(part: annotated.Part) -> list[str]:
    """The HTML of each line of a function, coloured, with the names that stand for symbols marked."""
    text = "\n".join(line for row in part.rows for _, line in row.lines)
    colours, words = [""] * len(text), [False] * len(text)
    for place, kind, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens_unprocessed(text):
        colours[place : place + len(value)] = [STANDARD_TYPES.get(kind, "")] * len(value)
        words[place : place + len(value)] = [kind in Comment or kind in String] * len(value)
    marks = [""] * len(text)
    names = part.symbols
    for identifier in sorted(names, key=len, reverse=True):
        for first, last in annotated.occurrences(identifier, text):
            if not any(words[first:last]) and not any(marks[first:last]):
                marks[first:last] = [f"{annotated.ids()[names[identifier]]} {first}"] * (last - first)
    lines, place = [], 0
    for line in text.split("\n"):
        end = place + len(line)
        lines.append(html_of(line, colours[place:end], marks[place:end]))
        place = end + 1
    return lines


def html_of(line: str, colours: list[str], marks: list[str]) -> str:
    """A line as an element: one span for each stretch of a colour, and around them one for each name of a symbol."""
    pieces = []
    for place, letter in enumerate(line):
        mark, colour = marks[place], colours[place]
        new = place == 0 or marks[place - 1] != mark
        if new:
            pieces.append(f'<span class="annotated-name" data-symbol="{mark.split()[0]}">' if mark else "")
        if new or colours[place - 1] != colour:
            pieces.append(f'<span class="{colour}">')
        pieces.append(escape(letter))
        ends = place + 1 == len(line) or marks[place + 1] != mark
        pieces.append("</span>" if ends or colours[place + 1] != colour else "")
        pieces.append("</span>" if ends and mark else "")
    indent = len(line) - len(line.lstrip())
    return f'<span class="annotated-line" style="--indent: {indent}ch">{"".join(pieces)}\n</span>'


class AnnotatedDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        try:
            loss = annotated.losses()[self.arguments[0]]
        except (ValueError, KeyError) as error:
            raise self.error(f"annotated: {error}") from error
        if unread := annotated.unread(loss):
            raise self.error(f"annotated: {unread[0]}")
        for path in (annotated.SOURCE, NOTATION, *(annotated.ROOT / part.path for part in loss.parts)):
            self.env.note_dependency(str(path))
        shown = [node for part in loss.parts for node in self.function(part)]
        return [Annotated("div", *shown, self.legend(loss), class_="annotated")]

    def function(self, part: annotated.Part) -> list[nodes.Node]:
        lines = code(part)
        rows: list[nodes.Node] = []
        for row in part.rows:
            mine, lines = lines[: len(row.lines)], lines[len(row.lines) :]
            block = raw(f'<pre class="highlight annotated-code"><code>{"".join(mine)}</code></pre>')
            notes = Part("div", *self.notes(row), class_="annotated-notes")
            rows.append(Part("div", block, notes, class_="annotated-row"))
        first, last = part.rows[0].lines[0][0], part.rows[-1].lines[-1][0]
        where = self.parsed(f"Lines {first} to {last} of `{part.path}`.")
        return [Part("h3", nodes.literal(part.name, part.name)), *where, *rows]

    def notes(self, row: annotated.Row) -> list[nodes.Node]:
        """What stands beside the code."""
        made = self.parsed(row.says) if row.says else []
        if not row.latex:
            return made
        equation = self.parsed(f"$$\n{row.latex}\n$$")
        made.append(Part("div", *equation, class_="annotated-equation", data_marked=annotated.marked(row.latex)))
        names = ", ".join(f"`{name}`" for name in row.tests)
        source = f"Equation {{eq}}`{row.label}`. " if row.label else ""
        proof = self.parsed(f"{source}Test{'s' * (len(row.tests) > 1)}: {names.replace('::', '` › `')}.")
        return [*made, Part("div", *proof, class_="annotated-proof")]

    def legend(self, loss: annotated.Loss) -> Part:
        """The symbols that are used, with their meanings and their names in the code."""
        entries = {entry["symbol"]: entry for entry in annotated.notation()}
        items = []
        for symbol, names in annotated.used(loss).items():
            meaning = "; ".join(str(entries[symbol][key]) for key in ("meaning", "range") if key in entries[symbol])
            told = f"{meaning}. In the code: {', '.join(f'`{name}`' for name in names)}." if names else f"{meaning}."
            term = Part("span", *self.inline(f"${symbol}$"), data_marked=annotated.marked(symbol))
            pair = (Part("dt", term), Part("dd", *self.inline(told)))
            items.append(Part("div", *pair, class_="annotated-symbol", data_symbol=annotated.ids()[symbol]))
        return Part("div", Part("h3", nodes.Text("Symbols")), Part("dl", *items), class_="annotated-legend")

    def inline(self, text: str) -> list[nodes.Node]:
        return list(self.parsed(text)[0].children)

    def parsed(self, text: str) -> list[nodes.Node]:
        holder = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), source=annotated.SOURCE.name), 0, holder)
        return list(holder.children)


def add_script(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """The script ends the text, to run before MathJax, which waits for the document; a deferred one may be late."""
    if doctree is not None and doctree.next_node(Annotated):
        context["body"] += f'<script src="{context["pathto"]("_static/annotated.js", 1)}"></script>\n'


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("annotated", AnnotatedDirective)
    app.add_node(Annotated, html=(visit, depart))
    app.add_css_file("annotated.css")
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
