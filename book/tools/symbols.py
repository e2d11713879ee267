"""The symbols of every display against those of the notation page, whose source is `book/notation.yaml`.

    python book/tools/symbols.py [PAGE ...]     (lists the symbols that displays have and the page lacks)

A symbol is a letter with what belongs to its name: an accent, a word, a sign or a number below or above it. Letters
below a symbol that stand for a running number (`INDICES`) are no part of its name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pages import ROOT, chapters, displays, page_named, prose

SOURCE = ROOT / "book" / "notation.yaml"
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[A-Za-z]|\d+|\S", re.DOTALL)
ACCENTS = {r"\hat", r"\bar", r"\tilde", r"\dot", r"\vec", r"\widehat", r"\widetilde", r"\overline"}
STYLES = {r"\mathbb", r"\mathcal", r"\mathbf", r"\boldsymbol", r"\mathrm", r"\mathit", r"\operatorname"}
TEXT = {r"\text", r"\textrm", r"\textit", r"\textbf"}
ENVIRONMENT = {r"\begin", r"\end"}
INDICES = {"i", "j", "k", "m", "e", "t", "u", "o", "y", "l", "T", r"\varsigma"}
SIGNS = {"+", "-", "*", r"\star", r"\ast", r"\prime"}  # above a letter they belong to its name
# What every reader of mathematics knows, and what only arranges.
KNOWN = {f"\\{name}" for name in re.findall(r"\w+", """
    log exp max min sum prod int cos sin tan arg lim frac tfrac dfrac sqrt binom left right big bigl bigr Big Bigl
    Bigr bigg biggl biggr quad qquad le ge leq geq ne neq approx sim propto in notin subset cup cap setminus mid to
    leftarrow rightarrow longrightarrow Longrightarrow Rightarrow implies iff mapsto cdot times dots ldots cdots
    vdots pm mp partial nabla infty lfloor rfloor lceil rceil lvert rvert lVert rVert vert Vert langle rangle top
    odot circ star ast prime equiv ll gg limits nolimits displaystyle textstyle middle forall exists bmod mod colon
