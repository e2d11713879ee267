"""Link a chapter to the reference: the first mention of a public name in a page's code, and in its text, is a link.

`lt.losses.ALALoss` leads to its entry. What is folded in is passed over, since a reader would not see the link.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NAME = r'<span class="n">{}</span>'
DOT = r'<span class="o">\.</span>'
CODE = re.compile(DOT.join((NAME.format("lt"), NAME.format(r"([a-z_]+)"), NAME.format(r"(\w+)"))))
LITERAL = re.compile(r'<code class="docutils literal notranslate"><span class="pre">lt\.([a-z_]+)\.(\w+)</span></code>')
FOLDED = re.compile(r"(<details\b.*?</details>)", re.S)
LINK = re.compile(r"(<a\b.*?</a>)", re.S)  # there is no link within a link
REFERENCE = "book/api/"


def places(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Page and anchor of every name in the reference."""
    objects = app.env.get_domain("py").get_objects()
    return {name: (page, anchor) for name, _, _, page, anchor, _ in objects if page.startswith(REFERENCE)}


def linked(body: str, known: dict[str, str]) -> str:
    """A page's body with the first visible mentions of the ``known`` names as links to these addresses."""
    done: set[tuple[re.Pattern[str], str]] = set()

    def link(found: re.Match[str]) -> str:
        name = f"lt_core.{found[1]}.{found[2]}"
        if name not in known or (found.re, name) in done:
            return found[0]
        done.add((found.re, name))
        return f'<a class="api-mention" href="{escape(known[name])}">{found[0]}</a>'

    def in_part(part: str) -> str:
        pieces = LINK.split(part)
        pieces[::2] = [CODE.sub(link, LITERAL.sub(link, piece)) for piece in pieces[::2]]
        return "".join(pieces)

    parts = FOLDED.split(body)
    parts[::2] = [in_part(part) for part in parts[::2]]
    return "".join(parts)


def mention(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if doctree is None or pagename.startswith(REFERENCE):
        return
    known = {
        name: f"{app.builder.get_relative_uri(pagename, page)}#{anchor}" for name, (page, anchor) in places(app).items()
    }
    context["body"] = linked(context["body"], known)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", mention)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
