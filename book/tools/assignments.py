"""Generate the assignments from their masters, and prove with mutants that the grader works.

    python book/tools/assignments.py [hwN ...]        (default: every master; `make assignments`)
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import yaml
from grading import Case, Graded, grade, in_forks, otter_run, with_source
from masters import MASTERS, Editions, Question, colab, editions, leaks, questions, read, write_archive
from pages import ROOT

OUT = ROOT / "_build" / "assignments"
COLUMNS = ("assignment", "question", "mutant", "killed_by_public", "killed_by_hidden", "killed_for_own_question")
EQUIVALENT = ("assignment", "question", "mutant", "reason")
PUBLIC_SHARE, PER_QUESTION, PER_ASSIGNMENT = 0.6, 3, 12
TYPING_ERRORS = ("NameError", "SyntaxError", "IndentationError")  # a mutant is a mistake of thought


@dataclass(frozen=True)
class Mutant:
    """A mistake in the solution of a question: one piece of its text, replaced."""

    name: str
    question: str
    old: str
    new: str
    mistake: str
    otter: dict[str, float] | None = None  # the points by question that `otter run` must give


@dataclass(frozen=True)
class Mutants:
    """A file of mutants: which questions build on which, and the mistakes."""

    builds_on: dict[str, list[str]] = field(default_factory=dict)
    mutants: tuple[Mutant, ...] = ()

    def may_lose(self, question: str) -> set[str]:
        """A question and all that build on it, directly or not."""
        found = {question}
        while more := {name for name, below in self.builds_on.items() if found & set(below)} - found:
            found |= more
        return found


@dataclass(frozen=True)
class Assignment:
    """A master with its editions and what they get."""

    name: str
    questions: tuple[Question, ...]
    editions: Editions
    mutants: Mutants
    graded: dict[str, Graded]  # "solution", "solution, names used again", "student", and every mutant by its name


def read_mutants(path: Path) -> Mutants:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Mutants(content.get("builds_on", {}), tuple(Mutant(**entry) for entry in content["mutants"]))


def mutated(solution: nbformat.NotebookNode, question: Question, mutant: Mutant) -> nbformat.NotebookNode:
    """The solution with a mistake."""
    found = [source for source in question.solution if mutant.old in source]
    count = sum(source.count(mutant.old) for source in question.solution)
    if count != 1:
        raise ValueError(f"{mutant.question}, {mutant.name}: its text occurs {count} times in the solution; once is allowed")
    return with_source(solution, found[0], found[0].replace(mutant.old, mutant.new))


def write_editions(name: str, master: Path, made: Editions, out: Path) -> list[str]:
    """Write the four outputs of a master; returns the secrets found in students' editions."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    parts = {"student": made.student, "colab": colab(made.student), "solution": made.solution}
    for part, notebook in parts.items():
        (folder / part).mkdir(parents=True)
        nbformat.write(notebook, folder / part / master.name)
    write_archive(made.archive, folder / "autograder.zip")
    return [fault for part in ("student", "colab") for fault in leaks(read(master), folder / part / master.name)]


def grade_all(made: Editions, mutants: Mutants, asked: Iterable[Question]) -> dict[str, Graded]:
    """Grade the solution, the bare edition and every mutant."""
    by_name = {question.name: question for question in asked}
    tasks = {
        "solution": partial(grade, made.solution, made.tests),
        "solution, names used again": partial(grade, made.solution, made.tests, reuse=True),
        "student": partial(grade, made.student, made.tests),
    }
    for mutant in mutants.mutants:
        notebook = mutated(made.solution, by_name[mutant.question], mutant)
        tasks[mutant.name] = partial(grade, notebook, made.tests)
    return in_forks(tasks)


