"""Mistakes in the solutions of the assignments, and what they say of the tests that should notice them."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import yaml
from grading import Graded, with_source
from masters import Editions, Question, form_faults

COLUMNS = ("assignment", "question", "mutant", "killed_by_public", "killed_by_hidden", "killed_for_own_question")
EQUIVALENT = ("assignment", "question", "mutant", "reason")
PUBLIC_SHARE, PER_QUESTION, PER_ASSIGNMENT, THROUGH_OTTER = 0.6, 3, 12, 2
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
        place = f"{mutant.question}, mutant {mutant.name}"
        raise ValueError(f"{place}: its text occurs {count} times in the solution; once is allowed")
    return with_source(solution, found[0], found[0].replace(mutant.old, mutant.new))


def equivalent(path: Path) -> list[dict[str, str]]:
    """Mutants that no test can kill, with the reason."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != EQUIVALENT:
            raise ValueError(f"{path.name} has the columns {reader.fieldnames}; it needs {EQUIVALENT}")
        return list(reader)


def faults(assignment: Assignment) -> list[str]:
    """What is wrong with an assignment's tests or mutants."""
    found = [*form_faults(list(assignment.questions)), *edition_faults(assignment.graded), *question_faults(assignment)]
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
        found += [f"the {edition}: {c.test} of {c.question} fails: {c.message}" for c in graded[edition].failed]
    found += [f"the bare edition passes {c.test} of {c.question}" for c in graded["student"].cases if c.passed]
    found += [f"the solution passes {test} for some random inputs only" for test in graded["solution"].unsteady]
    for edition in ("solution", "student"):
        found += [f"a cell of the {edition} edition raises {error}" for error in graded[edition].errors]
    return found


def question_faults(assignment: Assignment) -> list[str]:
    """Too few mutants, or two of one name."""
    names = [mutant.name for mutant in assignment.mutants.mutants]
    found = [f"two mutants have the name {name}" for name in sorted(set(names)) if names.count(name) > 1]
    through_otter = sum(mutant.otter is not None for mutant in assignment.mutants.mutants)
    if through_otter != THROUGH_OTTER:
        found.append(f"{through_otter} mutants go through otter run; {THROUGH_OTTER} must")
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
    found += [f"is noticed by {test} for some random inputs only" for test in graded[mutant.name].unsteady]
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
