"""The index of the book's own search: every section of every page, its title and its words, in `sections.js`.

Sphinx's search knows pages, not sections, and shows no excerpt of a page opened from a file. The search page loads
this index as a script, which a browser allows from a file too; `search.js` looks into it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from plain_text import blocks, inline
from sphinx.application import Sphinx

Section = tuple[str, str, str]  # anchor, title, words
WRITTEN: dict[str, list[Section]] = {}


def sections(doctree: nodes.document) -> list[Section]:
    """Every section with a title, in order."""
    found = []
    for section in doctree.findall(nodes.section):
        if section.children and isinstance(section[0], nodes.title):
            words = " ".join(text for text in list(blocks(section))[1:] if text)
            found.append((section["ids"][0], " ".join(inline(section[0]).split()), words))
    return found


def collect(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    WRITTEN[docname] = sections(doctree)


def write(app: Sphinx, error: Exception | None) -> None:
    """One entry a page, in the book's order; those not written this time come from the last build."""
    if error is not None or app.builder.format != "html":
        return
    cache = Path(app.doctreedir) / "sections.json"
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    known = {name: found for name, found in {**known, **WRITTEN}.items() if name in app.env.all_docs}
    cache.write_text(json.dumps(known), encoding="utf-8")
    order = [app.config.root_doc, *app.env.toctree_includes.get(app.config.root_doc, [])]
    pages = [[app.builder.get_target_uri(name), known[name]] for name in order if name in known]
    text = f"const SECTIONS = {json.dumps(pages, ensure_ascii=False, separators=(',', ':'))};\n"
    (Path(app.outdir) / "sections.js").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", collect)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
