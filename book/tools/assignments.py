"""Generate the assignments from their masters, and prove with mutants that the grader works.

    python book/tools/assignments.py [hwN ...]        (default: every master; `make assignments`, HW=hwN for one)

How to write an assignment
--------------------------
`book/assignments/hwN/` has two files by hand, `hwN.ipynb` (the master) and `mutants.yaml`; everything else is generated
into `_build/assignments/`: `hwN/student`, `hwN/colab`, `hwN/solution`, `hwN/autograder.zip`, and, of the assignments
that were named, `kill_matrix.csv` and `instructors.json`. Where none is named and nothing is wrong, it also writes the
tables of `book/instructors.md` and `book/coursework.md`, which are committed (see `guide.py`): a test fails where they
are older than a master's code or its mutants. A master is committed as `.ipynb`; write it as text:

    .venv/bin/jupytext --to md:myst -o /tmp/hw1.md book/assignments/hw1/hw1.ipynb     # to text
    .venv/bin/python book/tools/masters.py /tmp/hw1.md book/assignments/hw1/hw1.ipynb # back, normalised
    make assignments HW=hw1

**The master** is otter's: raw cells hold `# ASSIGNMENT CONFIG` (first cell; `name: hw1`, nothing else: what all share
is `SHARED` in `masters.py`) and `# BEGIN/END QUESTION`, `SOLUTION`, `TESTS`. hw1 is the model.

- A question's text starts with a heading, `## 3 · The gradient`, and says what to do, the signature, shapes and types,
  and an example by hand. All that a hidden test asks for stands in the text.
- What a student writes stands in a function between `# BEGIN SOLUTION` and `# END SOLUTION` (otter puts `...` there). A
  function uses its arguments and functions of earlier questions, never a variable of the notebook.
- The bare edition must run from top to bottom without an error: a cell that shows an example prints what a function
  returns (`None` there) and takes nothing out of it, or looks first whether it is None.
- The whole solution notebook runs in two seconds at most, tests included, since every mutant runs all of it.
- A written question has `manual: true` and `points:`, no tests, and a SOLUTION of Markdown cells: the answer, and a
  rubric (the word must occur).

**A test** is one function in a cell of its own, after a `TEST CONFIG` with `points`, `failure_message` (one line
without quotation marks or backslashes; no colon followed by a blank) and `hidden: true` or nothing:

    \""" # BEGIN TEST CONFIG
    points: 1
    failure_message: Divide each count by the sum of all counts.
    \""" # END TEST CONFIG
    def test_shares_by_hand(class_shares):
        import torch
        ...
        assert torch.allclose(got, right), f"the counts 6, 3, 1 have the shares ...; you return {got.tolist()}"

- Its parameters are the functions it calls, by their names in the notebook; it imports what it needs and makes its own
  data. Its name is unique in the assignment. (Otter rewrites its code: comments are lost.)
- A public test teaches: small input, worked by hand in the text or nearly so; the message names the property and the
  input, and rounds what it shows (`shown = got.double().numpy().round(3).tolist()`).
- A hidden test checks properties on fresh random input: `seed = (generator := torch.Generator()).seed()`, and the seed
  stands in every message. Float64, and gradients by autograd. A mutant dies of it for *every* seed or for none, or the
  matrix would differ from day to day; that is tried ten times.
- A test must fail when the function returns None, whatever the error. Give each function tests of its own, public and
  hidden, of half a point or one: a student who solved one of two functions keeps its points.

**A mutant** in `mutants.yaml` is a mistake that people make:

    builds_on: {q4: [q3]}         # a mutant of q3 may cost points in q4, too, and in what builds on q4
    mutants:
      - name: few_to_20           # unique in the assignment
        question: q1
        old: counts < 20          # occurs once in the question's solution cells
        new: counts <= 20
        mistake: a class of exactly 20 images is called few-shot
        otter: {q1: 2}            # two mutants of an assignment have it: points that `otter run` must give; others full

Several lines are written `old: |-`; what holds a colon with a blank, or `#`, stands in quotes. Think of every way to be
wrong: signs, logarithms, axes, means, borders, what is detached, what a loss divides by.

The build fails unless: the solution gets all points, also where checks are deleted and names used again; the bare
edition gets none and no cell of it raises; there are three mutants a question with tests, and twelve an assignment;
every mutant loses points in its own question, and none in a question that does not build on it; public tests kill 60 %
of them; no mutant is a NameError or SyntaxError; the edition for students and the one for Colab have no line of a
solution (of 12 characters or more, unless the master shows it elsewhere) and no name of a hidden test. A mutant that
computes the same is no mutant: it goes to `book/assignments/equivalent.csv`, with the reason.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import guide
import nbformat
from grading import Case, Graded, grade, in_forks, otter_run, preload
from masters import (
    MASTERS,
    Editions,
    Question,
    colab,
    editions,
    leaks,
    questions,
    read,
    test_name,
    test_settings,
    write_archive,
)
from mutants import COLUMNS, Assignment, Mutants, equivalent, faults, mutated, read_mutants, row
from pages import ROOT

OUT = ROOT / "_build" / "assignments"


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
    preload(made.solution, made.tests)
    tasks = {
        "solution": partial(grade, made.solution, made.tests, again=tuple(made.tests)),
        "solution, names used again": partial(grade, made.solution, made.tests, reuse=True),
        "student": partial(grade, made.student, made.tests),
    }
    for mutant in mutants.mutants:
        notebook = mutated(made.solution, by_name[mutant.question], mutant)
        tasks[mutant.name] = partial(grade, notebook, made.tests, again=(mutant.question,))
    return in_forks(tasks)


def build(name: str, out: Path, scratch: Path) -> tuple[Assignment, list[str]]:
    """Generate, grade; returns also what leaked."""
    master = MASTERS / name / f"{name}.ipynb"
    made, asked = editions(master, scratch / name), tuple(questions(read(master)))
    leaked = write_editions(name, master, made, out)
    mutants = read_mutants(MASTERS / name / "mutants.yaml")
    return Assignment(name, asked, made, mutants, grade_all(made, mutants, asked)), leaked


def otter_submissions(assignment: Assignment) -> dict[str, tuple[nbformat.NotebookNode, dict[str, float]]]:
    """What `otter run` grades of an assignment, and the points that each deserves.

    That is two mutants and the bare edition, in its form for Colab, which differs more from the one that forks grade.
    """
    by_name = {question.name: question for question in assignment.questions}
    full = assignment.graded["solution"].points
    found = {"student": (colab(assignment.editions.student), dict.fromkeys(full, 0.0))}
    for mutant in assignment.mutants.mutants:
        if mutant.otter is not None:
            notebook = mutated(assignment.editions.solution, by_name[mutant.question], mutant)
            found[mutant.name] = (notebook, {**full, **mutant.otter})
    return found


def otter_faults(assignments: Iterable[Assignment], out: Path, scratch: Path) -> list[str]:
    """Where `otter run` on a generated archive gives other points than are deserved, or than a fork gives."""
    tasks, expected = {}, {}
    for assignment in assignments:
        for name, (notebook, deserved) in otter_submissions(assignment).items():
            path, title = scratch / f"{assignment.name}-{name}.ipynb", f"{assignment.name}: {name}"
            nbformat.write(notebook, path)
            tasks[title] = partial(otter_run, out / assignment.name / "autograder.zip", path)
            expected[title] = {"deserved": deserved, "in a fork": assignment.graded[name].points}
    return [
        f"{title} gets {points} from otter run; {kind}: {right}"
        for title, points in in_forks(tasks, limit=120.0).items()
        for kind, right in expected[title].items()
        if not same(points, right)
    ]


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(abs(one[name] - other[name]) < 1e-9 for name in one)


def write_matrix(assignments: Iterable[Assignment], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for assignment in assignments:
            writer.writerows(row(assignment, mutant) for mutant in assignment.mutants.mutants)


def for_instructors(assignments: Iterable[Assignment]) -> dict[str, Any]:
    """What the page for instructors shows: questions, points, what each test checks, and which mistakes it catches."""
    named = {assignment.name: assignment_data(assignment) for assignment in assignments}
    return {"assignments": named, "equivalent": equivalent(MASTERS / "equivalent.csv")}


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
            "tests": [case_data(case, question) for case in cases if case.question == question.name],
            "rubric": "\n\n".join(question.solution) if question.manual else "",
        }
        for question in assignment.questions
    ]
    return {"questions": asked, "mutants": mutants}


def case_data(case: Case, question: Question) -> dict[str, Any]:
    source = next(source for source in question.tests if test_name(source) == case.test)
    checks = test_settings(source)["failure_message"]
    return {"test": case.test, "hidden": case.hidden, "points": case.points, "checks": checks}


def summary(assignment: Assignment) -> str:
    rows = [row(assignment, mutant) for mutant in assignment.mutants.mutants]
    public = sum(bool(r["killed_by_public"]) for r in rows)
    killed = sum(bool(r["killed_by_public"] or r["killed_by_hidden"]) for r in rows)
    points = sum(assignment.graded["solution"].points.values())
    return (
        f"{assignment.name}: {len(assignment.questions)} questions, {points:g} points by tests, {len(rows)} mutants, "
        f"{killed} killed, {public} by public tests ({public / max(len(rows), 1):.0%})"
    )


def build_all(names: Iterable[str], out: Path) -> list[str]:
    """Generate and try the assignments; returns what is wrong with them."""
    out.mkdir(parents=True, exist_ok=True)
    found, made = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            assignment, leaked = build(name, out, Path(folder))
            found += [*leaked, *faults(assignment)]
            made.append(assignment)
            print(summary(assignment), flush=True)
        found += otter_faults(made, out, Path(folder))
    write_matrix(made, out / "kill_matrix.csv")
    data = json.dumps(for_instructors(made), indent=1, ensure_ascii=False)
    (out / "instructors.json").write_text(data + "\n", encoding="utf-8")
    return found


def main() -> None:
    start, all_names = time.monotonic(), sorted(path.parent.name for path in MASTERS.glob("*/*.ipynb"))
    if unknown := set(sys.argv[1:]) - set(all_names):
        sys.exit(f"no assignment {', '.join(sorted(unknown))}; there are {', '.join(all_names)}")
    try:
        found = build_all(sys.argv[1:] or all_names, OUT)
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    print(f"{OUT.relative_to(ROOT)}: {time.monotonic() - start:.0f} s")
    if found:
        sys.exit("\n".join(found))
    if not sys.argv[1:]:
        for part in guide.write(json.loads((OUT / "instructors.json").read_text(encoding="utf-8"))):
            print(f"changed: book/{part}")


if __name__ == "__main__":
    main()
