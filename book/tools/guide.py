"""Write the tables for instructors: outcomes and what tests them, questions, points, tests, and the mistakes tried.

    python book/tools/guide.py       (the outcomes of the chapters; the rest needs graders: `make assignments`)

`book/coursework.md` has them all, `book/instructors.md` a line for each assignment. Both are committed, so that
`make book` needs no grader. Outcomes come from each chapter's "In this chapter"; `book/assignments/outcomes.yaml` says
what tests them. `make assignments` without HW writes the rest, with a digest of what decides it: the code, the tests
and the mutants of a master. Where a digest is another one, the tables are out of date, and a test says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from masters import MASTERS, Question, is_hidden, questions, read, test_settings
from mutants import read_mutants
from pages import ROOT, chapters

GUIDE = ROOT / "book" / "instructors.md"
TABLES = ROOT / "book" / "coursework.md"
OUTCOMES = MASTERS / "outcomes.yaml"
END = "<!-- end of {} -->"
BEGIN = "<!-- {}: written by `make assignments` -->"
EXERCISE = re.compile(r"^:label: (ex-\S+)$", re.MULTILINE)
TRIED = ("mistakes tried", "public tests notice", "all")
OVERVIEW = ("assignment", "questions", "points by tests", "by you", "tests", *TRIED)
COLUMNS = ("question", "points", "public tests (points)", "hidden tests (points)", *TRIED)


@cache
def prose(chapter: Path) -> str:
    """The text of a notebook; read as JSON, since nbformat validates every stored widget."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def outcomes(chapter: Path) -> list[str]:
    """The list below "In this chapter"."""
    listed = prose(chapter).partition("**In this chapter**")[2].partition("*Prerequisites")[0]
    return [" ".join(item.split()).rstrip(".;") for item in re.split(r"(?m)^- ", listed)[1:]]


def tested() -> dict[str, list[dict[str, Any]]]:
    """For each chapter its outcomes, by their first words, with what tests them."""
    return dict(yaml.safe_load(OUTCOMES.read_text(encoding="utf-8")))


@cache
def assignments() -> dict[str, list[Question]]:
    return {path.stem: questions(read(path)) for path in sorted(MASTERS.glob("*/*.ipynb"))}


def exercises(chapter: Path) -> list[str]:
    """The labels of a chapter's exercises, in order."""
    return EXERCISE.findall(prose(chapter))


