"""The book's tools: normalising notebooks, checking the built pages."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import check_pages
import notebooks
import vendor

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
    state = {second: {"state": {}}, first: {"state": {"layout": f"IPY_MODEL_{second}"}}}
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
    assert models[view]["state"]["layout"] == f"IPY_MODEL_{other}"


def linked_widgets(seed: int) -> nbformat.NotebookNode:
    """Two frames behind a slider by a link, and a text box that is never shown, under random model ids."""
    ids = random.Random(seed)
    names = ("box", "slider", "stack", "one", "two", "layout", "link", "unused", "unused_layout")
    model = {name: f"{ids.getrandbits(128):032x}" for name in names}
    ref = {name: f"IPY_MODEL_{identity}" for name, identity in model.items()}
    state = {
        "box": {"children": [ref["slider"], ref["stack"]]},
        "slider": {"layout": ref["layout"]},
        "stack": {"children": [ref["two"], ref["one"]]},
        "one": {"value": "1"},
        "two": {"value": "2"},
        "layout": {"width": None},
        "link": {"source": [ref["slider"], "value"], "target": [ref["stack"], "selected_index"]},
        "unused": {"layout": ref["unused_layout"]},
        "unused_layout": {},
    }
    models = {model[n]: {"model_name": "LinkModel" if n == "link" else "Model", "state": s} for n, s in state.items()}
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": model["box"]}}
    notebook = new_notebook(cells=[new_code_cell("box", id="box", outputs=[new_output("display_data", data=view)])])
    notebook.metadata.widgets = nbformat.from_dict({STATE: {"state": models}})
    return notebook


def test_models_are_numbered_as_the_page_reaches_them_and_unseen_ones_dropped() -> None:
    texts = {nbformat.writes(notebooks.normalise(linked_widgets(seed))) for seed in range(20)}
    assert len(texts) == 1
    state = json.loads(texts.pop())["metadata"]["widgets"][STATE]["state"]
    number = [f"{n:032x}" for n in range(7)]
    assert sorted(state) == number
    assert state[number[0]]["state"]["children"] == [f"IPY_MODEL_{number[1]}", f"IPY_MODEL_{number[3]}"]
    assert [state[number[n]]["state"]["value"] for n in (4, 5)] == ["2", "1"]
    assert state[number[6]]["model_name"] == "LinkModel"
    assert state[number[6]]["state"]["target"] == [f"IPY_MODEL_{number[3]}", "selected_index"]


def test_text_that_was_printed_in_pieces_is_one_output() -> None:
    outputs = [new_output("stream", name="stdout", text=text) for text in ("a", "b", "c")]
    outputs.insert(2, new_output("display_data", data={"text/plain": "x"}))
    cell = notebooks.normalise(new_notebook(cells=[new_code_cell("loop", outputs=outputs)])).cells[0]
    assert [output.get("text") for output in cell.outputs] == ["ab", None, "c"]


def test_stderr_in_a_page_is_refused() -> None:
    cell = new_code_cell("warn()", outputs=[new_output("stream", name="stderr", text="Warning: old")])
    with pytest.raises(SystemExit, match="Warning: old"):
        notebooks.refuse_noise(Path("page.ipynb"), new_notebook(cells=[cell]))


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of two pages, `a` and `b/c`, of which only `a` is built."""
    (tmp_path / "_toc.yml").write_text("root: a\nparts:\n  - chapters:\n      - file: b/c\n")
    html = tmp_path / "_build" / "html"
    (html / "_images").mkdir(parents=True)
    for name in ("index", "a"):
        (html / f"{name}.html").write_text("")
    monkeypatch.setattr(check_pages, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def page(book: Path) -> Path:
    """The file of the page `b/c`, so that all of the book is built."""
    path = book / "_build" / "html" / "b" / "c.html"
    path.parent.mkdir()
    path.write_text("")
    return path


def test_a_page_that_was_not_built_is_named(book: Path) -> None:
    assert check_pages.toc_pages() == ["a", "b/c"]
    with pytest.raises(SystemExit, match=r"left out 1 pages: _build/html/b/c\.html"):
        check_pages.main()


def test_a_page_too_heavy_with_its_pictures_is_named(
    book: Path, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = check_pages.PAGE_LIMIT
    text = '<img alt="x" src="../_images/a%20b.png"><img src="../_images/a%20b.png"><img src="../_static/logo.png">'
    page.write_text(text)
    picture = book / "_build" / "html" / "_images" / "a b.png"
    picture.write_bytes(bytes(limit - len(text)))
    check_pages.main()
    assert "3 pages built" in capsys.readouterr().out
    picture.write_bytes(bytes(limit - len(text) + 1))
    with pytest.raises(SystemExit, match=rf"b/c\.html has {limit + 1:,} bytes with its pictures; at most {limit:,}"):
        check_pages.main()


def test_a_picture_that_the_book_does_not_hold_is_named(book: Path, page: Path) -> None:
    page.write_text('<img src="../_images/gone.png"><img src="https://example.org/badge.svg">')
    with pytest.raises(
        SystemExit, match=r"c\.html shows \.\./_images/gone\.png, .*\n.*shows https://example\.org/badge"
    ):
        check_pages.main()


def write_widgets(path: Path, *widgets: tuple[str, str]) -> None:
    """A notebook that stores widgets, each given by its kind and its source, and one of ipywidgets' own models."""
    models = [{"state": {"_anywidget_id": kind, "_esm": source}} for kind, source in widgets]
    state = {f"{number:032x}": model for number, model in enumerate([*models, {"state": {"width": None}}])}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": [], "metadata": {"widgets": {STATE: {"state": state}}}}))


def test_a_widget_with_too_long_a_source_is_named(book: Path, page: Path) -> None:
    limit = check_pages.SOURCE_LIMIT
    write_widgets(book / "b" / "c.ipynb", ("lt.One", "x" * limit), ("lt.Two", "x"))
    check_pages.main()
    write_widgets(book / "b" / "c.ipynb", ("lt.One", "x" * (limit - 1) + "θ"), ("lt.Two", "x"))
    with pytest.raises(SystemExit, match=rf"b/c\.ipynb: lt\.One has {limit + 1:,} bytes of source; at most {limit:,}"):
        check_pages.main()


def test_two_widgets_of_one_kind_on_a_page_are_named(book: Path, page: Path) -> None:
    write_widgets(book / "b" / "c.ipynb", ("lt.One", "x"), ("lt.Two", "x"), ("lt.One", "x"))
    with pytest.raises(SystemExit, match=r"b/c\.ipynb: lt\.One is shown 2 times; at most once"):
        check_pages.main()


def test_the_lock_file_names_no_host() -> None:
    lock = (vendor.ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_node_comes_from_pypi_only_where_there_is_no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, path = tmp_path / "venv", tmp_path / "path"
    for folder in (beside, path):
        folder.mkdir()
    installed: list[list[str]] = []

    def executable(folder: Path) -> str:
        npm = folder / "npm"
        npm.write_text("")
        npm.chmod(0o755)
        return str(npm)

    def pip(command: list[str], check: bool) -> None:
        installed.append(command)
        executable(beside)

    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(subprocess, "run", pip)
    assert vendor.find_npm() == str(beside / "npm")
    assert [command[-1] for command in installed] == [vendor.NODE]
    assert vendor.find_npm() == str(beside / "npm")
    assert len(installed) == 1
    assert executable(path) == vendor.find_npm()
