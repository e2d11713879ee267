"""Write the reference of `lt_core`, a page for each public module, from its public names.

    python book/tools/api.py      (writes book/api/*.md)

A page has, for every public name, a link to the chapter that derives it, the test file that uses it most, and the
directive from which the build makes signature and docstring. What a chapter derives is said by `DERIVED`, by display;
what it only mentions, and which tests use a name, is found in code and text.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pages import ROOT, cells, chapters, parsed, prose

PLACE = ROOT / "book" / "api"
INDEX = "index"
# The public modules in the order of the pages, each with what it is for.
MODULES = {
    "losses": "Losses: functions and modules",
    "posthoc": "Adjustments at inference time",
    "metrics": "Accuracy by group, calibration",
    "data": "Long-tailed data sets",
    "models": "Networks and classifiers",
    "training": "Runs: configuration, training, evaluation",
    "records": "Run records",
    "report": "Tables and figures from records",
    "widgets": "Widgets",
    "plots": "Figures of the book",
}
SHOWN = 20  # values of a constant
MANY = 8  # chapters that are listed one by one
# What is derived, by the display that has its equation.
DERIVED = {
    "01-profile": "data.class_counts",
    "01-recall": "metrics.per_class_accuracy",
    "01-balanced": "metrics.balanced_error",
    "01-shot": "metrics.shot_accuracy",
    "02-loss": "losses.CrossEntropyLoss",
    "03-effective": "losses.class_balanced_weights",
    "03-focal": "losses.FocalLoss losses.focal_loss",
    "03-tau": "posthoc.tau_normalize",
    "04-scorer": "posthoc.adjust_logits",
    "04-loss": "losses.LogitAdjustedLoss losses.logit_adjusted_loss",
    "04-balanced-softmax": "losses.BalancedSoftmaxLoss losses.balanced_softmax_loss",
    "05-cosine": "models.CosineClassifier",
    "05-faces": "losses.CosFaceLoss losses.cosface_loss losses.ArcFaceLoss losses.arcface_loss losses.SphereFaceLoss"
    " losses.sphereface_loss",
    "05-detached": "losses.CosineMarginLoss",
    "05-ldam": "losses.LDAMLoss losses.ldam_loss losses.ldam_margins",
    "05-vs": "losses.VSLoss losses.vs_loss",
    "05-gcl": "losses.GCLLoss losses.gcl_loss",
    "06-df": "losses.difficulty_factor",
    "06-qf": "losses.quantity_factor",
    "06-loss": "losses.ALALoss losses.ala_loss",
    "07-released": "losses.GALALoss losses.gala_loss losses.gala_logits",
    "08-rebalanced": "posthoc.rebalance_predictions posthoc.rebalance_logits",
    "08-kappa": "metrics.column_mean_slope",
    "08-lade": "losses.lade_estimates",
    "09-gradient": "losses.FamilyLoss",
    "09-slope": "losses.measure",
    "09-tie": "losses.tie_odds",
    "11-residual": "report.analyse",
    "11-stages": "report.second_stages",
    "13-ece": "metrics.expected_calibration_error",
    "14-experts": "losses.expert_diversity",
}
META = """\
---
myst:
  html_meta:
    description: "{text}"
---
"""
HEAD = """\
# Reference

The public names of `lt_core`. Of a loss, a post-hoc adjustment or a metric the description has the equation; where a
chapter derives it, a link leads there. The test file is the one that uses the name most. `import lt_core as lt` gives
every module below by its name, `lt.losses` say, and loads it when it is first used.

| module | what it has |
|---|---|
"""


def public(module: ModuleType) -> dict[str, Any]:
    """The public functions and classes of a module: those of ``__all__``, else what it defines itself.

    A class stands beside the function that it is the Module form of: `ALALoss`, `ala_loss`.
    """
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", "") == module.__name__]
    found = {name: getattr(module, name) for name in sorted(names, key=lambda name: name.lower().replace("_", ""))}
    return {name: value for name, value in found.items() if inspect.isclass(value) or inspect.isroutine(value)}


def constants(module: ModuleType) -> list[str]:
    """Its public values that are neither functions, classes nor modules."""
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return [n for n, v in found.items() if not (inspect.isclass(v) or inspect.isroutine(v) or inspect.ismodule(v))]


def chapter(module: str, name: str, value: Any) -> str:
    """The sentence about chapters: where the equation of a name is derived, else where chapters name it; or ""."""
    derived = [label for label, names in DERIVED.items() if f"{module}.{name}" in names.split()]
    if derived:
        numbers, word = list(dict.fromkeys(label[:2] for label in derived)), "Derived"
    else:
        keys = [key for one in (name, *partner(value)) for key in paths(module, one, value)]
        numbers = [number for number, used in mentions().items() if any(key in used for key in keys)]
        word = "Mentioned"
    if word == "Mentioned" and len(numbers) > MANY:
        return f"Mentioned in {len(numbers)} chapters"
    return f"{word} in chapter{'s' * (len(numbers) > 1)} {', '.join(map(_link, numbers))}" if numbers else ""


def _link(number: str) -> str:
    path = next(path for path in chapters() if path.stem.startswith(number))
    return f"{{doc}}`{number} </{path.relative_to(ROOT).with_suffix('').as_posix()}>`"


def partner(value: Any) -> list[str]:
    """The function whose Module form a class is."""
    return re.findall(r"\AModule form of `(\w+)`", value.__doc__ or "")


def paths(module: str, name: str, value: Any) -> set[str]:
    """The dotted names under which a public name can be reached."""
    return {f"lt_core.{module}.{name}", f"{value.__module__}.{name}"}


def uses(tree: ast.AST) -> Counter[str]:
    """How often each name of `lt_core` is used in code, by its dotted name; a bare word is none."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [(one.asname or one.name.split(".")[0], one.name) for one in node.names]
            known |= {short: name if "." not in name or short != "lt_core" else short for short, name in names}
        elif isinstance(node, ast.ImportFrom):
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    found: Counter[str] = Counter()
    for node in ast.walk(tree):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts, node = [node.attr, *parts], node.value
        if isinstance(node, ast.Name) and node.id in known:
            found[".".join([known[node.id], *parts])] += 1
    return Counter({name: count for name, count in found.items() if name.split(".")[0] == "lt_core"})


