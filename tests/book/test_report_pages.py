"""The tables and figures of the experiments' chapters are those that the records give today."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
from drawings import difference

import lt_core as lt

PART = Path(__file__).parents[2] / "book" / "part3_experiments"
PAGES = sorted(PART.glob("*.ipynb"))
CALL = re.compile(r"lt\.report\.(?:\w+\.)?(\w+)\(((?:study|short)\b[^()]*)\)")
ITEMS: dict[str, Any] = {**lt.report.TABLES, **lt.report.FIGURES}


def cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def studies_of(path: Path) -> dict[str, lt.report.Study]:
    """What a page reads: it loads one ``study = lt.report.load_study("...")``, and may take a part of it.

    Chapter 13 has a second one, named for its schedule: ``short``.
    """
    source = "\n".join(c.source for c in cells(path))
    names = re.findall(r'^study = lt\.report\.load_study\("(\w+)"\)', source, re.M)
    assert len(names) == 1, f"{path.name} loads {names}; one study a page"
    tree = ast.parse(re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.M))
    loads = [node for node in tree.body if isinstance(node, ast.Assign)]
    parts: list[ast.stmt] = [node for node in loads if ast.unparse(node.targets[0]) in ("study", "short")]
    page: dict[str, Any] = {"lt": lt, "METHODS": lt.report.METHODS}
    exec(compile(ast.Module(parts, []), str(path), "exec"), page)
    return {name: page[name] for name in ("study", "short") if name in page}


def shown(path: Path) -> list[tuple[str, str, dict[str, Any], Any]]:
    """Name, study, keyword arguments and cell of every table and figure that a page shows; hidden cells show none."""
    found = []
    for cell in cells(path):
        if "remove-cell" in cell.metadata.get("tags", []):
            continue
        for name, arguments in CALL.findall(cell.source):
            if name in ITEMS:
                call = ast.parse(f"f({arguments})", mode="eval").body
                assert isinstance(call, ast.Call)
                named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
                found.append((name, ast.unparse(call.args[0]), named, cell))
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_the_page_stores_the_digest_of_the_records_it_shows(path: Path) -> None:
    texts = [o.get("text", "") for cell in cells(path) if "print(study)" in cell.source for o in cell.outputs]
    assert texts, "no cell prints the study"
    wanted = "\n".join(map(str, studies_of(path).values()))
    assert texts[0].strip() == wanted, "the records changed: re-execute the page and read it again"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_table_and_figure_is_what_the_records_give(path: Path) -> None:
    studies, items = studies_of(path), shown(path)
    assert len(items) >= 3
    lt.plots.use_style()
    for name, study, arguments, cell in items:
        made = ITEMS[name](studies[study], **arguments)
        data = [output.data for output in cell.outputs if "data" in output]
        if name in lt.report.TABLES:
            assert any(d.get("text/html") == made.to_html(**as_notebook(made)) for d in data), f"{name} differs"
            continue
        drawings = [d["image/svg+xml"] for d in data if "image/svg+xml" in d]
        assert len(drawings) == 1, f"{name}: one figure a cell"
        found = difference(lt.plots.svg(made), drawings[0])
        plt.close(made)
        assert not found, f"{name} looks otherwise: {found}"


def as_notebook(table: Any) -> dict[str, Any]:
    """What a notebook passes to `DataFrame.to_html`."""
    return {"max_rows": 60, "max_cols": 20, "show_dimensions": False, "notebook": True}


def prose(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_every_item_is_on_a_page_or_named_there_or_lacks_its_runs() -> None:
    on_pages = {name for path in PAGES for name, *_ in shown(path)}
    text = "\n".join(prose(path) for path in PAGES)
    for name, make in ITEMS.items():
        if name in on_pages:
            continue
        try:
            made = make(studies_of(PAGES[0])["study"])
        except lt.report.MissingRuns:
            continue
        if name in lt.report.FIGURES:
            plt.close(made)
        assert f"`{name}`" in text, f"no page shows {name}, and none says that `report` writes it"
