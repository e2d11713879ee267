"""What every page gets: a description and a preview picture for whoever links to it, a sentence where something needs
JavaScript, and solutions whose title is no link, so that a click on it opens them."""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from docutils import nodes
from plain_text import inline
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import solution_node

LENGTH = 170  # characters of a description; search engines show about 160
FRAME = ("In this chapter", "Prerequisites", "What to notice", "Open in Colab")  # how every chapter begins
PREVIEW = "_static/preview.png"
WIDGET = '<script type="application/vnd.jupyter.widget-view+json">'
NO_WIDGET = "A widget stands here. It needs JavaScript, which is off in this browser."
NO_FORMULAS = "Formulas need JavaScript, which is off in this browser: you see their TeX."


def description(doctree: nodes.document) -> str:
    """The first sentences of the page's own text, as many as fit."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(inline(paragraph).split())
        if not isinstance(paragraph.parent, nodes.section) or len(text) < 60 or text.startswith(FRAME):
            continue
        if len(text) <= LENGTH:
            return text
        whole = re.match(rf".{{60,{LENGTH - 1}}}[.?!](?= )", text)
        return whole[0] if whole else text[: text.rindex(" ", 0, LENGTH - 1)] + "…"
    return ""


def describe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Meta elements of a page's head, except a description that the page brings itself."""
    if doctree is None:
        return
    own = [node["content"] for node in doctree.findall(nodes.meta) if node.get("name") == "description"]
    text = own[0] if own else description(doctree)
    title = unescape(re.sub(r"<[^>]*>", "", context["title"]))
    base = app.config.html_baseurl
    preview = f"{base.rstrip('/')}/{PREVIEW}" if base else context["pathto"](PREVIEW, 1)
    named = [] if own else [("name", "description", text)]
    shared = {"title": title, "description": text, "type": "article", "site_name": app.config.html_title}
    shared |= {"image": preview, "image:alt": "The sizes of ten classes, falling from many images to one."}
    named += [("property", f"og:{key}", value) for key, value in shared.items()]
    lines = [f'<meta {kind}="{key}" content="{escape(value)}" />' for kind, key, value in named]
    context["metatags"] = context.get("metatags", "") + "\n" + "\n".join(lines)


def note(text: str) -> str:
    return f'<noscript><p class="no-script">{text}</p></noscript>'


def tell_without_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    if doctree is None:
        return
    body = context["body"].replace(WIDGET, note(NO_WIDGET) + WIDGET)
    if doctree.next_node(nodes.math) or doctree.next_node(nodes.math_block):
        body = body.replace("</h1>", f"</h1>\n{note(NO_FORMULAS)}", 1)
    context["body"] = body


def draw_preview(app: Sphinx, error: Exception | None) -> None:
    """The picture that a link to the book shows: class sizes of a long tail, and the title."""
    if error is not None or app.builder.format != "html":
        return
    from matplotlib.figure import Figure

    from lt_core.plots import BLUE, GREEN, RED

    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="#ffffff")
    axes = figure.add_axes((0.07, 0.08, 0.86, 0.56))
    sizes = [100 ** (-place / 9) for place in range(10)]
    colours = [BLUE] * 3 + [GREEN] * 4 + [RED] * 3  # many, medium, few, as everywhere in the book
    axes.bar(range(10), sizes, color=colours, width=0.82)
    axes.set_axis_off()
    figure.text(0.93, 0.86, "Logit Adjustment", size=46, ha="right", weight="bold", color="#1c1e21")
    figure.text(0.93, 0.73, "for the Long Tail", size=46, ha="right", weight="bold", color="#1c1e21")
    figure.text(0.93, 0.64, "a textbook that runs", size=26, ha="right", color="#5b6066")
    figure.savefig(Path(app.outdir) / PREVIEW, metadata={"Software": None})


class OpenSolutionByItsTitle(SphinxPostTransform):
    """sphinx_exercise links the title to the exercise, which stands just above; the click then jumps instead."""

    default_priority = 30  # after sphinx_exercise has resolved the titles

    def run(self, **kwargs: Any) -> None:
        for solution in self.document.findall(solution_node):
            for link in list(solution[0].findall(nodes.reference)):
                link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", describe)
    app.connect("html-page-context", tell_without_scripts)
    app.connect("build-finished", draw_preview)
    app.add_post_transform(OpenSolutionByItsTitle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
