"""The pages for instructors: outcomes and what tests them, and the tables that `make assignments` writes."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import guide
import masters
from mutants import read_mutants
from pages import page_named, words_only
from reading import count_words, printed_minutes

STALE = "run make assignments, and commit what it writes"


def rows_of(text: str) -> list[list[str]]:
    """The rows of the Markdown tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {place for place, row in enumerate(cells) if set(row) == {"---"}}
    return [row for place, row in enumerate(cells) if place not in heads and place + 1 not in heads]


def test_every_outcome_question_and_exercise_has_its_place() -> None:
    found = guide.outcome_faults(guide.tested())
    assert not found, "\n".join(found)


def test_the_page_of_outcomes_is_as_its_command_writes_it() -> None:
    assert guide.part(guide.TABLES, "outcomes") == guide.outcome_tables(), "run python book/tools/guide.py"
    assert guide.part(guide.GUIDE, "graded mistakes") == guide.graded_mistakes(), "run python book/tools/guide.py"


@pytest.mark.parametrize("name", guide.assignments())
def test_the_tables_of_an_assignment_are_those_of_its_master(name: str) -> None:
    """Without running any mutant: names, points, tests and mutants are counted, and for the rest there is a digest."""
    text = guide.part(guide.TABLES, "questions")
    assert re.findall(r"^### (\S+)$", text, re.MULTILINE) == list(guide.assignments()), STALE
    section = text.split(f"### {name}\n")[1].split("### ")[0]
    mutants = read_mutants(guide.MASTERS / name / "mutants.yaml").mutants
    asked = guide.assignments()[name]
    expected = [guide.planned(q, sum(mutant.question == q.name for mutant in mutants)) for q in asked]
    rows = rows_of(section)
    assert [tuple(row[:5]) for row in rows] == expected, STALE
    assert f"<!-- {name}: {guide.digest(name)} -->" in section, STALE
    for question, (*_, tried, public, killed) in zip(asked, rows, strict=True):
        assert killed == tried, "a mistake that no test notices"
        assert question.manual or 0 < int(public) <= int(killed)


@pytest.mark.parametrize("name", guide.assignments())
def test_the_guides_line_of_an_assignment_is_the_sum_of_its_table(name: str) -> None:
    section = guide.part(guide.TABLES, "questions").split(f"### {name}\n")[1].split("### ")[0]
    rows, written = rows_of(section), {q.name for q in guide.assignments()[name] if q.manual}
    tested = [row for row in rows if row[0].split(":")[0] not in written]
    (line,) = [row for row in rows_of(guide.part(guide.GUIDE, "overview")) if row[0] == name]
    assert int(line[1]) == len(rows)
    assert float(line[2]) == sum(float(row[1]) for row in tested)
    assert float(line[3]) == sum(float(row[1]) for row in rows) - float(line[2])
    assert int(line[4]) == sum(int(row[place].split()[0]) for row in tested for place in (2, 3))
    assert [int(line[place].split()[0]) for place in (5, 6, 7)] == [
        sum(int(row[place]) for row in tested) for place in (4, 5, 6)
    ]


def test_what_is_wrong_with_the_outcomes_is_named() -> None:
    sources = copy.deepcopy(guide.tested())
    sources["02"][0]["outcome"] = "learn how hard"
    sources["03"].pop()
    sources["04"][0]["by"] = ["hw2 q9", "ex-04-hands"]
    sources["13"] = [{**entry, "by": []} for entry in sources["13"]]
    del sources["09"]
    found = "\n".join(guide.outcome_faults(sources))
    assert "outcomes.yaml has the chapters ['01'" in found
    assert "chapter 02: outcomes.yaml has 'learn how hard' where the page has 'find out how hard" in found
    assert "chapter 03 has 5 outcomes, outcomes.yaml 4" in found
    assert "chapter 13: nothing tests any outcome" in found
    for missing in ("hw2 q1", "ex-04-hand", "ex-09-circle", "ex-13-prior"):
        assert (f"{missing} tests no outcome" in found) == (missing != "hw2 q1")  # chapter 08 has hw2 q1, too
    assert "there is no hw2 q9" in found
    assert "there is no ex-04-hands" in found


