"""The numbers in a text, and those that a page shows: in its outputs, its widgets' states and its code."""

from __future__ import annotations

import ast
import html
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from check_pages import WIDGET_VIEW, widget_models
from pages import parsed

NUMBER = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)?(\.\d+)?(?![A-Za-z\d])"
    r"(?=((?:,? (?:to|or|and|-) -?[\d.]+)?\s?(?:%|per cent|points?\b))?)"
)
SKIPPED = re.compile(
    r"`[^`]*`"  # inline code
    r"|\b[A-Za-z]+-?\d[\w.-]*"  # names: CIFAR-100, ResNet-32, float32, top-1
    r"|\b(?:[Cc]hapters?|[Pp]art|[Ee]xercises?|[Tt]heorems?|seeds?|Eqs?\.|Equations?|Tables?|Figures?|Sections?|version)"
    r"\s\[?\d[\d.]*\]?(?:(?:\s(?:to|and)\s|[–,-]\s?)\[?\d+\]?)*"
    r"|\b(?:19|20)\d\d\b(?!,)"  # years
    r"|Time:?\*?:?\s\d+ minutes"  # held by another check
)
DRAWS = ("ax", "fig", "plt")  # what a call that only draws begins with: axes[0].set(…)
FUNCTIONS = {"log": math.log, "sqrt": math.sqrt}
EQUALITY = re.compile(r"((?:log|sqrt|[-\d.()*/+ ])+)(?:=|≈)(?= *(-?(?:\d*\.)?\d+) ?(%)?)")
LONG = 40  # a stored list of more values explains nothing: some value always fits


@dataclass(frozen=True)
class Number:
    """A number as the prose prints it."""

    text: str
    measured: bool  # in percent or points
    sentence: str

    @property
    def value(self) -> float:
        return float(self.text.replace(",", ""))

    @property
    def digits(self) -> int:
        return len(self.text.partition(".")[2])


def numbers(sentence: str) -> Iterator[Number]:
    text = SKIPPED.sub(" ", plain(sentence))
    for found in NUMBER.finditer(text):
        if found[1] or found[2]:
            yield Number((found[1] or "") + (found[2] or ""), bool(found[3]), " ".join(sentence.split()))


def plain(text: str) -> str:
    """Text and inline mathematics with one kind of minus, dash and thousands' comma."""
    text = text.replace("{,}", ",").replace("−", " -").replace("–", " - ").replace("\\,", " ").replace("\\%", "%")
    return re.sub(r"\\(?:[td]?frac)\s*(\d)\s*(\d)", r"\1/\2", text)


def equalities(text: str) -> dict[str, bool]:
    """The results of the arithmetic that a text writes out, ``2 * 3 = 6``, each with whether it comes out so each time.

    The last digit of a decimal may be off by one, since the numbers of the left side may be rounded.
    """
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", plain(text).replace("$", "").replace(r"\log", "log"))
    text = re.sub(r"log *([\d.]+)", r"log(\1)", re.sub(r"·|×|\\cdot|\\times", "*", text))
    found = {}
    for left, right, percent in EQUALITY.findall(text.replace("^", "**").replace(")(", ")*(")):
        if not re.search(r"[\d)] *[-*/+] *[\d(ls]|log|sqrt", left):
            continue
        try:
            value = float(eval(left.strip(), {"__builtins__": {}}, FUNCTIONS))
        except (ArithmeticError, NameError, SyntaxError, TypeError, ValueError):
            continue  # no arithmetic: a bracket of the sentence, two numbers in a row, a function of nothing
        unit = 10.0 ** -len(right.partition(".")[2])
        close = abs(value * (100 if percent else 1) - float(right)) <= (unit if unit < 1 else 0.5) * (1 + 1e-9)
        result = right.lstrip("-")
        found[result] = close and found.get(result, True)
    return found


def values_in(text: str) -> set[float]:
    """The numbers of an output's text; one in percent counts as a share too."""
    found = set()
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    for number in numbers(html.unescape(text)):
        found.add(number.value)
        if number.measured:
            found.add(number.value / 100)
    return found


def code_values(source: str) -> set[float]:
    """The numbers in a cell's code, without those of calls that only draw."""
    tree = parsed(source)
    drawn = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(DRAWS)]
    skipped = {id(inner) for node in drawn for inner in ast.walk(node)}
    kept = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in skipped]
    return {float(node.value) for node in kept if type(node.value) in (int, float)}


def output_values(path: Path, output: Any) -> set[float]:
    """What an output of a cell shows, a widget by what it stores."""
    data = output.get("data", {})
    found = values_in(output.get("text", ""))
    for kind in ("text/html", "text/markdown", "text/plain"):
        found |= values_in(data.get(kind, "").partition("<svg")[0])
    view = data.get(WIDGET_VIEW, {}).get("model_id")
    return found | (stored_values(widget_models(path), view, set()) if view else set())


def stored_values(models: dict[str, Any], name: str, seen: set[str]) -> set[float]:
    """The numbers in a widget's state and in those that it refers to, lists of many values left out."""
    if name in seen or name not in models:
        return set()
    seen.add(name)
    found: set[float] = set()
    stack = [value for key, value in models[name]["state"].items() if not key.startswith("_") and key != "layout"]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            for other in re.findall(r"IPY_MODEL_(\w+)", value):
                found |= stored_values(models, other, seen)
            if value.lstrip().startswith("<"):
                found |= values_in(re.sub(r"<img[^>]*>", "", value))
        elif isinstance(value, (list, dict)):
            inner = list(value.values()) if isinstance(value, dict) else value
            stack += inner if len(inner) <= LONG else []
        elif type(value) in (int, float):
            found.add(float(value))
    return found


def constants() -> set[float]:
    """The numbers of the three recipes, milestones in epochs too."""
    import lt_core as lt

    found = {lt.training.recipes.COSINE_SCALE}
    for recipe in lt.training.RECIPES.values():
        milestones = [fraction * recipe.epochs for fraction in (0.8, 0.9, recipe.warmup)]
        found |= {float(value) for value in [*asdict(recipe).values(), *milestones] if type(value) in (int, float)}
    return found
