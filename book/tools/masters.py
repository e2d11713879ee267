"""The masters of the assignments: what stands in them, what otter makes of one, and what must never reach a student.

    python book/tools/masters.py TEXT.md MASTER.ipynb

writes a master from its text form (`jupytext --to md:myst`), normalised. How one is written: see `assignments.py`.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from address import commit, repository, setup_source
from grading import Tests
from nbformat.v4 import new_code_cell, new_markdown_cell
from notebooks import KERNEL, normalise, stable_ids
from otter.assign import main as otter_assign
from pages import ROOT

MASTERS = ROOT / "book" / "assignments"
# What all masters share; the configuration of a master adds its name and its title.
SHARED = {
    "tests": {"ok_format": False},  # a test is a function: it may have a name, and its messages are its assertions'
    "show_question_points": True,
    "export_cell": {"pdf": False},
    "python_version": "3.12",
}
NEEDS = ["torch>=2.6"]  # where a grader installs packages by itself (Gradescope); `otter run` installs nothing
# Below the set-up cell of all notebooks. otter asks for a newer ipywidgets than Colab ships; its tests need none.
OTTER = """\
# The grader's package, on Colab; it changes no package that Colab ships. Elsewhere this does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q --no-deps "otter-grader>=7,<8" dill fica ipylab python-frontmatter wrapt
"""
FIXED = (1980, 1, 1, 0, 0, 0)  # the time of every file in a zip
SHORT = 12  # a line of a solution below this length says nothing


@dataclass(frozen=True)
class Question:
    """A question of a master: its text, the sources of its solution cells and of its tests."""

    name: str
    title: str
    manual: bool
    points: float | None  # of a question that a person grades
    solution: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Editions:
    """What otter has made of a master."""

    solution: nbformat.NotebookNode
    student: nbformat.NotebookNode
    archive: Path
    tests: Tests  # hidden ones included


def read(master: Path) -> nbformat.NotebookNode:
    return nbformat.read(master, as_version=4)


def boundary(cell: nbformat.NotebookNode) -> str:
    """BEGIN or END of which block a raw cell is; "" for all other cells."""
    first = cell.source.splitlines()[0] if cell.cell_type == "raw" and cell.source else ""
    found = re.match(r"#\s*((?:BEGIN|END) (?:QUESTION|SOLUTION|TESTS|PROMPT)|ASSIGNMENT CONFIG)\s*$", first, re.I)
    return found[1].upper() if found else ""


def questions(master: nbformat.NotebookNode) -> list[Question]:
    """The questions of a master, in order."""
    found: list[Question] = []
    block, cells = "", dict[str, list[nbformat.NotebookNode]]()
    for cell in master.cells:
        mark = boundary(cell)
        if mark == "BEGIN QUESTION":
            block, cells = "QUESTION", {"QUESTION": [], "SOLUTION": [], "TESTS": [], "PROMPT": []}
            settings = yaml.safe_load(cell.source)
        elif mark == "END QUESTION":
            found.append(_question(settings, cells))
            block = ""
        elif mark and block:
            block = mark.split()[1] if mark.startswith("BEGIN") else "QUESTION"
        elif block:
            cells[block].append(cell)
    return found


def _question(settings: dict[str, Any], cells: dict[str, list[nbformat.NotebookNode]]) -> Question:
    text = "\n".join(cell.source for cell in cells["QUESTION"] if cell.cell_type == "markdown")
    heading = re.search(r"^#+\s*(.+)$", text, re.MULTILINE)
    return Question(
        name=settings["name"],
        title=heading[1] if heading else settings["name"],
        manual=settings.get("manual", False),
        points=settings.get("points"),
        solution=tuple(cell.source for cell in cells["SOLUTION"]),
        tests=tuple(cell.source for cell in cells["TESTS"]),
    )


def configured(master: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a master whose configuration has what all masters share."""
    copied = nbformat.from_dict(master)
    first = copied.cells[0]
    if boundary(first) != "ASSIGNMENT CONFIG":
        raise ValueError("the first cell of a master is its ASSIGNMENT CONFIG")
    imports = any(re.search(r"^\s*(import|from) lt_core\b", cell.source, re.MULTILINE) for cell in copied.cells)
    address = repository()  # without one, a grader has no place to install the package from
    needs = [*NEEDS, f"lt-core @ git+{address}@{commit()}"] if imports and address else NEEDS
    settings = {**SHARED, "requirements": needs, **(yaml.safe_load(first.source) or {})}
    first.source = "# ASSIGNMENT CONFIG\n" + yaml.safe_dump(settings, sort_keys=False)
    return copied


def editions(master: Path, folder: Path) -> Editions:
    """Let otter make the editions of a master below `folder`."""
    name, work = master.stem, folder / "otter"
    work.mkdir(parents=True)
    nbformat.write(configured(read(master)), work / master.name)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)  # otter leaves a folder of tests behind
    try:
        otter_assign(str(work / master.name), str(work), no_pdfs=True, no_run_tests=True)
    finally:
        tempfile.tempdir = before
    archive = next((work / "autograder").glob("*.zip"))
    with zipfile.ZipFile(archive) as files:
        order = [question.name for question in questions(read(master)) if question.tests]
        tests = {question: files.read(f"tests/{question}.py").decode() for question in order}
    solution, student = (read(work / part / f"{name}.ipynb") for part in ("autograder", "student"))
    return Editions(tidied(solution), tidied(student), archive, tests)