""")} | {r"\mathrm{d}", r"\operatorname{argmax}"}  # fmt: skip


@dataclass(frozen=True)
class Symbol:
    """A letter with its accent (`base`) and what stands below and above it, where words begin with a quote."""

    base: str
    below: str = ""
    above: str = ""

    def names(self) -> list[str]:
        """What it may be called, the fullest name first: a word, a sign or a letter that counts nothing belongs to it.

        A number or an expression below it may, as in the strengths 1 and 2; else it is that of the letter. Below an
        upright letter, a function's, stands a parameter, which is no part of the name.
        """
        below = "" if is_index(self.below) else f"_{self.below}"
        above = f"^{self.above}" if is_mark(self.above) else ""
        single = len(TOKEN.findall(self.below)) == 1 and self.below[-1].isalpha()
        strict = is_mark(self.below) or (single and not self.base.startswith(r"\mathrm"))
        names = [self.base + below + above] if strict else [self.base + below + above, self.base + above]
        return list(dict.fromkeys(name.replace("'", "") for name in names))


def is_index(text: str) -> bool:
    """Only running letters, numbers beside them, and signs: ``k``, ``t-1``, but not ``1``."""
    letters = [token for token in TOKEN.findall(text) if token[-1].isalpha()]
    return not text or (bool(letters) and all(token in INDICES for token in letters))


def is_mark(text: str) -> bool:
    """A word or a sign that belongs to a name: ``test``, ``\\min``, ``+``."""
    return "'" in text or text in SIGNS or text in (r"\min", r"\max")


def argument(tokens: list[str], start: int) -> tuple[list[str], int]:
    """The tokens of the argument that begins at ``start``, without its braces, and where it ends."""
    if start >= len(tokens):
        return [], start
    if tokens[start] != "{":
        if tokens[start] in ACCENTS | STYLES | TEXT:
            inner, end = argument(tokens, start + 1)
            return [tokens[start], "{", *inner, "}"], end
        return [tokens[start]], start + 1
    depth = 0
    for end in range(start, len(tokens)):
        depth += {"{": 1, "}": -1}.get(tokens[end], 0)
        if depth == 0:
            return tokens[start + 1 : end], end + 1
    raise ValueError(f"a brace is not closed in {''.join(tokens)}")


def plain(tokens: list[str]) -> str:
    """An index or an exponent as text: no braces, and a quote for the command that makes letters a word."""
    text = ""
    for token in tokens:
        if token in STYLES | TEXT:
            text += "'"
        elif token not in "{}":
            text += f" {token}" if token[0].isalpha() and re.search(r"\\[A-Za-z]+$", text) else token
    return text


def symbols(latex: str) -> Iterator[Symbol]:
    """Every symbol of a display, in order, those in indices and exponents too."""
    return (symbol for symbol, _, _ in found(latex))


def found(latex: str) -> Iterator[tuple[Symbol, int, int]]:
    """The symbols of a formula with their places in it; those in indices and exponents after the one they are at."""
    blank = re.sub(r"(?<![A-Za-z\\])d(?=[a-z](?![A-Za-z]))", " ", latex)  # the d of an integral's dx
    matches = list(TOKEN.finditer(blank))
    yield from _found([match[0] for match in matches], [match.span() for match in matches], 0, len(matches))


def _found(tokens: list[str], spans: list[tuple[int, int]], place: int, end: int) -> Iterator[tuple[Symbol, int, int]]:
    while place < end:
        first, token = place, tokens[place]
        place += 1
        if token in TEXT | ENVIRONMENT:
            place = argument(tokens, place)[1]
            continue
        base = ""
        if token in ACCENTS | STYLES:
            inner, place = argument(tokens, place + (tokens[place : place + 1] == ["*"]))
            word = "".join(inner)
            if token in ACCENTS and not re.fullmatch(r"\\?[A-Za-z]+", word):
                yield from _found(tokens, spans, first + 1, place)  # a bar over an expression
                continue
            base = f"{token}{{{word}}}"
        elif tokens[first : place + 1] == [r"\cos", r"\theta"]:  # the cosine is the symbol, never the angle alone
            base, place = r"\cos\theta", place + 1
        elif token[-1].isalpha():
            base = token
        if not base or base in KNOWN:
            continue
        scripts: dict[str, tuple[int, int]] = {}
        while place < end and tokens[place] in "_^":
            kind, begin = tokens[place], place + 1
            place = argument(tokens, begin)[1]
            scripts[kind] = (begin, place)
        texts = {kind: plain(argument(tokens, begin)[0]) for kind, (begin, _) in scripts.items()}
        if base == "e" and "^" in scripts:  # the exponential function
            yield from _found(tokens, spans, *scripts["^"])
            continue
        yield Symbol(base, texts.get("_", ""), texts.get("^", "")), spans[first][0], spans[place - 1][1]
        for kind, (begin, stop) in scripts.items():
            if not is_mark(texts[kind]):
                yield from _found(tokens, spans, begin, stop)


@cache
def notation() -> list[dict[str, Any]]:
    """The entries of the notation page; for reading only, since all callers have the same ones."""
    return list(yaml.safe_load(SOURCE.read_text(encoding="utf-8")))


def declared(chapter: str, entries: list[dict[str, Any]]) -> set[str]:
    """The names that a chapter's displays may use: everybody's, and those that are its own."""
    return {name_of(entry) for entry in entries if chapter in entry.get("only", [chapter])}


def name_of(entry: dict[str, Any]) -> str:
    """The name that an entry of the notation page gives: its first symbol with all that belongs to it.

    An entry without a letter that could be one, as the indicator's, is its own name.
    """
    first = next(symbols(entry["symbol"]), None)
    return first.names()[0] if first else str(entry["symbol"])


def unknown(path: Path, entries: list[dict[str, Any]]) -> list[str]:
    """The symbols in a page's displays that the notation page lacks, each with its display."""
    names = declared(path.stem.split("_")[0], entries)
    found = []
    for label, latex in displays(prose(path)):
        lacking = [symbol.names()[0] for symbol in symbols(latex) if not names.intersection(symbol.names())]
        found += [f"{label}: {name} is not in {SOURCE.name}" for name in dict.fromkeys(lacking)]
    return found


def main() -> None:
    paths = [page_named(name) for name in sys.argv[1:]] or chapters()
    found = [line for path in paths for line in unknown(path, notation())]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