def build(name: str, out: Path, scratch: Path) -> tuple[Assignment, list[str]]:
    """Generate, grade; returns also what leaked."""
    master = MASTERS / name / f"{name}.ipynb"
    made, asked = editions(master, scratch / name), tuple(questions(read(master)))
    leaked = write_editions(name, master, made, out)
    mutants = read_mutants(MASTERS / name / "mutants.yaml")
    return Assignment(name, asked, made, mutants, grade_all(made, mutants, asked)), leaked


def faults(assignment: Assignment) -> list[str]:
    """What is wrong with an assignment's tests or mutants."""
    found = [*edition_faults(assignment.graded), *question_faults(assignment)]
    for mutant in assignment.mutants.mutants:
        found += mutant_faults(mutant, assignment.graded, assignment.mutants)
    rows = [row(assignment, mutant) for mutant in assignment.mutants.mutants]
    public = sum(bool(r["killed_by_public"]) for r in rows)
    if public < PUBLIC_SHARE * len(rows):
        found.append(f"public tests kill {public} of {len(rows)} mutants; at least {PUBLIC_SHARE:.0%} must be")
    return [f"{assignment.name}: {fault}" for fault in found]


def edition_faults(graded: dict[str, Graded]) -> list[str]:
    """Where the solution loses points or the bare edition gets some, or a cell of either raises."""
    found = []
    for edition in ("solution", "solution, names used again"):
        found += [f"the {edition}: {case.test} of {case.question} fails: {case.message}" for case in graded[edition].failed]
    found += [f"the bare edition passes {case.test} of {case.question}" for case in graded["student"].cases if case.passed]
    for edition in ("solution", "student"):
        found += [f"a cell of the {edition} edition raises {error}" for error in graded[edition].errors]
    return found


def question_faults(assignment: Assignment) -> list[str]:
    """Too few mutants, or two of one name."""
    names = [mutant.name for mutant in assignment.mutants.mutants]
    found = [f"two mutants have the name {name}" for name in sorted(set(names)) if names.count(name) > 1]
    if len(names) < PER_ASSIGNMENT:
        found.append(f"{len(names)} mutants; at least {PER_ASSIGNMENT} are needed")
    for question in assignment.questions:
        count = sum(mutant.question == question.name for mutant in assignment.mutants.mutants)
        if question.tests and count < PER_QUESTION:
            found.append(f"{question.name}: {count} mutants; at least {PER_QUESTION} are needed")
    return found


def mutant_faults(mutant: Mutant, graded: dict[str, Graded], mutants: Mutants) -> list[str]:
    """Whether a mutant survives, loses points elsewhere, or is a typing error."""
    failed = graded[mutant.name].failed
    own = [case for case in failed if case.question == mutant.question]
    others = sorted({case.question for case in failed} - mutants.may_lose(mutant.question))
    found = [] if own else ["survives all tests of its question"]
    found += [f"loses points for {name}, which does not build on {mutant.question}" for name in others]
    found += [f"is a {kind}, no mistake of thought" for kind in TYPING_ERRORS if any(kind in c.message for c in own)]
    return [f"{mutant.question}, mutant {mutant.name}: {fault}" for fault in found]


def row(assignment: Assignment, mutant: Mutant) -> dict[str, str]:
    """A line of the kill matrix; where a test kills, its name stands."""
    failed = assignment.graded[mutant.name].failed
    own = [case for case in failed if case.question == mutant.question]
    elsewhere = {case.question for case in failed} - assignment.mutants.may_lose(mutant.question)
    return {
        "assignment": assignment.name,
        "question": mutant.question,
        "mutant": mutant.name,
        "killed_by_public": " ".join(case.test for case in own if not case.hidden),
        "killed_by_hidden": " ".join(case.test for case in own if case.hidden),
        "killed_for_own_question": "yes" if own and not elsewhere else "no",
    }


