"""Rules that every page of the book keeps."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest

import lt_core as lt

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from check_pages import toc_pages, widget_models
from displays import equation_tests, faults
from notebooks import normalise
from pages import chapters, displays, page_named, pages, prose

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path for path in pages() if path.suffix == ".ipynb")
CHAPTERS = chapters()
WIDGET = "application/vnd.jupyter.widget-view+json"
FENCE = re.compile(r"```\{math\}|\\begin\{(equation|align|gather|multline)\*?\}|\\\[")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_every_page_of_the_toc_exists_once() -> None:
    listed = toc_pages()
    assert len(pages()) == len(listed) == len(set(listed))


@pytest.mark.parametrize("name", ["06", "06_ala", "06_ala.ipynb", "book/part2_adjusting/06_ala.ipynb"])
def test_a_page_has_several_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert page_named(name).relative_to(ROOT).as_posix() == "book/part2_adjusting/06_ala.ipynb"


def test_a_page_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SystemExit, match=r"no page is called '6'; there are index, .*, 06_ala, "):
        page_named("6")


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.stem)
def test_every_display_has_a_label_and_every_label_a_test(path: Path) -> None:
    text = prose(path)
    assert not FENCE.search(text), "write displays as $$ … $$ (label)"
    labels = [label for label, _ in displays(text)]
    assert "" not in labels, f"display {labels.index('') + 1} has no label"
    assert len(labels) == len(set(labels)), "a label is used twice"
    untested = sorted(set(labels) - equation_tests().keys())
    assert not untested, f"no test evaluates {untested}"


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.stem)
def test_every_display_is_the_one_its_test_was_read_beside(path: Path) -> None:
    found = faults(str(path.relative_to(ROOT)), prose(path), equation_tests())
    assert not found, "\n".join(found)


def test_every_equation_test_has_its_display() -> None:
    labels = {label for path in pages() for label, _ in displays(prose(path))}
    unseen = sorted(equation_tests().keys() - labels)
    assert not unseen, f"no page displays {unseen}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_executed_without_errors(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells), "no committed output"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert not (output.output_type == "stream" and output.name == "stderr"), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_reads_no_file_beside_it(path: Path) -> None:
    """On Colab it stands alone: records are found by `lt.records.find_results`."""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not re.search(r"""["']\.\.?/""", cell.source), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_as_its_command_writes_it(path: Path) -> None:
    before = read(path)
    after = normalise(read(path))
    assert before.metadata == after.metadata
    changed = [old.source for old, new in zip(before.cells, after.cells, strict=True) if old != new]
    assert not changed, f"run python book/tools/notebooks.py {path.relative_to(ROOT)}; cells that differ:\n{changed}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_follows_the_template(path: Path) -> None:
    text = prose(path)
    for heading in ("In this chapter", "## Which should I use?", "## Summary", "## Exercises", "## Further reading"):
        assert heading in text, f"{heading} is missing"
    kinds = re.findall(r"```\{exercise-start\} ([^\n]*)", text) + re.findall(r"```+\{exercise\} ([^\n]*)", text)
    for kind in ("Derive", "Code", "Experiment"):
        assert sum(name.startswith(kind) for name in kinds) >= 2, f"fewer than two exercises of kind {kind}"
    unmarked = [name for name in kinds if not re.match(r"(Derive|Code|Experiment|Read) ★{1,3}: \S", name)]
    assert not unmarked, f"exercises without kind, stars and title: {unmarked}"
    assert "★ follows from the page, ★★ takes a step of its own, ★★★ needs an idea." in text
    solutions = len(re.findall(r"\{solution(?:-start)?\}", text))
    assert solutions == len(kinds), f"{len(kinds)} exercises, {solutions} solutions"
    assert text.count(":class: dropdown") >= solutions


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_figure_has_caption_and_alt_text(path: Path) -> None:
    for cell in read(path).cells:
        # A widget's picture is what shows where widgets do not; its frames bring their own texts.
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        pictures = [data for data in shown if {"image/png", "image/svg+xml"} & data.keys() and WIDGET not in data]
        if not pictures:
            continue
        options = cell.metadata.get("mystnb", {})
        assert len(pictures) == 1, "one figure a cell"
        assert len(options.get("image", {}).get("alt", "")) > 40, f"no alt text: {cell.source[:60]}"
        assert len(options.get("figure", {}).get("caption", "")) > 20, f"no caption: {cell.source[:60]}"
        assert options.get("figure", {}).get("name"), f"no figure name: {cell.source[:60]}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_widget_says_what_to_notice(path: Path) -> None:
    cells = read(path).cells
    places = [i for i, cell in enumerate(cells) for o in cell.get("outputs", []) if WIDGET in o.get("data", {})]
    assert places or path not in CHAPTERS, "a chapter has a widget"
    for place in places:
        assert cells[place + 1].source.startswith("**What to notice.**"), cells[place].source[:60]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_widgets_are_those_of_the_package(path: Path) -> None:
    """A change of a script reaches the pages by `make notebooks`."""
    for model in widget_models(path).values():
        if "_esm" in model["state"]:
            kind = getattr(lt.widgets, model["state"]["_anywidget_id"].rpartition(".")[2])
            assert model["state"]["_esm"] == str(kind._esm), f"{kind.__name__}: run make notebooks"
            assert model["state"]["_css"] == str(kind._css), f"{kind.__name__}: run make notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_checked_outputs_name_no_machine(path: Path) -> None:
    """No path, address or time in an output that nbval compares."""
    noise = re.compile(r"0x[0-9a-f]{6,}|/(home|root|tmp|usr|content)/|cuda:\d|\d+(\.\d+)? ?(s|ms|it/s|img/s)\b")
    for cell in read(path).cells:
        if cell.cell_type != "code" or "nbval-ignore-output" in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            assert not noise.search(text), f"{noise.search(text)} in the output of: {cell.source[:60]}"
