"""The annotated source: rows follow the code, what has changed is noticed, and the tests named run the lines."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import annotated
from symbols import found, symbols

ROOT = Path(__file__).parents[2]
ALA = "lt_core/losses/ala.py"


def entry(**changed: Any) -> dict[str, Any]:
    """`difficulty_factor` with a row for each line."""
    rows = [
        {"from": "def difficulty_factor", "says": "Cosines."},
        {"from": "factor = (1.0", "shows": "06-df"},
        {"from": "return factor", "tex": r"\mathrm{DF}", "test": annotated.test_of("06-df")},
    ]
    symbols = {"target_cosines": r"\cos\theta_j", "factor": r"\mathrm{DF}"}
    return {"source": ALA, "function": "difficulty_factor", "symbols": symbols, "rows": rows, **changed}


def with_row(place: int, **changed: Any) -> dict[str, Any]:
    rows = entry()["rows"]
    rows[place] = {**rows[place], **changed}
    return entry(rows=rows)


@pytest.mark.parametrize("name", annotated.losses())
def test_every_row_was_read_as_it_is(name: str) -> None:
    assert annotated.unread(annotated.losses()[name]) == []


def test_rows_have_every_line_of_a_function_once_and_no_docstring() -> None:
    part = annotated.part(entry(), "here")
    lines = [text for row in part.rows for _, text in row.lines]
    assert len(lines) == 3
    assert lines[1] == "    factor = (1.0 - target_cosines) / 2.0"
    assert part.rows[1].tests == ["tests/book/test_equations_06.py::test_06_df"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (with_row(1, **{"from": "factor"}), "3 lines have 'factor'"),
        (with_row(1, **{"from": "factor = 7"}), "0 lines have"),
        (with_row(1, shows="06-none"), "no chapter has the display 06-none"),
        (with_row(1, test="tests/book/test_equations_06.py::test_06_none"), "there is no test"),
        (with_row(1, test="tests/none.py::test_06_df"), "there is no test"),
        (with_row(1, tex="1"), "shows and tex"),
        (with_row(1, note="?"), "unknown"),
        (with_row(2, test=[]), "needs its test"),
        (with_row(0, says=""), "says nothing"),
        (entry(rows=entry()["rows"][1:]), "no row has the line 'def difficulty_factor"),
        (entry(rows=[entry()["rows"][k] for k in (0, 2, 1)]), "not in the order"),
        (entry(function="none"), "has no none"),
        (entry(function="ALALoss"), "is no function"),
        (entry(symbols={"factor": "!"}), "no symbol of the notation page"),
        (entry(symbols={"facto": r"\mathrm{DF}"}), "the code has no facto"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        annotated.part(wrong, "here")


def test_a_symbol_that_the_notation_page_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="no symbol of the notation page"):
        annotated.loss("ala", {"chapter": "06", "parts": [with_row(2, tex=r"\mathrm{DF} = \aleph")]})


def digest(lines: list[str], latex: str = "a = b") -> str:
    return annotated.Row(list(enumerate(lines)), "", latex, "", [], "").digest


def test_the_digest_sees_code_and_equation_and_neither_comments_nor_layout() -> None:
    code = ["    if x:", "        y = 1 - z"]
    assert digest(code) == digest(["if x:", "    # why", "    y = 1  -  z  # here"])
    assert digest(code) == digest(code, r"a\, =  b")
    others = [["    if x:", "        y = 1 + z"], code[:1], ["    if x:"]]
    assert digest(code) not in [digest(other) for other in others]
    assert digest(code) != digest(code, "a = -b")


def test_digests_are_written_to_the_rows_of_the_loss_alone() -> None:
    text = annotated.SOURCE.read_text(encoding="utf-8")
    stale = text.replace("read: '", "read: 'x")
    assert annotated.write_digests(stale, list(annotated.losses())) == text
    some = annotated.write_digests(stale, ["ala"])
    rows = sum(len(part.rows) for part in annotated.losses()["ala"].parts)
    assert some.count("read: 'x") == text.count("read: '") - rows


@pytest.mark.parametrize("label", annotated.known_displays())
def test_the_symbols_of_every_display_are_found_in_their_places(label: str) -> None:
    latex = annotated.known_displays()[label]
    for symbol, first, last in found(latex):
        assert next(symbols(latex[first:last])) == symbol
    marked = annotated.marked(latex)
    assert marked.count("{") == marked.count("}")


def test_symbols_are_marked_with_their_indices_inside() -> None:
    assert annotated.marked(r"\tilde z_j") == r"{\class{sym-tilde-z}{\tilde z_{\class{sym-j}{j}}}}"
    assert annotated.marked("1[j = y]").startswith(r"{\class{sym-1-cdot}{1[")
    assert annotated.marked(r"\log 2") == r"\log 2"


def test_a_name_is_found_by_itself() -> None:
    assert annotated.occurrences("theta", "log_theta + self.theta + f(theta=1)") == []
    assert annotated.occurrences("theta", "theta == theta") == [(0, 5), (9, 14)]


def test_every_symbol_has_a_word_of_its_own() -> None:
    assert len(set(annotated.ids().values())) == len(annotated.ids())


def statements(path: str, first: int, last: int) -> set[int]:
    """The first lines of the statements in these lines that do something; a docstring does not."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.Assign, ast.Return, ast.Expr, ast.If, ast.With)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds) and first <= node.lineno <= last]
    return {node.lineno for node in found if not isinstance(getattr(node, "value", None), ast.Constant)}


def test_the_tests_beside_an_equation_run_its_lines(tmp_path: Path) -> None:
    rows = [
        (part, row) for loss in annotated.losses().values() for part in loss.parts for row in part.rows if row.latex
    ]
    names = sorted({test for _, row in rows for test in row.tests})
    out = tmp_path / "lines.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "lines_run", *names]
    paths = os.pathsep.join([str(ROOT / "tests" / "book"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "LINES_RUN": str(out)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    run = json.loads(out.read_text(encoding="utf-8"))
    idle = []
    for part, row in rows:
        seen = {line for test in row.tests for line in run[test]}
        wanted = statements(part.path, row.lines[0][0], row.lines[-1][0])
        idle += [f"{part.path}:{n} by {row.tests}" for n in sorted(wanted) if f"{part.path}:{n}" not in seen]
    assert not idle, "\n".join(idle)
