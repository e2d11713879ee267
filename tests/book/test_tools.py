"""The book's tools: normalising notebooks, checking the built pages."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import check_pages
import notebooks

STATE = "application/vnd.jupyter.widget-state+json"


def executed(first: str, second: str) -> nbformat.NotebookNode:
    """A notebook as one kernel run leaves it; ``first`` and ``second`` are its random widget model ids."""
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": first}}
    cells = [
        new_markdown_cell("text"),
        new_code_cell("slider", execution_count=7, outputs=[new_output("display_data", data=view)]),
        new_code_cell("1", outputs=[new_output("execute_result", data={"text/plain": "1"}, execution_count=9)]),
        new_code_cell("1"),
    ]
    cells[1].metadata = {"execution": {"iopub.execute_input": "2026-01-01"}, "tags": ["keep"]}
    state = {second: {"state": {"layout": f"IPY_MODEL_{first}"}}, first: {"state": {}}}
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3.11.7"}})
    notebook.metadata.widgets = nbformat.from_dict({STATE: {"state": state, "version_major": 2, "version_minor": 0}})
    return notebook


def test_two_runs_of_one_notebook_normalise_to_the_same_file() -> None:
    one = notebooks.normalise(executed("a" * 32, "b" * 32))
    two = notebooks.normalise(executed("d" * 32, "c" * 32))
    assert nbformat.writes(one) == nbformat.writes(two)
    assert nbformat.writes(notebooks.normalise(copy.deepcopy(one))) == nbformat.writes(one)
    nbformat.validate(one)


def test_normalising_removes_noise_and_keeps_what_means_something() -> None:
    notebook = notebooks.normalise(executed("a" * 32, "b" * 32))
    text = nbformat.writes(notebook)
    assert "2026-01-01" not in text
    assert "3.11.7" not in text
    assert notebook.cells[1].metadata == {"tags": ["keep"]}
    assert len({cell.id for cell in notebook.cells}) == 4
    models = notebook.metadata.widgets[STATE]["state"]
    view = notebook.cells[1].outputs[0].data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert view in models
    other = next(name for name in models if name != view)
    assert models[other]["state"]["layout"] == f"IPY_MODEL_{view}"


def test_text_that_was_printed_in_pieces_is_one_output() -> None:
    outputs = [new_output("stream", name="stdout", text=text) for text in ("a", "b", "c")]
    outputs.insert(2, new_output("display_data", data={"text/plain": "x"}))
    cell = notebooks.normalise(new_notebook(cells=[new_code_cell("loop", outputs=outputs)])).cells[0]
    assert [output.get("text") for output in cell.outputs] == ["ab", None, "c"]


def test_stderr_in_a_page_is_refused() -> None:
    cell = new_code_cell("warn()", outputs=[new_output("stream", name="stderr", text="Warning: old")])
    with pytest.raises(SystemExit, match="Warning: old"):
        notebooks.refuse_noise(Path("page.ipynb"), new_notebook(cells=[cell]))


def test_a_page_that_was_not_built_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_toc.yml").write_text("root: a\nparts:\n  - chapters:\n      - file: b/c\n")
    html = tmp_path / "_build" / "html"
    html.mkdir(parents=True)
    for name in ("index", "a"):
        (html / f"{name}.html").write_text("")
    monkeypatch.setattr(check_pages, "ROOT", tmp_path)
    assert check_pages.toc_pages() == ["a", "b/c"]
    with pytest.raises(SystemExit, match=r"left out 1 pages: _build/html/b/c\.html"):
        check_pages.main()
