"""Write the reference of `lt_core`, a page for each public module, from its public names.

    python book/tools/api.py      (writes book/api/*.md)

A page has, for every public name, a link to the chapter that derives it, the test file that checks it, and the
directive from which the build makes signature and docstring. Chapter and tests are found, not written down: the chapter
is the one that the module's docstring names, the tests are the file that uses the name most.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pages import ROOT, chapters

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
META = """\
---
myst:
  html_meta:
    description: "{text}"
---
"""
HEAD = """\
# Reference

The public names of `lt_core`. What a name computes is an equation in its description; the chapter derives it, and the
test holds both to it. `import lt_core as lt` gives every module below by its name, `lt.losses` say, and loads it when
it is first used.

| module | what it has |
|---|---|
"""


def public(module: ModuleType) -> dict[str, Any]:
    """The public functions and classes of a module: those of ``__all__``, else what it defines itself."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", "") == module.__name__]
    found = {name: getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if inspect.isclass(value) or inspect.isroutine(value)}


def constants(module: ModuleType) -> list[str]:
    """Its public values that are neither functions, classes nor modules."""
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return [n for n, v in found.items() if not (inspect.isclass(v) or inspect.isroutine(v) or inspect.ismodule(v))]


def home(value: Any) -> ModuleType:
    """The module in which a function or class is written."""
    return sys.modules[value.__module__]


def chapter(value: Any) -> str:
    """A link to the chapters that the docstring of a name, or else of its module, names; "" where none does."""
    for text in (value.__doc__, home(value).__doc__):
        numbers = re.findall(r"\d+", " ".join(re.findall(r"[Cc]hapters? ((?:\d+(?:, | and | to )?)+)", text or "")))
        if numbers:
            return ", ".join(_link(f"{int(number):02d}") for number in dict.fromkeys(numbers))
    return ""


def _link(number: str) -> str:
    for path in chapters():
        if path.stem.startswith(number):
            return f"{{doc}}`{number} </{path.relative_to(ROOT).with_suffix('').as_posix()}>`"
    return number  # a chapter that is not written yet


@cache
def tests() -> dict[str, Counter[str]]:
    """How often each test file has each word."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return {
        path.relative_to(ROOT).as_posix(): Counter(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        for path in paths
    }


def tested(name: str, value: Any) -> str:
    """The test file that uses a name most; where none does, the one that uses most what is written beside it.

    Raises:
        ValueError: no test uses any of them.
    """
    written = vars(home(value)).items()
    beside = [other for other, member in written if getattr(member, "__module__", "") == value.__module__]
    for names in ([name], beside):
        count, place = max((sum(words[n] for n in names), place) for place, words in tests().items())
        if count:
            return place
    raise ValueError(f"no test uses {name} or what is written beside it")


def entry(module: str, name: str, value: Any) -> str:
    """A name's part of the page."""
    kind = "class" if inspect.isclass(value) else "function"
    told = [f"Derived in chapter {found}" if (found := chapter(value)) else "", f"Tested in `{tested(name, value)}`"]
    lines = [f".. auto{kind}:: lt_core.{module}.{name}"]
    if kind == "class" and list(_documented(value)):
        lines.append(f"   :members: {', '.join(_documented(value))}")
    return f"## `{name}`\n\n{'. '.join(filter(None, told))}.\n\n```{{eval-rst}}\n" + "\n".join(lines) + "\n```\n"


def _documented(value: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself and describes."""
    for name, member in vars(value).items():
        described = isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)
        if name[0] != "_" and described and inspect.getdoc(member) and name != "forward":
            yield name


def page(name: str) -> str:
    """The page of a module."""
    module = importlib.import_module(f"lt_core.{name}")
    summary = inspect.getdoc(module) or ""
    intro = re.sub(r"\s*\(chapters? [^)]*\)", "", summary.split("\n\n")[0].replace("\n", " "))
    told = f"lt_core.{name}: {MODULES[name][0].lower()}{MODULES[name][1:]}, with signatures, chapters and tests."
    parts = [f"{META.format(text=told)}# lt_core.{name}\n\n{intro}\n"]
    if values := constants(module):
        parts.append("Values: " + ", ".join(f"`{value}`" for value in values) + ".\n")
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
