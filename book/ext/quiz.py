"""The self-check at a chapter's end: `{quiz} NAME` shows the questions of `book/quizzes/NAME.yaml`.

A question has `options`, each `right` or `wrong` and each with its `why`; with `several: true` a reader chooses any
number of them. Or it asks for a number: `value`, `tolerance`, `why`, and `mistakes`, what people get instead, each with
its own `why`. `check` and `expression` are Python for `tests/book/test_quizzes.py`, which computes every answer anew.

The page has real inputs, and all answers with their reasons in a `<details>`, so it can be read without JavaScript.
`book/_static/quiz.js` adds the button that checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path(__file__).resolve().parents[1] / "quizzes"
SCRIPT = Path(__file__).resolve().parents[1] / "_static" / "quiz.js"
HINTS = {"one": "Choose one.", "several": "Choose all that are right.", "number": "Type a number."}
NO_CHECK = "Checking needs JavaScript, which is off in this browser. “All answers” opens without it."


@dataclass(frozen=True)
class Option:
    """What a reader can choose; of a question for a number, a number that people get by mistake."""

    text: str
    why: str
    right: bool
    value: float | None = None


@dataclass(frozen=True)
class Question:
    text: str
    kind: str  # "one", "several" or "number"
    options: list[Option]  # of a number: the answer, then the mistakes
    tolerance: float = 0.0


def read(path: Path) -> list[Question]:
    """The questions of a file; a ValueError names what is wrong with it."""
    return [
        question(entry, f"{path.name}, question {number}")
        for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), 1)
    ]


def question(entry: dict[str, Any], where: str) -> Question:
    if "value" in entry:
        known = {"question", "value", "tolerance", "expression", "why", "mistakes"}
        found = [number(one, right=one is entry) for one in (entry, *entry.get("mistakes", []))]
        made = Question(entry["question"], "number", found, float(entry["tolerance"]))
    else:
        known = {"question", "options", "several", "check"}
        kind = "several" if entry.get("several") else "one"
        made = Question(entry["question"], kind, [option(one, where) for one in entry["options"]])
        if kind == "one" and sum(one.right for one in made.options) != 1:
            raise ValueError(f"{where}: exactly one option is right, unless several: true")
    if not any(one.right for one in made.options):
        raise ValueError(f"{where}: no option is right")
    if entry.keys() - known:
        raise ValueError(f"{where}: unknown {sorted(entry.keys() - known)}; allowed are {sorted(known)}")
    return made


def option(entry: dict[str, str], where: str) -> Option:
    (kind,) = entry.keys() - {"why"}
    if kind not in ("right", "wrong"):
        raise ValueError(f"{where}: an option is right or wrong, not {kind!r}")
    return Option(str(entry[kind]), entry["why"], kind == "right")


def number(entry: dict[str, Any], right: bool) -> Option:
    return Option(f"{entry['value']:g}".replace("-", "−"), entry["why"], right, float(entry["value"]))


class Part(nodes.General, nodes.TextElement):  # else no link may stand in it
    """An element of a quiz, with its HTML tag and attributes."""

    def __init__(self, tag: str, *children: nodes.Node, **attributes: str) -> None:
        super().__init__("", "", *children, tag=tag, html={key.strip("_"): value for key, value in attributes.items()})


class Quiz(Part):
    """All of it. Search and descriptions leave it out."""


def visit(translator: Any, node: Part) -> None:
    attributes = "".join(f' {key.replace("_", "-")}="{escape(value)}"' for key, value in node["html"].items())
    translator.body.append(f"<{node['tag']}{attributes}>")


def depart(translator: Any, node: Part) -> None:
    translator.body.append(f"</{node['tag']}>\n")


def raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


class QuizDirective(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = FOLDER / f"{self.arguments[0]}.yaml"
        self.env.note_dependency(str(path))
        try:
            questions = read(path)
        except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
            raise self.error(f"quiz: {error}") from error
        note = raw(f'<noscript><p class="no-script">{NO_CHECK}</p></noscript>')
        shown = [self.fieldset(one, place, len(questions)) for place, one in enumerate(questions, 1)]
        return [Quiz("div", note, *shown, class_="quiz")]

    def fieldset(self, question: Question, place: int, total: int) -> Part:
        name = f"quiz-{place}"
        first, *rest = self.parsed(question.text)
        count = Part("span", nodes.Text(f"Question {place} of {total}."), class_="quiz-count")
        legend = Part("legend", count, nodes.Text(" "), *first.children)
        hint = Part("p", nodes.Text(HINTS[question.kind]), class_="quiz-hint", id=f"{name}-hint")
        controls = self.number_field(name) if question.kind == "number" else self.choices(question, name)
        attributes = {"data_kind": question.kind, "data_tolerance": f"{question.tolerance:g}", "id": name}
        parts = [legend, *rest, hint, *controls, self.answers(question)]
        return Part("fieldset", *parts, class_="quiz-question", aria_describedby=f"{name}-hint", **attributes)

    def choices(self, question: Question, name: str) -> list[nodes.Node]:
        kind = "checkbox" if question.kind == "several" else "radio"
        found: list[nodes.Node] = []
        for place, one in enumerate(question.options):
            ident = f"{name}-{letter(place)}"
            box = raw(f'<input type="{kind}" name="{name}" id="{ident}">')
            mark = Part("span", nodes.Text(f"{letter(place)}."), class_="quiz-letter")
            label = Part("label", mark, nodes.Text(" "), *self.inline(one.text), for_=ident)
            found.append(Part("div", box, label, class_="quiz-option"))
        return found

    def number_field(self, name: str) -> list[nodes.Node]:
        label = Part("label", nodes.Text("Your answer"), for_=f"{name}-number")
        box = raw(f'<input type="text" inputmode="decimal" autocomplete="off" id="{name}-number" size="8">')
        return [Part("div", label, nodes.Text(" "), box, class_="quiz-number")]

    def answers(self, question: Question) -> Part:
        """Every option with its verdict and reason; what the script shows is taken from here."""
        summary = Part("summary", nodes.Text("All answers"))
        return Part("details", summary, *[self.answer(question, place) for place in range(len(question.options))])

    def answer(self, question: Question, place: int) -> Part:
        one = question.options[place]
        name = one.text if question.kind == "number" else letter(place)
        verdict = nodes.strong("", f"{name}: {'right' if one.right else 'not right'}.")
        value = {} if one.value is None else {"data_value": f"{one.value:g}"}
        right = "yes" if one.right else "no"
        return Part("p", verdict, nodes.Text(" "), *self.inline(one.why), class_="quiz-why", data_right=right, **value)

    def inline(self, text: str) -> list[nodes.Node]:
        """The contents of the one paragraph that a text is."""
        found = self.parsed(text)
        if len(found) != 1 or not isinstance(found[0], nodes.paragraph):
            raise self.error(f"quiz: one paragraph is wanted, without a display or a list: {text}")
        return list(found[0].children)

    def parsed(self, text: str) -> list[nodes.Node]:
        holder = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), source=self.arguments[0]), 0, holder)
        return list(holder.children)


def letter(place: int) -> str:
    return "abcdefgh"[place]


def markdown(questions: list[Question]) -> str:
    """The quiz for editions without the directive: questions as Markdown, their answers folded."""
    parts = []
    for place, one in enumerate(questions, 1):
        number = one.kind == "number"
        options = [] if number else [f"- {letter(k)}. {option.text.strip()}" for k, option in enumerate(one.options)]
        names = [option.text if number else letter(k) for k, option in enumerate(one.options)]
        whys = [
            f"**{name}: {'right' if option.right else 'not right'}.** {option.why.strip()}"
            for name, option in zip(names, one.options, strict=True)
        ]
        parts.append(f"**Question {place} of {len(questions)}.** {one.text.strip()}\n\n*{HINTS[one.kind]}*")
        parts += ["\n".join(options)] if options else []
        parts.append("\n\n".join(["<details>\n<summary>All answers</summary>", *whys, "</details>"]))
    return "\n\n".join(parts)


def add_script(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """The module, in the page: a browser imports none for a page that is opened from a file."""
    if doctree is not None and doctree.next_node(Quiz):
        app.add_js_file(None, body=SCRIPT.read_text(encoding="utf-8"), type="module")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("quiz", QuizDirective)
    app.add_node(Part, html=(visit, depart))
    app.add_node(Quiz, html=(visit, depart))
    app.add_css_file("quiz.css")
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