def outcome_faults(sources: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Where chapters, outcomes, questions and exercises do not fit together."""
    found = []
    by_number = {path.stem[:2]: path for path in chapters()}
    known = {f"{name} {question.name}" for name, asked in assignments().items() for question in asked}
    labels = {label for path in by_number.values() for label in exercises(path)}
    used = {name for entries in sources.values() for entry in entries for name in entry["by"]}
    if sources.keys() != by_number.keys():
        found.append(f"{OUTCOMES.name} has the chapters {sorted(sources)}; the book has {sorted(by_number)}")
    for number, path in by_number.items():
        listed, entries = outcomes(path), sources.get(number, [])
        if len(listed) != len(entries):
            found.append(f"chapter {number} has {len(listed)} outcomes, {OUTCOMES.name} {len(entries)}")
        for text, entry in zip(listed, entries, strict=False):
            if not text.startswith(entry["outcome"]):
                found.append(f"chapter {number}: {OUTCOMES.name} has {entry['outcome']!r} where the page has {text!r}")
        if entries and not any(entry["by"] for entry in entries):
            found.append(f"chapter {number}: nothing tests any outcome")
    found += [f"{name} tests no outcome" for name in sorted((known | labels) - used)]
    found += [f"there is no {name}" for name in sorted(used - known - labels)]
    return found


def outcome_tables() -> str:
    """For each chapter, its outcomes and the questions and exercises that test them."""
    sources, parts = tested(), []
    for path in chapters():
        number = path.stem[:2]
        rows = [(text, named(entry["by"])) for text, entry in zip(outcomes(path), sources[number], strict=True)]
        page = path.relative_to(ROOT / "book").with_suffix("").as_posix()
        parts.append(f"**In** {{doc}}`{page}` **you**\n\n{table(('outcome', 'tested by'), rows)}")
    return "\n\n".join(parts)


def named(tests: Sequence[str]) -> str:
    """Questions by their names, exercises by their numbers."""
    return ", ".join(f"{{ref}}`{name}`" if name.startswith("ex-") else name for name in tests) or "–"


def digest(name: str) -> str:
    """Of what decides the numbers of an assignment: the code of its master, and its mutants."""
    cells = [cell.source for cell in read(MASTERS / name / f"{name}.ipynb").cells if cell.cell_type != "markdown"]
    mutants = (MASTERS / name / "mutants.yaml").read_text(encoding="utf-8")
    return hashlib.sha256("\n\0".join([*cells, mutants]).encode()).hexdigest()[:8]


def question_row(question: Question, mutants: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """A question with its points, its tests and the points of these, and who noticed how many of its mistakes."""
    own = [mutant for mutant in mutants if mutant["question"] == question.name]
    public = sum(bool(mutant["killed_by_public"]) for mutant in own)
    killed = sum(bool(mutant["killed_by_public"] or mutant["killed_by_hidden"]) for mutant in own)
    noticed = ("–", "–") if question.manual else (str(public), str(killed))
    return (*planned(question, len(own)), *noticed)


def planned(question: Question, mutants: int) -> tuple[str, ...]:
    """What a master says of a question, without running any test."""
    title = f"{question.name}: {question.title.split(' · ', 1)[-1]}"
    if question.manual:
        return title, f"{question.points:g}", "–", "–", "–"
    tests = [(is_hidden(test), test_settings(test)["points"]) for test in question.tests]
    parts = [[points for hidden, points in tests if hidden == kind] for kind in (False, True)]
    shown = [f"{len(part)} ({sum(part):g})" for part in parts]
    return title, f"{sum(points for _, points in tests):g}", *shown, str(mutants)


def question_tables(data: Mapping[str, Any]) -> str:
    """Every assignment, question by question."""
    parts = []
    for name, asked in assignments().items():
        mutants = data["assignments"][name]["mutants"]
        rows = [question_row(question, mutants) for question in asked]
        parts.append(f"### {name}\n\n<!-- {name}: {digest(name)} -->\n\n{table(COLUMNS, rows)}")
    return "\n\n".join(parts)


def overview(data: Mapping[str, Any]) -> str:
    """A line for each assignment."""
    rows = []
    for name, asked in assignments().items():
        tried = data["assignments"][name]["mutants"]
        cells = [question_row(question, tried) for question in asked if not question.manual]
        points, mutants, public, killed = (sum(float(row[place]) for row in cells) for place in (1, 4, 5, 6))
        written = sum(question.points or 0 for question in asked if question.manual)
        tests = sum(len(question.tests) for question in asked)
        share = f"{public:g} ({public / mutants:.0%})"
        rows.append((name, len(asked), f"{points:g}", f"{written:g}", tests, f"{mutants:g}", share, f"{killed:g}"))
    return table(OVERVIEW, rows)


def graded_mistakes() -> str:
    """The mistakes that `make assignments` also grades with otter itself, and the points that they leave."""
    rows = []
    for name, asked in assignments().items():
        full = {q.name: sum(test_settings(test)["points"] for test in q.tests) for q in asked}
        for mutant in read_mutants(MASTERS / name / "mutants.yaml").mutants:
            left = [f"{q}: {points:g} of {full[q]:g}" for q, points in (mutant.otter or {}).items()]
            if left:
                rows.append((name, mutant.question, mutant.mistake, "; ".join(left)))
    return table(("assignment", "in", "mistake", "points that are left"), rows)


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def part(page: Path, name: str) -> str:
    """What stands between the two marks of a part of a page."""
    text = page.read_text(encoding="utf-8")
    for mark in (BEGIN.format(name), END.format(name)):
        if text.count(mark) != 1:
            raise ValueError(f"{page.name} has the line {mark!r} {text.count(mark)} times; once is needed")
    return text.split(BEGIN.format(name))[1].split(END.format(name))[0].strip()


def replace(page: Path, name: str, new: str) -> bool:
    """Write a part of a page; whether that has changed anything."""
    old, text = part(page, name), page.read_text(encoding="utf-8")
    before, after = text.split(BEGIN.format(name))[0], text.split(END.format(name))[1]
    page.write_text(f"{before}{BEGIN.format(name)}\n\n{new}\n\n{END.format(name)}{after}", encoding="utf-8")
    return old != new


def write(data: Mapping[str, Any] | None = None) -> list[str]:
    """Write the parts of the pages, without ``data`` those that no grading is needed for; returns what changed."""
    parts = [(TABLES, "outcomes", outcome_tables()), (GUIDE, "graded mistakes", graded_mistakes())]
    if data:
        parts += [(TABLES, "questions", question_tables(data)), (GUIDE, "overview", overview(data))]
    return [f"{page.name}, {name}" for page, name, text in parts if replace(page, name, text)]


def main() -> None:
    for changed in write():
        print(f"changed: {changed}")


if __name__ == "__main__":
    main()
