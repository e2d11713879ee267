"""One way to read a page: its cells, prose, displays and visible outputs. The checks of the pages share it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from check_pages import ROOT, toc_pages
from nbformat.v4 import new_markdown_cell

DISPLAY = re.compile(r"\$\$(.+?)\$\$[ \t]*(\([^)\s]*\))?", re.DOTALL)
FENCE = re.compile(r"^ *(`{3,}|:{3,})")
QUIZ = "## Check yourself"
EXERCISES = "## Exercises"
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
NO_OUTPUT = {"remove-output", "remove-cell"}


def pages() -> list[Path]:
    """The file of every page in the table of contents, in order."""
    return [path for page in toc_pages() for s in (".ipynb", ".md") if (path := ROOT / f"{page}{s}").is_file()]


def chapters() -> list[Path]:
    """The pages with a chapter's number."""
    return [path for path in pages() if path.stem[0].isdigit()]


def page_named(name: str) -> Path:
    """The page whose file has this name or path, or begins with this number."""
    names = {path: (path.stem, path.name, path.stem.split("_")[0]) for path in pages()}
    found = [path for path in names if name in names[path] or path == Path(name).resolve()]
    if len(found) != 1:
        sys.exit(f"no page is called {name!r}; there are {', '.join(path.stem for path in names)}")
    return found[0]


def cells(path: Path) -> list[Any]:
    """The cells of a page; a Markdown file is one cell."""
    if path.suffix == ".ipynb":
        return list(nbformat.read(path, as_version=4).cells)
    return [new_markdown_cell(path.read_text(encoding="utf-8"))]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def parsed(source: str) -> ast.Module:
    """A cell's code, with ``pass`` for shell lines and magics."""
    return ast.parse(re.sub(r"(?m)^(\s*)[!%].*$", r"\1pass", source))


def prose(path: Path) -> str:
    """The text of a page without its code cells."""
    return "\n\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")


def displays(text: str) -> list[tuple[str, str]]:
    """Label and LaTeX of every displayed equation, in order; the label is "" where it has none."""
    return [(label.strip("()"), latex) for latex, label in DISPLAY.findall(text)]


def lesson(path: Path) -> list[Any]:
    """The cells before the quiz and the exercises; all, where a page has neither. A cell with the heading is cut there.

    What a reader does there is no part of the sitting: it counts into no length or time, and its numbers have checks
    of their own.
    """
    found = []
    for cell in cells(path):
        before, *after = re.split(rf"(?m)^(?:{QUIZ}|{EXERCISES})", cell.source, maxsplit=1)
        if cell.cell_type == "markdown" and after:
            return [*found, new_markdown_cell(before.strip())]
        found.append(cell)
    return found


def visible_outputs(cell: Any) -> list[Any]:
    """The outputs that the page shows."""
    return [] if tags(cell) & NO_OUTPUT else list(cell.get("outputs", []))


def words_only(text: str, roles: bool = False) -> str:
    """Markdown as it is read: no fenced code, directive lines, options, comments, displays, link targets or references.

    With ``roles`` the last two stay.
    """
    text = re.sub(r"<!--.*?-->", "", DISPLAY.sub(" ", text), flags=re.DOTALL)
    kept, code = [], ""
    options = False  # right below the line that opens a directive
    for line in text.splitlines():
        fence = FENCE.match(line)
        if code:
            code = "" if fence and line.strip() == code else code
        elif fence and "{" not in line and line.strip() != fence[1]:
            code = fence[1]  # a language after the fence: code up to the same fence
        elif fence:
            options = "{" in line
            kept.append(re.sub(r"^ *[`:]+\{[^}]*\}", "", line) if options else "")
        elif not (options and re.match(r"^ *:[\w-]+:", line)):
            kept.append(line)
            options = False
    if roles:
        return "\n".join(kept)
    text = re.sub(r"\{(?:eq|numref|ref|cite|cite:\w+|prf:ref|doc)\}`[^`]*`", " ", "\n".join(kept))
    return re.sub(r"\]\([^)]*\)", "]", text)
