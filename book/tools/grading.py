"""Grade notebooks as otter does, several at a time, each in a fork of one process that has imported torch.

`otter run` starts a kernel for every notebook, which imports torch anew; a hundred mutants would take many minutes.
Here the cells of a notebook run in a child of this process, in a namespace of their own: errors are passed over, as
otter does, `grader.check("q1")` runs the tests of q1 where it stands, and tests that no cell has run follow at the end.
`assignments.py` checks with a few notebooks that otter gives the same points.
"""

from __future__ import annotations

import ast
import importlib
import multiprocessing
import multiprocessing.connection
import os
import time
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import nbformat

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a pool of threads would not survive a fork

import nbconvert.preprocessors  # noqa: F401  (otter run imports it: here once, not in every fork)
import otter
import otter.run
import sklearn.datasets  # noqa: F401  (the digits' loader imports it when it is called)
import torch
from otter.test_files.exception_test import ExceptionTestFile

import lt_core

Tests = Mapping[str, str]  # a question's name -> the source of its test file
JOBS, LIMIT = 2, 60.0  # notebooks at a time; seconds for each
AGAIN = 10  # times
PLAIN = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


@dataclass(frozen=True)
class Case:
    """A test case of a question and how it went."""

    question: str
    test: str  # the test function's name
    hidden: bool
    points: float
    passed: bool = False
    message: str = ""


@dataclass(frozen=True)
class Graded:
    """What a notebook gets: every test case, the errors of its own cells, and the tests that chance decides."""

    cases: tuple[Case, ...]
    errors: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()

    @property
    def points(self) -> dict[str, float]:
        """Points by question."""
        names = dict.fromkeys(case.question for case in self.cases)
        return {name: sum(c.points for c in self.cases if c.question == name and c.passed) for name in names}

    @property
    def failed(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if not case.passed)


class Grader:
    """What `otter.Notebook` is to the cells of a notebook that is graded."""

    def __init__(self, tests: Tests, namespace: dict[str, Any]) -> None:
        self.tests, self.namespace, self.cases = tests, namespace, dict[str, tuple[Case, ...]]()

    def check(self, question: str) -> None:
        self.cases[question] = run_tests(question, self.tests[question], self.namespace)

    def check_all(self) -> None:
        """Otter runs each question's own check as well."""

    def export(self, *args: Any, **options: Any) -> None:
        """Nothing to hand in while grading."""


def run_tests(question: str, source: str, namespace: dict[str, Any]) -> tuple[Case, ...]:
    """The tests of a question, run by otter's own reader of test files."""
    file = ExceptionTestFile.from_string(source)
    file.run(namespace)
    cases = []
    for result in file.test_case_results:
        case = result.test_case
        name = case.body.test_func.__name__
        cases.append(Case(question, name, case.hidden, case.points, result.passed, result.message or ""))
    return tuple(cases)


def grade(notebook: nbformat.NotebookNode, tests: Tests, reuse: bool = False, again: Collection[str] = ()) -> Graded:
    """Run a notebook's cells, then the tests that no cell has run.

    Args:
        notebook: a solved, bare or mutated notebook, as otter generates it.
        tests: the source of each question's tests, hidden ones included.
        reuse: run all tests after the last cell, when every name that stands for data has another value: so it is where
            a student has deleted a check, and used names again.
        again: the questions whose tests run a few times more: they draw their input, and must decide the same then.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    grader = Grader(tests, namespace)
    otter.Notebook = lambda *args, **options: grader  # this process is a fork and ends here
    errors = []
    for cell in code_cells(notebook):
        try:
            exec(compile(cell.source, "<cell>", "exec"), namespace)
        except BaseException as error:  # SystemExit, too: a notebook goes on
            errors.append(f"{type(error).__name__}: {error} in: {cell.source.splitlines()[0]}")
    if reuse:
        data = [name for name, value in namespace.items() if not isinstance(value, PLAIN) and name[0] != "_"]
        namespace.update(dict.fromkeys(data, "used again"))
        grader.cases.clear()
    for question in tests:
        if question not in grader.cases:
            grader.check(question)
    cases = [case for question in tests for case in grader.cases[question]]
    more = [run_tests(question, tests[question], namespace) for _ in range(AGAIN) for question in again]
    decided = {(case.test, case.passed) for run in more for case in run}
    unsteady = sorted(test for test, passed in decided if passed and (test, False) in decided)
    return Graded(tuple(cases), tuple(errors), tuple(unsteady))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that otter executes."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return [cell for cell in cells if "otter_ignore" not in cell.metadata.get("tags", [])]


def preload(notebook: nbformat.NotebookNode, tests: Tests) -> None:
    """Import here, once, what a notebook and its tests import, and the package's parts: every fork then has them."""
    for source in [*(cell.source for cell in code_cells(notebook)), *tests.values()]:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)
            elif isinstance(node, ast.ImportFrom) and node.module:
                importlib.import_module(node.module)
    for part in lt_core._SUBMODULES:
        getattr(lt_core, part)


def otter_run(archive: Path, submission: Path) -> dict[str, float]:
    """The points by question that `otter run` gives, with its own kernel and the generated archive."""
    results = otter.run.main(str(submission), autograder=str(archive), output_dir="", no_logo=True)
    return {name: float(file.score) for name, file in results.results.items()}


def in_forks(tasks: Mapping[str, Callable[[], Any]], jobs: int = JOBS, limit: float = LIMIT) -> dict[str, Any]:
    """The result of every task, each computed in a fork of this process, `jobs` at a time.

    Raises:
        RuntimeError: a task that raised, died, or ran longer than `limit` seconds; it names the task.
    """
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    waiting, running, results = list(tasks), dict[str, tuple[BaseProcess, Connection, float]](), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(target=_child, args=(tasks[name], sender), daemon=False)
                process.start()
                sender.close()
                running[name] = (process, receiver, time.monotonic() + limit)
            ready = multiprocessing.connection.wait([receiver for _, receiver, _ in running.values()], timeout=1.0)
            for name, (process, receiver, end) in list(running.items()):
                if receiver in ready:
                    results[name] = _received(name, receiver)
                    process.join(timeout=10.0)
                    process.kill()  # a thread that a notebook has left behind
                    del running[name]
                elif time.monotonic() > end:
                    raise RuntimeError(f"{name} ran longer than {limit:.0f} seconds")
    finally:
        for process, _, _ in running.values():
            process.kill()
    return {name: results[name] for name in tasks}


def _received(name: str, receiver: Connection) -> Any:
    try:
        result, error = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{name} ended its process") from None
    if error:
        raise RuntimeError(f"{name} failed: {error}")
    return result


def _child(task: Callable[[], Any], sender: Connection) -> None:
    """Run a task and send back what it returns or the error; what it prints is dropped."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # not sys.stdout: a kernel that the task starts has the descriptors
    os.dup2(nowhere, 2)
    try:
        answer = task(), ""
    except BaseException as error:
        answer = None, f"{type(error).__name__}: {error}"
    sender.send(answer)
    sender.close()


def with_source(notebook: nbformat.NotebookNode, old: str, new: str) -> nbformat.NotebookNode:
    """A copy of a notebook in which the one cell that has the source `old` has `new`."""
    found = [number for number, cell in enumerate(notebook.cells) if cell.source == old]
    if len(found) != 1:
        raise ValueError(f"{len(found)} cells have this source; one must:\n{old}")
    copied = nbformat.from_dict(notebook)
    copied.cells[found[0]] = nbformat.from_dict({**copied.cells[found[0]], "source": new})
    return copied