def test_outcomes_are_read_from_the_list_alone(tmp_path: Path) -> None:
    first = "- none\n\n**In this chapter** you\n\n- see *this*,\n  and that;\n- prove it.\n\n*Prerequisites*: none."
    cells = [nbformat.v4.new_markdown_cell(text) for text in (first, "## Exercises\n\n- neither")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_x.ipynb")
    assert guide.outcomes(tmp_path / "01_x.ipynb") == ["see *this*, and that", "prove it"]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(f"before\n\n{guide.BEGIN.format('one')}\nold\n{guide.END.format('one')}\n\nafter\n")
    return path


def test_a_part_is_written_between_its_marks(page: Path) -> None:
    assert guide.replace(page, "one", "new")
    assert not guide.replace(page, "one", "new")
    text = page.read_text()
    assert guide.part(page, "one") == "new"
    assert text.startswith("before\n\n<!-- one: written by")
    assert text.endswith("<!-- end of one -->\n\nafter\n")


def test_a_page_without_marks_is_an_error(page: Path) -> None:
    with pytest.raises(ValueError, match=r"page\.md has the line '<!-- two: .*' 0 times"):
        guide.replace(page, "two", "new")


@pytest.fixture
def data() -> dict[str, Any]:
    """What grading gives: every mistake is noticed, those with an even number by public tests as well."""
    named = {}
    for name in guide.assignments():
        tried = read_mutants(guide.MASTERS / name / "mutants.yaml").mutants
        named[name] = {
            "mutants": [
                {"question": m.question, "killed_by_public": "" if place % 2 else "a", "killed_by_hidden": "b"}
                for place, m in enumerate(tried)
            ]
        }
    return {"assignments": named}


def test_all_parts_are_written_and_nothing_changes_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]
) -> None:
    for name in ("GUIDE", "TABLES"):
        path = shutil.copy(getattr(guide, name), tmp_path)
        monkeypatch.setattr(guide, name, Path(path))
    assert guide.write(data) == ["coursework.md, questions", "instructors.md, overview"]
    assert guide.write(data) == guide.write() == []
    (line,) = [row for row in rows_of(guide.part(guide.GUIDE, "overview")) if row[0] == "hw1"]
    assert line[5:] == ["46", "23 (50%)", "46"]


def test_the_digest_is_of_what_decides_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(masters.MASTERS / "hw1", tmp_path / "hw1")
    monkeypatch.setattr(guide, "MASTERS", tmp_path)
    before, master = guide.digest("hw1"), tmp_path / "hw1" / "hw1.ipynb"
    notebook = json.loads(master.read_text(encoding="utf-8"))
    for kind, same in (("markdown", True), ("code", False)):
        changed = copy.deepcopy(notebook)
        next(cell for cell in changed["cells"] if cell["cell_type"] == kind)["source"] = "other = 1"
        master.write_text(json.dumps(changed), encoding="utf-8")
        assert (guide.digest("hw1") == before) == same, kind
    master.write_text(json.dumps(notebook), encoding="utf-8")
    mutants = tmp_path / "hw1" / "mutants.yaml"
    mutants.write_text(mutants.read_text(encoding="utf-8").replace("few_to_20", "few_to_twenty"), encoding="utf-8")
    assert guide.digest("hw1") != before


def test_the_plan_has_the_minutes_of_its_chapters_and_the_hours_of_its_assignments() -> None:
    weeks = [row for row in rows_of(guide.GUIDE.read_text(encoding="utf-8").split("## What")[0]) if row[0].isdigit()]
    assert [row[3] for row in weeks] == list(guide.assignments())
    for _, read, minutes, name, hours in weeks:
        assert int(minutes) == sum(printed_minutes(page_named(number)) or 0 for number in read.split(", "))
        master = masters.read(masters.MASTERS / name / f"{name}.ipynb")
        assert any(f"*Time*: {hours} hours." in cell.source for cell in master.cells)


def test_the_points_of_the_trial_are_those_of_the_masters_today() -> None:
    """The homework was written by hand; what it got fits the master's points and the mutant of the same mistake."""
    text = guide.GUIDE.read_text(encoding="utf-8").split("| submission |")[1].split("**Partial")[0]
    trial = {row[0]: [float(cell) for cell in row[1:]] for row in rows_of(f"| submission |{text}")}
    asked = [question for question in guide.assignments()["hw2"] if not question.manual]
    full = {question.name: float(guide.planned(question, 0)[1]) for question in asked}
    assert trial["no mistake, q6 left out"][:-1] == [*(full | {"q6": 0}).values()]
    assert all(sum(points) == total for *points, total in trial.values())
    mutants = {mutant.name: mutant for mutant in read_mutants(guide.MASTERS / "hw2" / "mutants.yaml").mutants}
    margin = full | (mutants["margin_after_the_scale"].otter or {}) | {"q6": 0}
    assert trial["the margin taken off after the scale"][:-1] == [*margin.values()]


def test_the_guide_is_short_and_its_make_targets_exist() -> None:
    text = guide.GUIDE.read_text(encoding="utf-8")
    assert count_words(words_only(text)) < 1800
    makefile = (guide.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?<=make )[a-z]+\b", " ".join(re.findall(r"`[^`]+`|```.*?```", text, re.DOTALL))))
    assert "assignments" in targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_help_lists_every_target_that_a_reader_calls() -> None:
    makefile = (guide.ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile.replace("\\\n", ""), re.MULTILINE)[1].split())
    shown = set(re.findall(r"[\w-]+", " ".join(re.findall(r'@echo "(make .+?)"', makefile))))
    assert phony - shown <= {"help", "clean"}
