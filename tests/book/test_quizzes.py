"""Every quiz: complete, each option explained, and each right answer found once more by computing it."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

import lt_core as lt

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import quiz
from pages import EXERCISES, QUIZ, cells, chapters, lesson, visible_outputs

CHAPTERS = chapters()
FILES = sorted(quiz.FOLDER.glob("*.yaml"))
ENTRIES = [
    pytest.param(path, entry, id=f"{path.stem[:2]}-{number}")
    for path in FILES
    for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), 1)
]
DISPLAY = re.compile(r"\$\$|\\\[|```")


def shown(path: Path) -> str:
    """What the code cells of the chapter show, a line a line, with single blanks."""
    page = next(page for page in CHAPTERS if page.stem == path.stem)
    outputs = [output for cell in cells(page) for output in visible_outputs(cell)]
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(" ".join(line.split()) for text in texts for line in text.splitlines())


def names(path: Path) -> dict[str, Any]:
    """What the Python of a quiz may use."""
    torch.manual_seed(0)
    return {"math": math, "np": np, "torch": torch, "F": F, "lt": lt, "page": shown(path)}


def test_every_chapter_has_a_quiz_and_no_other_page() -> None:
    assert {path.stem for path in FILES} == {path.stem for path in CHAPTERS}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_the_quiz_is_a_cell_of_its_own_between_summary_and_exercises(path: Path) -> None:
    sources = [cell.source for cell in cells(path) if cell.cell_type == "markdown"]
    (place,) = [place for place, source in enumerate(sources) if f"```{{quiz}} {path.stem}\n```" in source]
    assert sources[place].startswith(f"{QUIZ}\n")
    assert re.search(r"(?m)^## Summary$", "\n".join(sources[:place]))
    assert sources[place + 1].startswith(EXERCISES)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_the_quiz_is_no_part_of_the_lesson(path: Path) -> None:
    text = "\n".join(cell.source for cell in lesson(path))
    assert "{quiz}" not in text
    assert QUIZ not in text
    assert "## Summary" in text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_quiz_has_five_to_eight_questions(path: Path) -> None:
    assert 5 <= len(quiz.read(path)) <= 8


@pytest.mark.parametrize(("path", "entry"), ENTRIES)
def test_every_answer_is_explained(path: Path, entry: dict[str, Any]) -> None:
    one = quiz.question(entry, path.name)
    assert len(one.text) > 40
    assert one.kind == "number" or 3 <= len(one.options) <= 5
    assert one.kind != "several" or any(not option.right for option in one.options)
    for option in one.options:
        assert len(option.why) > 25, option.text
        assert option.why.strip()[-1] in ".?", option.why
    texts = [one.text, *(text for option in one.options for text in (option.text, option.why))]
    assert not any(DISPLAY.search(text) for text in texts), "a display needs a label and a test: write it in the line"
    assert len({option.text for option in one.options}) == len(one.options)
    assert len({option.why for option in one.options}) == len(one.options)


@pytest.mark.parametrize(("path", "entry"), ENTRIES)
def test_the_right_answer_is_right(path: Path, entry: dict[str, Any]) -> None:
    if "value" not in entry:
        assert "assert" in entry["check"]
        exec(entry["check"], names(path))
        return
    for answer in (entry, *entry["mistakes"]):
        computed = float(eval(str(answer["expression"]), names(path)))
        # What the page calls near: the tolerance for the answer, a hundredth or half the tolerance for a mistake.
        near = max(0.01 * abs(answer["value"]), entry["tolerance"] / 2)
        assert abs(computed - answer["value"]) <= (entry["tolerance"] / 2 if answer is entry else near)
        assert answer is entry or abs(computed - entry["value"]) > entry["tolerance"] + 1e-9, "a mistake that passes"


def test_nothing_but_knowledge_gives_an_answer_away() -> None:
    """The right option is no more often in one place than in the others, nor the longest of its question."""
    ones = [one for path in FILES for one in quiz.read(path) if one.kind == "one"]
    places = Counter([option.right for option in one.options].index(True) for one in ones)
    assert max(places.values()) <= 0.4 * len(ones), places
    longest = sum(max(one.options, key=lambda option: len(option.text)).right for one in ones)
    assert longest <= 0.4 * len(ones), f"{longest} of {len(ones)}"


OPTIONS = [{"right": "A", "why": "Yes."}, {"wrong": "B", "why": "No."}]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"options": [*OPTIONS, {"right": "C", "why": "Yes."}]}, "exactly one option is right"),
        ({"options": [OPTIONS[1]], "several": True}, "no option is right"),
        ({"options": [*OPTIONS, {"maybe": "C", "why": "?"}]}, "right or wrong, not 'maybe'"),
        ({"options": OPTIONS, "hint": "A"}, r"unknown \['hint'\]"),
    ],
)
def test_a_faulty_question_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quiz.question({"question": "Which?", **entry}, "file, question 1")


def test_the_plain_form_has_everything_and_no_directive() -> None:
    for path in FILES:
        questions, text = quiz.read(path), quiz.markdown(quiz.read(path))
        assert text.count("<details>") == len(questions)
        assert all(option.why.strip() in text for one in questions for option in one.options)
        assert "{quiz}" not in text
