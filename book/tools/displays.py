"""Displays and their tests are tied by text: a test carries the digest of the LaTeX that it evaluates.

    python book/tools/displays.py                     (lists the displays whose test carries another digest)
    python book/tools/displays.py --read LABEL ...    (prints each display and its test, then writes the digest)

No program knows whether a test evaluates what a page prints: a person reads both. The digest says which text was read,
and fails the check when the display is another one. So `--read` takes labels only, and none by default.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT, displays, pages, prose

TESTS = ROOT / "tests" / "book"
MARK = "pytest.mark.display"
# Text and names in one piece, since blanks mean something there; comments up to the line's end, which ends them.
TOKEN = re.compile(r"\\(?:text\w*|operatorname|begin|end)\{[^{}]*\}|%[^\n]*|\\[A-Za-z]+|\\.|.", re.DOTALL)
SPACING = {r"\,", r"\:", r"\;", r"\>", r"\!", r"\quad", r"\qquad", "~"}


@dataclass(frozen=True)
class Test:
    """The test of a display: its function, what it calls in its module, and the digest it carries ("" for none)."""

    path: Path
    function: ast.FunctionDef
    source: str
    digest: str


def normalise(latex: str) -> str:
    """The LaTeX without blanks, line ends and spacing commands, a token a line. All else may mean something.

    A spacing command stays where it could be an argument, right after ``^``, ``_`` or another command.
    """
    tokens: list[str] = []
    for token in TOKEN.findall(latex):
        cosmetic = token in SPACING or (token[0] == "\\" and token[1:].isspace())
        if token.isspace() or (cosmetic and (not tokens or tokens[-1][0] not in "^_\\")):
            continue
        tokens.append(re.sub(r"\s+", " ", token))
    return "\n".join(tokens)


def digest(latex: str) -> str:
    return hashlib.sha256(normalise(latex).encode()).hexdigest()[:8]


def first_line(function: ast.FunctionDef) -> int:
    """Where a function begins, decorators included; lines count from 1."""
    return min(node.lineno for node in [function, *function.decorator_list])


def carried(function: ast.FunctionDef) -> ast.Call | None:
    """The decorator with the digest, None where there is none."""
    calls = [node for node in function.decorator_list if isinstance(node, ast.Call)]
    return next((call for call in calls if ast.unparse(call.func) == MARK), None)


def equation_tests(folder: Path = TESTS) -> dict[str, Test]:
    """The tests of displays by label: ``test_02_balance`` is that of ``02-balance``."""
    found: dict[str, Test] = {}
    for path in sorted(folder.glob("test_equations_*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
        for name, node in functions.items():
            if not name.startswith("test_"):
                continue
            used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            shown = [other for key, other in functions.items() if key in used] + [node]
            source = "\n\n".join("\n".join(lines[first_line(f) - 1 : f.end_lineno]) for f in shown)
            mark = carried(node)
            value = ast.literal_eval(mark.args[0]) if mark else ""
            label = name.removeprefix("test_").replace("_", "-")
            if label in found:
                raise ValueError(f"{found[label].path.name} and {path.name} both have {name}; a display has one test")
            found[label] = Test(path, node, source, value)
    return found


def faults(page: str, text: str, tests: dict[str, Test]) -> list[str]:
    """The displays of a page whose test carries another digest or none, each with what to do."""
    return [
        f"{page}: display {label} has the digest {digest(latex)}, its test carries {tests[label].digest or 'none'}. "
        f"Read both, mend what is wrong, then run: python book/tools/displays.py --read {label}"
        for label, latex in displays(text)
        if label in tests and tests[label].digest != digest(latex)
    ]


def write_digest(test: Test, value: str) -> None:
    """Put the digest above the test, in place of the one it carries."""
    lines = test.path.read_text(encoding="utf-8").splitlines(keepends=True)
    if "import pytest\n" not in lines:
        sys.exit(f"{test.path.name} does not import pytest, which its digests need")
    line = f'@{MARK}("{value}")\n'
    mark = carried(test.function)
    if mark:
        lines[mark.lineno - 1 : mark.end_lineno] = [line]
    else:
        lines.insert(first_line(test.function) - 1, line)
    test.path.write_text("".join(lines), encoding="utf-8")


def read(labels: list[str]) -> None:
    """Print each display beside its test and record that both were read."""
    printed = {label: (path, latex) for path in pages() for label, latex in displays(prose(path))}
    unknown = sorted(set(labels) - printed.keys())
    untested = sorted(set(labels) & printed.keys() - equation_tests().keys())
    if unknown or untested:
        sys.exit("\n".join([f"no page displays {x}" for x in unknown] + [f"no test evaluates {x}" for x in untested]))
    for label in labels:
        path, latex = printed[label]
        test = equation_tests()[label]  # anew: line numbers move as digests are written
        print(f"--- {label} in {path.relative_to(ROOT)}\n{latex.strip()}\n")
        print(f"--- its test in {test.path.relative_to(ROOT)}\n{test.source}\n")
        write_digest(test, digest(latex))


def main() -> None:
    parser = argparse.ArgumentParser(description="Displays and the digests that their tests carry.")
    parser.add_argument("--read", nargs="+", metavar="LABEL", help="displays that you have read beside their tests")
    labels = parser.parse_args().read
    if labels:
        read(labels)
        return
    tests = equation_tests()
    found = [fault for path in pages() for fault in faults(str(path.relative_to(ROOT)), prose(path), tests)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