@cache
def mentions() -> dict[str, set[str]]:
    """The dotted names that each chapter uses in its code or text."""
    found = {}
    for path in chapters():
        code = "\n".join(cell.source for cell in cells(path) if cell.cell_type == "code")
        words = re.findall(r"\blt\.(\w+\.\w+)", prose(path))
        found[path.stem[:2]] = set(uses(parsed(code))) | {f"lt_core.{word}" for word in words}
    return found


@cache
def tests() -> dict[str, Counter[str]]:
    """How often each test file uses each name."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return {path.relative_to(ROOT).as_posix(): uses(ast.parse(path.read_text(encoding="utf-8"))) for path in paths}


def tested(module: str, name: str, value: Any) -> str:
    """The test file that uses a name most; "" where none does."""
    keys = paths(module, name, value)
    count, place = max((sum(used[key] for key in keys), place) for place, used in tests().items())
    return place if count else ""


def entry(module: str, name: str, value: Any) -> str:
    """A name's part of the page."""
    kind = "class" if inspect.isclass(value) else "function"
    test = tested(module, name, value)
    told = ". ".join(filter(None, [chapter(module, name, value), f"Tested in `{test}`" if test else ""]))
    lines = [f".. auto{kind}:: lt_core.{module}.{name}"]
    if kind == "class" and list(_documented(value)):
        lines.append(f"   :members: {', '.join(_documented(value))}")
    about = f"{told}.\n\n" if told else ""
    return f"## `{name}`\n\n{about}```{{eval-rst}}\n" + "\n".join(lines) + "\n```\n"


def _documented(value: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself and describes."""
    for name, member in vars(value).items():
        described = isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)
        if name[0] != "_" and described and member.__doc__ and name != "forward":
            if isinstance(member, property) and ":" in member.__doc__.strip().splitlines()[0]:
                raise ValueError(f"{value.__name__}.{name}: a colon in its first line, which napoleon splits there")
            yield name


def _names(values: Any) -> str:
    """The entries of a constant, or the keys of a mapping; the first and the last of many."""
    names = [f"`{value!r}`" for value in values]
    return ", ".join(names if len(names) <= SHOWN else [*names[:3], "…", names[-1]]) + f" ({len(names)})"


def page(name: str) -> str:
    """The page of a module."""
    module = importlib.import_module(f"lt_core.{name}")
    summary = inspect.getdoc(module) or ""
    intro = re.sub(r"\s*\(chapters? [^)]*\)", "", summary.split("\n\n")[0].replace("\n", " "))
    told = f"lt_core.{name}: {MODULES[name][0].lower()}{MODULES[name][1:]}, with signatures, chapters and tests."
    parts = [f"{META.format(text=told)}# lt_core.{name}\n\n{intro}\n"]
    if name == "losses":  # what holds for all of them is said once, there
        rest = summary.partition("\n\n")[2]
        parts.append(f"```{{eval-rst}}\n.. currentmodule:: lt_core.losses\n\n{rest}\n```\n")
    if values := constants(module):
        parts.append("\n".join(f"- `{value}`: {_names(getattr(module, value))}" for value in values) + "\n")
    parts += [entry(name, key, value) for key, value in public(module).items()]
    return "\n".join(parts)


def index() -> str:
    rows = [f"| {{doc}}`lt_core.{name} <{name}>` | {what} |" for name, what in MODULES.items()]
    told = "The reference of lt_core: every public name with its equation, its chapter and its test."
    return META.format(text=told) + HEAD + "\n".join(rows) + "\n"


@cache
def pages() -> dict[Path, str]:
    """Every page's file and text."""
    made = {PLACE / f"{INDEX}.md": index()}
    return made | {PLACE / f"{name}.md": page(name) for name in MODULES}


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    made = pages()
    for path in PLACE.glob("*.md"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
