"""Build the same book with plain Sphinx, without Jupyter Book, and compare the pages: `make plain-sphinx`.

    python book/tools/plain_sphinx.py           (after `make book`; `--compare` compares two builds that are there)

Jupyter Book 1 is only maintained; this shows every week that the book can go on without it. The settings are those of
`sphinx_conf.py`, the packages those of `sphinx_packages.txt`, warnings are errors. It fails where a page is missing, or
where one differs from Jupyter Book's in its words, equations, figures, theorems, tables, widgets or anchors. What the
reference's pages import (PyTorch, lt_core) is borrowed from `.venv`; Jupyter Book is barred.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from check_pages import toc_pages
from environment import ROOT, environment
from sphinx_conf import conf, config

OUT = ROOT / "_build" / "sphinx"
PACKAGES = ROOT / "book" / "tools" / "sphinx_packages.txt"
BARRED = "\nimport sys\n\nsys.modules |= dict.fromkeys(('jupyter_book', 'sphinx_comments'))\n"  # an import fails
# What must be there as often, page by page.
KINDS = {
    "displays": "div.math",
    "formulas": "span.math",
    "figures": "figure",
    "drawings": "svg.lt-figure",
    "pictures": "img",
    "theorems": "div.proof",
    "exercises": "div.exercise",
    "solutions": "div.solution",
    "admonitions": "div.admonition",
    "code cells": "div.cell",
    "outputs": "div.cell_output",
    "widgets": 'script[type="application/vnd.jupyter.widget-view+json"]',
    "tables": "table",
    "questions": "fieldset.quiz-question",
    "citations": "a.bibtex, cite",
    "names of the reference": "dt.sig",
    "unresolved references": "span.problematic, .system-message",
}
# What must be there with the same numbers.
NUMBERED = {"equations": ".eqno", "captions": ".caption-number", "theorems": ".proof > .admonition-title"}
# What the two print otherwise though nothing is lost: marks of links to headings, and buttons.
RENAMED = {"abstractmethod": "abstract"}  # autodoc's word from Sphinx 9 on
MARKS = "a.headerlink, button, .copybtn, div.prev-next-area, #jb-print-docs-body"


def packages() -> list[str]:
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def build() -> Path:
    """The folder of the pages."""
    python = environment(OUT / "venv", packages())
    folder = OUT / "conf"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conf.py").write_text(conf(config(), f"{ROOT}/") + BARRED, encoding="utf-8")
    pages = OUT / "html"
    command = [str(python), "-m", "sphinx", "-b", "html", "-a", "-E", "-W", "-n", "--keep-going", "-q"]
    command += ["-c", str(folder), "-d", str(OUT / "doctrees"), str(ROOT), str(pages)]
    if subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode:
        sys.exit("plain Sphinx does not build the book: see above")
    return pages


def article(html: str) -> Tag:
    """What a reader reads of a page."""
    found = BeautifulSoup(html, "html.parser").select_one("article.bd-article")
    if found is None:
        raise ValueError("a page without an article")
    for mark in found.select(MARKS):
        mark.decompose()
    return found


def words(part: Tag) -> list[str]:
    """Letters and digits only: typesetting of quotes and dashes is the theme's."""
    return [RENAMED.get(word, word) for word in re.findall(r"\w+", part.get_text(" "))]


def differences(theirs: str, ours: str) -> list[str]:
    """What the second page has otherwise than the first."""
    one, two = article(theirs), article(ours)
    found = []
    for name, selector in KINDS.items():
        before, after = len(one.select(selector)), len(two.select(selector))
        found += [f"{after} {name} in place of {before}"] if before != after else []
    for name, selector in NUMBERED.items():
        before, after = ([" ".join(words(tag)) for tag in part.select(selector)] for part in (one, two))
        found += [f"{name}: {after} in place of {before}"] if before != after else []
    anchors = Counter(tag["id"] for tag in one.select("[id]")) - Counter(tag["id"] for tag in two.select("[id]"))
    found += [f"no anchor {', '.join(sorted(anchors)[:5])}"] if anchors else []
    lost, new = Counter(words(one)) - Counter(words(two)), Counter(words(two)) - Counter(words(one))
    found += [f"words lost: {' '.join(list(lost)[:12])}"] if lost else []
    found += [f"words added: {' '.join(list(new)[:12])}"] if new else []
    return found


def compare(theirs: Path, ours: Path, names: list[str]) -> list[str]:
    """All differences between two builds of these pages."""
    found = [f"{name}: not built" for name in names if not (ours / f"{name}.html").is_file()]
    for name in names:
        pair = [folder / f"{name}.html" for folder in (theirs, ours)]
        if pair[1].is_file():
            found += [f"{name}: {fault}" for fault in differences(*(path.read_text(encoding="utf-8") for path in pair))]
    return found


def main() -> None:
    theirs, names = ROOT / "_build" / "html", toc_pages()
    if missing := [name for name in names if not (theirs / f"{name}.html").is_file()]:
        sys.exit(f"Jupyter Book's pages are not there ({missing[0]}, …): make book")
    ours = OUT / "html" if sys.argv[1:] == ["--compare"] else build()
    if found := compare(theirs, ours, names):
        sys.exit("\n".join(found))
    print(f"plain Sphinx builds the same {len(names)} pages")


if __name__ == "__main__":
    main()