def otter_faults(assignment: Assignment, out: Path, scratch: Path) -> list[str]:
    """Whether `otter run` on the generated archive gives the points that are deserved, and the same as the forks."""
    folder, by_name = out / assignment.name, {question.name: question for question in assignment.questions}
    full = assignment.graded["solution"].points
    tried, deserved = {"student": assignment.editions.student}, {"student": dict.fromkeys(full, 0.0)}
    for mutant in assignment.mutants.mutants:
        if mutant.otter is not None:
            tried[mutant.name] = mutated(assignment.editions.solution, by_name[mutant.question], mutant)
            deserved[mutant.name] = {**full, **mutant.otter}
    tasks = {}
    for number, (name, notebook) in enumerate(tried.items()):
        path = scratch / f"{assignment.name}-{number}.ipynb"
        nbformat.write(notebook, path)
        tasks[name] = partial(otter_run, folder / "autograder.zip", path)
    found = []
    for name, points in in_forks(tasks, limit=120.0).items():
        for kind, expected in (("deserved", deserved[name]), ("in a fork", assignment.graded[name].points)):
            if not same(points, expected):
                found.append(f"{assignment.name}: otter run gives {name} {points}; {kind}: {expected}")
    return found


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(abs(one[name] - other[name]) < 1e-9 for name in one)


def equivalent(path: Path) -> list[dict[str, str]]:
    """Mutants that no test can kill, with the reason."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != EQUIVALENT:
            raise ValueError(f"{path.name} has the columns {reader.fieldnames}; it needs {EQUIVALENT}")
        return list(reader)


def write_matrix(assignments: Iterable[Assignment], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for assignment in assignments:
            writer.writerows(row(assignment, mutant) for mutant in assignment.mutants.mutants)


def for_instructors(assignments: Iterable[Assignment]) -> dict[str, Any]:
    """What the page for instructors shows: questions, points, what each test checks, and which mistakes it catches."""
    return {a.name: assignment_data(a) for a in assignments} | {"equivalent": equivalent(MASTERS / "equivalent.csv")}


def assignment_data(assignment: Assignment) -> dict[str, Any]:
    cases = assignment.graded["solution"].cases
    mutants = [
        {**row(assignment, m), "mistake": m.mistake, "points": assignment.graded[m.name].points}
        for m in assignment.mutants.mutants
    ]
    asked = [
        {
            "name": question.name,
            "title": question.title,
            "manual": question.manual,
            "points": question.points or sum(case.points for case in cases if case.question == question.name),
            "tests": [case_data(case) for case in cases if case.question == question.name],
        }
        for question in assignment.questions
    ]
    return {"questions": asked, "mutants": mutants}


def case_data(case: Case) -> dict[str, Any]:
    return {"test": case.test, "hidden": case.hidden, "points": case.points}


def summary(assignment: Assignment) -> str:
    rows = [row(assignment, mutant) for mutant in assignment.mutants.mutants]
    public = sum(bool(r["killed_by_public"]) for r in rows)
    killed = sum(bool(r["killed_by_public"] or r["killed_by_hidden"]) for r in rows)
    points = sum(assignment.graded["solution"].points.values())
    return (
        f"{assignment.name}: {len(assignment.questions)} questions, {points:g} points by tests, {len(rows)} mutants, "
        f"{killed} killed, {public} by public tests ({public / max(len(rows), 1):.0%})"
    )


def main() -> None:
    start, names = time.monotonic(), sys.argv[1:] or sorted(path.parent.name for path in MASTERS.glob("*/*.ipynb"))
    OUT.mkdir(parents=True, exist_ok=True)
    found, made = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            assignment, leaked = build(name, OUT, Path(folder))
            found += [*leaked, *faults(assignment), *otter_faults(assignment, OUT, Path(folder))]
            made.append(assignment)
            print(summary(assignment))
    write_matrix(made, OUT / "kill_matrix.csv")
    data = json.dumps(for_instructors(made), indent=1, ensure_ascii=False)
    (OUT / "instructors.json").write_text(data + "\n", encoding="utf-8")
    print(f"{OUT.relative_to(ROOT)}: {time.monotonic() - start:.0f} s")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
