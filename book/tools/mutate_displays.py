"""Alter every display of the book in every way below, and fail if an altered one passes for the one that was read.

    python book/tools/mutate_displays.py

It works on the pages' text as it stands, without the parsing of `displays.py`, whose check it tries.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

from displays import Test, displays, equation_tests, faults, pages, prose

Operator = Callable[[str], Iterator[str]]
SYMBOL = re.compile(r"\\(?:begin|end)\{\w+\*?\}|\\[A-Za-z]+|\\.|\S", re.DOTALL)
STRUCTURE = re.compile(r"\\(begin|end)\{.*|\\[bB]ig+[lr]?|\\(left|right|quad|qquad)|\\[,:;>! \\]|[{}&]")
GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "phi", "varphi", "lambda", "mu",
    "pi", "rho", "kappa", "sigma", "tau", "Gamma", "Delta", "Theta", "Phi", "Lambda", "Pi", "Sigma",
]  # fmt: skip
OTHER = {
    "sign": {"+": "-", "-": "+", r"\pm": r"\mp"},
    "relation": {"=": r"\approx", "<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": "=", r"\neq": "="},
    "script": {"^": "_", "_": "^"},
    "function": {
        r"\log": r"\exp", r"\sum": r"\prod", r"\prod": r"\sum", r"\max": r"\min", r"\min": r"\max", r"\cos": r"\sin",
        r"\cdot": "+",
    },
    "letter": {f"\\{one}": f"\\{two}" for one, two in zip(GREEK, GREEK[1:] + GREEK[:1], strict=True)},
}  # fmt: skip
CLOSERS = {"{": "}", "(": ")", "[": "]"}


def replacing(table: dict[str, str]) -> Operator:
    """One symbol for another, at each place where it stands."""

    def mutants(latex: str) -> Iterator[str]:
        for found in SYMBOL.finditer(latex):
            if found[0] in table:
                yield f"{latex[: found.start()]}{table[found[0]]} {latex[found.end() :]}"

    return mutants


def letters(latex: str) -> Iterator[str]:
    """A Latin letter becomes the next one: p to q, j to k."""
    for found in SYMBOL.finditer(latex):
        if found[0].isascii() and found[0].isalpha():
            other = {"z": "a", "Z": "A"}.get(found[0], chr(ord(found[0]) + 1))
            yield latex[: found.start()] + other + latex[found.end() :]


def numbers(latex: str) -> Iterator[str]:
    for found in re.finditer(r"\d+", latex):
        yield latex[: found.start()] + str(int(found[0]) + 1) + latex[found.end() :]


def dropped(latex: str) -> Iterator[str]:
    """A symbol is missing: a letter, a hat, a bracket, a sign."""
    for found in SYMBOL.finditer(latex):
        if not STRUCTURE.fullmatch(found[0]):
            yield f"{latex[: found.start()]} {latex[found.end() :]}"


def argument(latex: str, start: int) -> int:
    """Where the argument ends that begins at ``start``: a group in braces, or one symbol."""
    found = SYMBOL.match(latex, start)
    if found is None:
        raise ValueError(f"no argument at {start} of {latex!r}")
    if found[0] != "{":
        return found.end()
    depth = 0
    for symbol in SYMBOL.finditer(latex, start):
        depth += {"{": 1, "}": -1}.get(symbol[0], 0)
        if depth == 0:
            return symbol.end()
    raise ValueError(f"a brace is not closed in {latex!r}")


def skip_blanks(latex: str, start: int) -> int:
    while latex[start].isspace():
        start += 1
    return start


def bare(argument: str) -> str:
    return argument[1:-1] if argument.startswith("{") else argument


def fractions(latex: str) -> Iterator[str]:
    """Numerator and denominator change places, unless they are alike."""
    for found in re.finditer(r"\\[td]?frac(?![A-Za-z])", latex):
        one = skip_blanks(latex, found.end())
        middle = argument(latex, one)
        two = skip_blanks(latex, middle)
        end = argument(latex, two)
        top, bottom = bare(latex[one:middle]), bare(latex[two:end])
        if top != bottom:
            yield f"{latex[:one]}{{{bottom}}}{{{top}}}{latex[end:]}"


def scripts(latex: str) -> Iterator[str]:
    """An exponent or an index is missing, or the letters of an index change places."""
    for found in re.finditer(r"[\^_]", latex):
        start = skip_blanks(latex, found.end())
        end = argument(latex, start)
        yield latex[: found.start()] + latex[end:]
        index = re.fullmatch(r"\{([A-Za-z])([A-Za-z])\}", latex[start:end])
        if index and index[1] != index[2]:
            yield f"{latex[:start]}{{{index[2]}{index[1]}}}{latex[end:]}"


def terms(latex: str) -> Iterator[str]:
    """A term is missing: all from its sign to the next sign or relation on its level."""
    for found in re.finditer(r"[+-]", latex):
        open_brackets: list[str] = []
        end = len(latex)
        for symbol in SYMBOL.finditer(latex, found.end()):
            text = symbol[0]
            if not open_brackets and (text in "+-=<>&})]" or text in (r"\le", r"\ge", r"\\", r"\qquad")):
                end = symbol.start()
                break
            if text in CLOSERS:
                open_brackets.append(CLOSERS[text])
            elif open_brackets and text == open_brackets[-1]:
                open_brackets.pop()
        yield latex[: found.start()] + latex[end:]


OPERATORS: dict[str, Operator] = {name: replacing(table) for name, table in OTHER.items()} | {
    "latin letter": letters,
    "number": numbers,
    "fraction": fractions,
    "exponent or index": scripts,
    "term": terms,
    "symbol": dropped,
}


def mutants(latex: str) -> list[tuple[str, str]]:
    """Operator and altered LaTeX, every operator at every place."""
    return [(name, mutant) for name, operator in OPERATORS.items() for mutant in operator(latex)]


def survivors(text: str, tests: dict[str, Test]) -> tuple[int, list[str]]:
    """How many mutants a page's displays have, and those that the check lets pass."""
    count, passed = 0, []
    for label, latex in displays(text):
        for name, mutant in mutants(latex):
            count += 1
            if not faults("page", f"$${mutant}$$ ({label})", tests):
                passed.append(f"{label}: {name}: {mutant.strip()}")
    return count, passed


def main() -> None:
    tests = equation_tests()
    results = [survivors(prose(path), tests) for path in pages()]
    passed = [line for _, lines in results for line in lines]
    if passed:
        sys.exit("\n".join(["altered displays pass for those that were read:", *passed]))
    print(f"{sum(count for count, _ in results):,} altered displays, none passes")


if __name__ == "__main__":
    main()
