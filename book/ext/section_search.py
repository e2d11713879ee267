"""The index of the book's own search: every section of every page, its title, words and code, in `sections.js`.

Sphinx's search knows pages, not sections, and shows no excerpt of a page opened from a file. The search page loads
this index as a script, which a browser allows from a file too; `search.js` looks into it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from plain_text import blocks, inline, titled
from sphinx.application import Sphinx

Section = tuple[str, str, str, str]  # anchor, title, words, code
WRITTEN: dict[str, list[Section]] = {}


def text(parts: Iterable[nodes.TextElement]) -> str:
    return " ".join(" ".join(inline(part).split()) for part in parts)


def sections(doctree: nodes.document) -> list[Section]:
    """Every section with a title, in order."""
    found = []
    for section in doctree.findall(nodes.section):
        if titled(section):
            parts = list(blocks(section))[1:]
            code = [part for part in parts if isinstance(part, nodes.literal_block)]
            words = [part for part in parts if not isinstance(part, nodes.literal_block)]
            found.append((section["ids"][0], text(section[:1]), text(words), text(code)))
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
    pages = [[app.builder.get_target_uri(name), known[name]] for name in app.env.collect_relations() if name in known]
    script = f"const SECTIONS = {json.dumps(pages, ensure_ascii=False, separators=(',', ':'))};\n"
    (Path(app.outdir) / "sections.js").write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", collect)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
