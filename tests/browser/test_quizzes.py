"""The quizzes as a reader uses them: by keyboard, with and without scripts, in both themes, on a phone and on paper."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from controls import FRAMES, VERDICT, answer, questions, turn
from playwright.sync_api import Browser, Locator, Page, expect

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import quiz

GRADIENTS, ALA = "book/part1_long_tail/02_gradients", "book/part2_adjusting/06_ala"


def of_kind(page: Page, kind: str) -> Locator:
    return page.locator(f".quiz-question[data-kind={kind}]").first


def test_the_keyboard_is_enough(open_page: Callable[..., Page]) -> None:
    page = open_page(GRADIENTS)
    one = of_kind(page, "one")
    question = next(question for question in questions("02_gradients") if question.kind == "one")
    place = [option.right for option in question.options].index(True)
    one.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    for _ in range(place):
        page.keyboard.press("ArrowDown")
    chosen = one.get_by_role("radio").nth(place)
    expect(chosen).to_be_checked()
    assert chosen.evaluate("node => getComputedStyle(node).outlineWidth") == "3px"
    page.keyboard.press("Tab")
    expect(one.get_by_role("button", name="Check")).to_be_focused()
    page.keyboard.press("Enter")
    expect(one.get_by_role("status")).to_contain_text("Right.")
    one.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(one.locator("details")).to_have_attribute("open", "")
    number = of_kind(page, "number").get_by_role("textbox")
    number.focus()
    page.keyboard.type("27/97")
    page.keyboard.press("Enter")
    expect(of_kind(page, "number").get_by_role("status")).to_contain_text("Right.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Type a number first"),
        ("abc", "Type a number first"),
        ("0,278", "Right."),
        (" 0.278 ", "Right."),
        ("27 / 97", "Right."),
        ("-0.278", "Not right."),
        ("3.59", "Upside down"),
        ("1000", "Not right."),
    ],
)
def test_numbers_are_read_as_people_type_them(gradients: Page, typed: str, said: str) -> None:
    fieldset = of_kind(gradients, "number")
    fieldset.get_by_role("textbox").fill(typed)
    fieldset.get_by_role("textbox").press("Enter")
    expect(fieldset.get_by_role("status")).to_contain_text(said)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ([], "Choose an answer first."),
        ([1], "Not yet: 1 more to find."),
        ([0, 1, 3], "Not yet: 1 of your choices is not right."),
        ([0, 2], "Not yet: 2 of your choices are not right, 2 more to find."),
        ([1, 3], "Right: these, and no other."),
    ],
)
def test_of_several_answers_each_choice_is_judged(gradients: Page, chosen: list[int], said: str) -> None:
    fieldset = of_kind(gradients, "several")
    boxes = fieldset.get_by_role("checkbox")
    for place in range(boxes.count()):
        boxes.nth(place).set_checked(place in chosen)
    fieldset.get_by_role("button", name="Check").click()
    expect(fieldset.locator(VERDICT)).to_have_text(said)
    expect(fieldset.locator(".quiz-feedback .quiz-why")).to_have_count(len(chosen))


@pytest.fixture(scope="module")
def gradients(browser: Browser, html: Path) -> Page:
    page = browser.new_page(offline=True)
    page.goto((html / f"{GRADIENTS}.html").as_uri())
    return page


def test_every_control_has_a_name_and_a_group(gradients: Page) -> None:
    for place, question in enumerate(questions("02_gradients")):
        group = gradients.get_by_role("group", name=re.compile(rf"^Question {place + 1} of "))
        expect(group).to_have_count(1)
        expect(group).to_have_accessible_description(quiz.HINTS[question.kind])
        for control in group.locator("input").all():
            assert control.evaluate("node => node.labels.length") == 1
        expect(group.get_by_role("status")).to_have_count(1)


def test_verdicts_are_readable_in_both_themes_and_on_a_phone(
    open_page: Callable[..., Page],
    axe: Callable[..., list[str]],
    screenshot: Callable[[Page | Locator, str], Path],
) -> None:
    page = open_page(ALA)
    for place, question in enumerate(questions("06_ala")):
        fieldset = page.locator(".quiz-question").nth(place)
        if place % 2:
            answer(fieldset, question)
        elif question.kind == "number":
            fieldset.get_by_role("textbox").fill(f"{question.options[1].value:g}")
        else:
            fieldset.locator("input").nth(0).check()
        fieldset.get_by_role("button", name="Check").click()
        fieldset.locator("summary").click()
    beyond = "nodes => nodes.filter((node) => node.getBoundingClientRect().right > innerWidth).length"
    for theme, width in (("light", 1280), ("dark", 1280), ("dark", 390), ("light", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        turn(page, theme)
        page.evaluate(FRAMES)  # formulas and widgets are drawn for this width
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.locator(".quiz *").evaluate_all(beyond) == 0
        if width == 1280:  # what a phone changes, the test of all pages checks
            assert axe(page, rules="colour") == []
        screenshot(page.locator(".quiz"), f"quiz-{theme}-{width}")


def test_without_scripts_a_quiz_can_be_read(browser: Browser, html: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((html / f"{ALA}.html").as_uri())
    expect(page.locator(".quiz .no-script")).to_contain_text("opens without it")
    expect(page.get_by_role("button", name="Check")).to_have_count(0)
    first = page.locator(".quiz-question").first
    expect(first.locator(".quiz-why").first).to_be_hidden()
    first.locator("summary").click()
    expect(first.locator(".quiz-why").first).to_be_visible()
    expect(first.locator(".quiz-why")).to_have_count(len(questions("06_ala")[0].options))
    context.close()


def test_paper_has_the_questions_and_no_answers(gradients: Page) -> None:
    gradients.emulate_media(media="print")
    expect(gradients.locator(".quiz-question legend").first).to_be_visible()
    for hidden in ("details", ".quiz-actions", ".quiz-score"):
        expect(gradients.locator(f".quiz {hidden}").first).to_be_hidden()
    gradients.emulate_media(media="screen")
