"""Write the edition of the notebooks that Colab opens and that the download button gives: `_build/colab`.

    python book/tools/colab.py [PAGE ...]         (default: every notebook of the table of contents; `make colab`)

It is generated and never edited; the workflow publishes it to the branch `colab`. Theorems, exercises, references and
citations are plain Markdown there, with the numbers of the pages; solutions fold; the first code cell is the same in
all notebooks and installs `lt_core` from the repository at one commit. Assignments come from `_build/assignments`.
"""

from __future__ import annotations

import copy
import re
import shutil
import sys
from pathlib import Path

import nbformat
from address import BRANCH, commit, repository, setup_source, site
from labels import numbers, title
from nbformat.v4 import new_code_cell, new_markdown_cell
from notebooks import KERNEL, LANGUAGE, stable_ids
from pages import NO_OUTPUT, ROOT, page_named, pages, tags
from plain import Plain, RawMyST, page_name

OUT = ROOT / "_build" / "colab"
ASSIGNMENTS = ROOT / "_build" / "assignments"
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
RAW = re.compile(r"^\s*(?:`{3,}|:{3,})\{.*|\{[a-z:]+\}`[^`]*`|^\([\w-]+\)=.*|\$\$ *\([\w-]+\)", re.MULTILINE)
CODE = re.compile(r"^(`{3,})[^{\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
README = """\
# The notebooks of {title}

Generated from the book's pages at commit {commit}; edit those, not these. Each notebook opens in Colab, JupyterLab and
VS Code, and its first code cell says where `lt_core` comes from.
"""


def setup_cell(address: str, revision: str) -> nbformat.NotebookNode:
    """The one set-up cell, folded."""
    return new_code_cell(setup_source(address, revision), metadata=form())


def form() -> nbformat.NotebookNode:
    """Metadata that fold a cell's code in Colab and in JupyterLab."""
    return nbformat.from_dict({"cellView": "form", "jupyter": {"source_hidden": True}})


def edition(path: Path, address: str = "", revision: str = "") -> nbformat.NotebookNode:
    """A page's notebook as plain Markdown, ready to run."""
    page, plain = nbformat.read(path, as_version=4), Plain(path, site(address))
    cells = [new for cell in page.cells for new in converted(cell, plain)]
    cells[1:1] = [new_markdown_cell(note(path, plain.site)), setup_cell(address, revision)]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE, "colab": {"provenance": []}})
    if page.metadata.get("widgets"):
        made.metadata.widgets = page.metadata.widgets
    stable_ids(made)
    if faults := raw(made):
        raise RawMyST(f"{path.name}: left raw: {faults}")
    return made


def note(path: Path, address: str) -> str:
    name = title(path)
    page = f"[{name}]({address}/{page_name(path)}.html)" if address else f"*{name}*"
    return f"The runnable edition of the page {page}. Run the next cell first: without `lt_core` nothing else works."


def converted(cell: nbformat.NotebookNode, plain: Plain) -> list[nbformat.NotebookNode]:
    """What a cell of the page becomes."""
    if cell.cell_type != "code":
        return [new_markdown_cell(text) for text in plain.cells(cell.source)]
    new, figure = copy.deepcopy(cell), cell.metadata.get("mystnb", {}).get("figure", {})
    new.metadata = form() if tags(cell) & FOLDED else nbformat.NotebookNode()
    if tags(cell) & FOLDED:
        new.source = f"# @title {form_title(cell, figure.get('name', ''))}\n{cell.source}"
    if tags(cell) & NO_OUTPUT:
        new.outputs = []
    if not figure:
        return [new]
    number = numbers().get(figure["name"])
    caption = plain.text(figure["caption"])
    return [new, new_markdown_cell(f"**{number}.** {caption}" if number else caption)]


def form_title(cell: nbformat.NotebookNode, figure: str) -> str:
    if figure:
        return f"The code of {numbers().get(figure, 'the figure')}"
    if "remove-cell" in tags(cell):
        return "A check, which the page leaves out"
    return "Imports" if "import lt_core" in cell.source else "Code"


def raw(notebook: nbformat.NotebookNode) -> list[str]:
    """The MyST that a reader of the notebook would see."""
    texts = [CODE.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    return [found[0] for text in texts for found in RAW.finditer(text)]


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def notebook_pages() -> list[Path]:
    return [path for path in pages() if path.suffix == ".ipynb"]


def write_all(named: list[Path], out: Path) -> list[Path]:
    """Write the editions of these pages and of the assignments that were generated."""
    address, revision = repository(), commit()
    shutil.rmtree(out, ignore_errors=True)
    for path in named:
        write(edition(path, address, revision), out / path.relative_to(ROOT))
    for path in sorted(ASSIGNMENTS.glob("hw*/colab/hw*.ipynb")):
        write(restamped(nbformat.read(path, as_version=4), address, revision), out / "book" / "assignments" / path.name)
    heading = title(ROOT / "book" / "index.ipynb")
    (out / "README.md").write_text(README.format(title=heading, commit=revision), encoding="utf-8")
    return sorted(out.rglob("*.ipynb"))


def restamped(assignment: nbformat.NotebookNode, address: str, revision: str) -> nbformat.NotebookNode:
    """An assignment's edition, which may have been generated at another commit, with today's set-up cell."""
    if "@title Set-up" not in assignment.cells[0].source:
        raise ValueError("an assignment was generated by an older version: run make assignments")
    assignment.cells[0].source = setup_source(address, revision)
    stable_ids(assignment)
    return assignment


def main() -> None:
    written = write_all([page_named(name) for name in sys.argv[1:]] or notebook_pages(), OUT)
    if not list(ASSIGNMENTS.glob("hw*/colab/hw*.ipynb")):
        print("without assignments: make assignments writes them")
    if not repository():
        print("the repository's address is not set, and the set-up cells say so: make publish REPO=owner/name")
    print(f"{len(written)} notebooks in {OUT.relative_to(ROOT)}, for the branch {BRANCH}")


if __name__ == "__main__":
    main()