def tidied(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A generated notebook with ids that its text gives, in place of random ones; what otter keeps in it stays."""
    notebook.nbformat_minor = 5
    notebook.metadata.kernelspec = nbformat.from_dict(KERNEL)
    stable_ids(notebook)
    return notebook


def colab(student: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The student's edition for Colab, where a notebook cannot read its own metadata: a cell writes the tests to files.

    Grading passes over the three cells in front, so that they never replace the grader's tests.
    """
    edition = nbformat.from_dict(student)
    tests = edition.metadata.otter.tests
    edition.metadata.otter = {"assignment_name": edition.metadata.otter.assignment_name}  # otter compares it
    writes = "\n".join(f"    Path('tests', '{name}.py').write_text({text!r})" for name, text in tests.items())
    files = (
        f"# The public tests, for Colab.\nfrom pathlib import Path\n\n"
        f'if "google.colab" in sys.modules:\n    Path("tests").mkdir(exist_ok=True)\n{writes}\n'
    )
    ignored = {"tags": ["otter_ignore", "hide-input"], "cellView": "form"}
    sources = (setup_source(repository(), commit()), OTTER, files)
    front = [new_code_cell(source.rstrip(), metadata=ignored) for source in sources]
    edition.cells = [*front, *(_handed_in(cell) for cell in edition.cells)]
    for cell in edition.cells:
        cell.source = re.sub(r"otter\.Notebook\(.*\)", "otter.Notebook()", cell.source)
    return tidied(edition)


def _handed_in(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A cell of the Colab edition: where otter's export stands, which refuses to run there, say how to hand in."""
    if "grader.export(" in cell.source:
        return new_markdown_cell("Choose *File*, *Download*, *Download .ipynb*, and hand in that notebook.")
    if cell.source.startswith("## Submission"):
        return new_markdown_cell("## Submission\n\nRun all cells in their order, and save.")
    return cell


def write_archive(source: Path, target: Path) -> None:
    """Copy a zip, its files sorted and with one fixed time: the same masters give the same bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            entry = zipfile.ZipInfo(name, FIXED)
            entry.external_attr = (0o755 if name in ("run_autograder", "setup.sh") else 0o644) << 16
            new.writestr(entry, old.read(name))


def secrets(master: nbformat.NotebookNode) -> set[str]:
    """What no student's edition may hold: the lines of the solutions and the names of the hidden tests.

    A line that the master also shows outside of solutions is no secret.
    """
    shown = {line.strip() for cell in shown_cells(master) for line in cell.source.splitlines()}
    found: set[str] = set()
    for question in questions(master):
        for source in question.solution:
            found |= {line for line in solution_lines(source) if len(line) >= SHORT} - shown
        found |= {test_name(source) for source in question.tests if is_hidden(source)}
    return found


def shown_cells(master: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells outside of solutions and tests."""
    cells, inside = [], False
    for cell in master.cells:
        if boundary(cell) in ("BEGIN SOLUTION", "BEGIN TESTS"):
            inside = True
        elif boundary(cell) in ("END SOLUTION", "END TESTS"):
            inside = False
        elif not inside:
            cells.append(cell)
    return cells


def solution_lines(source: str) -> set[str]:
    """The lines of a solution cell that otter takes out: all of a text, of code those that are marked."""
    lines, marked, inside = source.splitlines(), set[str](), False
    if "# BEGIN SOLUTION" not in source and "# SOLUTION" not in source:
        return {line.strip() for line in lines}
    for line in lines:
        if line.strip() == "# END SOLUTION":
            inside = False
        if inside or line.rstrip().endswith("# SOLUTION"):
            marked.add(line.removesuffix("# SOLUTION").strip())
        if line.strip().startswith("# BEGIN SOLUTION"):
            inside = True
    return marked


def is_hidden(test: str) -> bool:
    return bool(test_settings(test).get("hidden", False))


def test_name(test: str) -> str:
    """The name of a test cell's function."""
    found = re.search(r"^def (\w+)\(", test, re.MULTILINE)
    if not found:
        raise ValueError(f"a test cell defines one function; this one has none:\n{test}")
    return found[1]


def leaks(master: nbformat.NotebookNode, edition: Path) -> list[str]:
    """The secrets of a master that a file of a student's edition holds."""
    text = edition.read_text(encoding="utf-8")
    if edition.suffix == ".ipynb":
        notebook = json.loads(text)
        text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
        text += "\n".join(notebook["metadata"].get("otter", {}).get("tests", {}).values())
    place = f"{edition.parent.parent.name}/{edition.parent.name}"
    return [f"{place} shows a secret: {line}" for line in sorted(secrets(master)) if line in text]


def form_faults(asked: list[Question]) -> list[str]:
    """Where the tests of a master are not as `assignments.py` asks."""
    names = [test_name(source) for question in asked for source in question.tests]
    found = [f"two tests have the name {name}" for name in sorted(set(names)) if names.count(name) > 1]
    for question in asked:
        for source in question.tests:
            settings = test_settings(source)
            if not {"points", "failure_message"} <= settings.keys():
                found.append(f"{question.name}, {test_name(source)}: no points or no failure_message")
            if re.search(r'["\\\n]', settings.get("failure_message", "")):
                found.append(f"{question.name}, {test_name(source)}: a quotation mark in its failure_message")
        if question.manual and not (question.points and "rubric" in "".join(question.solution).lower()):
            found.append(f"{question.name}: a person grades it, and it has no points or no rubric")
    return found


def test_settings(test: str) -> dict[str, Any]:
    """What stands between BEGIN TEST CONFIG and END TEST CONFIG."""
    found = re.match(r'""" # BEGIN TEST CONFIG\n(.*?)\n""" # END TEST CONFIG\n', test, re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def main() -> None:
    text, master = sys.argv[1:]
    notebook = jupytext.read(text, fmt="md:myst")
    nbformat.write(normalise(notebook), master)


if __name__ == "__main__":
    main()
