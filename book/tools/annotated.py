"""The annotated source: lines of a loss beside the equation that they compute, from `book/annotated.yaml`.

    python book/tools/annotated.py                     (checks every row)
    python book/tools/annotated.py --read LOSS ...     (prints a loss's rows, then writes their digests)

The file names functions of `lt_core`; the code is read from the source when the page is built. A function has rows, and
a row begins at the one line that has its fragment (`from`) and ends where the next begins, so no line is without one.
What stands beside it is a display of a chapter (`shows`, whose test is known) or a formula (`tex`), with the `test`
that holds it to the code, or a sentence (`says`), or both. `tests/book/test_annotated.py` runs these tests and looks
whether they run these lines. No program knows whether code and equation say the same: a person reads both, and
the digest (`read`) says which text was read. A row whose code or equation has changed stops the build.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from displays import normalise
from pages import ROOT, chapters, displays, prose
from symbols import declared, found, name_of, notation

SOURCE = ROOT / "book" / "annotated.yaml"
Line = tuple[int, str]  # its number in the file, and its text
CONDITION = r"1[\cdot]"  # a symbol without a letter
INDICATOR = re.compile(r"1\[[^\[\]]*\]")
KEYS = {"read", "from", "says", "shows", "tex", "test"}


@dataclass(frozen=True)
class Row:
    """Lines of code and what stands beside them; ``label`` is that of a chapter's display, "" for a formula."""

    lines: list[Line]
    says: str
    latex: str
    label: str
    tests: list[str]
    read: str

    @property
    def digest(self) -> str:
        """Of the code without comments and layout, and of the equation."""
        text = bare("\n".join(text for _, text in self.lines)) + "\n\n" + normalise(self.latex)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Part:
    """A function of a source file with its rows; ``symbols`` gives the symbol of a name in the code."""

    path: str
    name: str
    symbols: dict[str, str]
    rows: list[Row]


@dataclass(frozen=True)
class Loss:
    name: str
    chapter: str
    parts: list[Part]


@cache
def losses() -> dict[str, Loss]:
    """Every loss of the file, checked; a ValueError says what is wrong."""
    entries = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return {name: loss(name, entry) for name, entry in entries.items()}


def loss(name: str, entry: dict[str, Any]) -> Loss:
    made = Loss(name, entry["chapter"], [part(one, f"{name}, {one['function']}") for one in entry["parts"]])
    names = declared(made.chapter, notation())
    for one in made.parts:
        for row in one.rows:
            lacking = [s.names()[0] for s, _, _ in found(row.latex) if not names.intersection(s.names())]
            if lacking:
                raise ValueError(f"{name}, {one.name}: {lacking[0]} in {row.latex!r} is no symbol of the notation page")
    return made


def part(entry: dict[str, Any], where: str) -> Part:
    """A function and its rows, from its entry in the file."""
    path = ROOT / entry["source"]
    lines = code_of(path.read_text(encoding="utf-8"), entry["function"], entry["source"])
    text = "\n".join(text for _, text in lines)
    symbols = entry.get("symbols", {})
    known = {one["symbol"] for one in notation()}
    for identifier, symbol in symbols.items():
        if symbol not in known:
            raise ValueError(f"{where}: {symbol} is no symbol of the notation page")
        if not occurrences(identifier, text):
            raise ValueError(f"{where}: the code has no {identifier}")
    starts = [start(one["from"], lines, where) for one in entry["rows"]]
    if starts != sorted(set(starts)):
        raise ValueError(f"{where}: the rows are not in the order of the code")
    if starts[0] != 0:
        raise ValueError(f"{where}: no row has the line {lines[0][1].strip()!r}")
    ends = [*starts[1:], len(lines)]
    rows = [row(one, lines[a:b], where) for one, a, b in zip(entry["rows"], starts, ends, strict=True)]
    return Part(entry["source"], entry["function"], symbols, rows)


def row(entry: dict[str, Any], lines: list[Line], where: str) -> Row:
    where = f"{where}, row {entry['from']!r}"
    if entry.keys() - KEYS:
        raise ValueError(f"{where}: unknown {sorted(entry.keys() - KEYS)}; allowed are {sorted(KEYS)}")
    label, latex, tests = entry.get("shows", ""), entry.get("tex", ""), entry.get("test", [])
    tests = [tests] if isinstance(tests, str) else list(tests)
    if label and latex:
        raise ValueError(f"{where}: it has shows and tex; one is enough")
    if label:
        latex = display(label, where)
        tests = [test_of(label), *tests]
    if latex and not tests:
        raise ValueError(f"{where}: a formula needs its test")
    if not latex and not entry.get("says"):
        raise ValueError(f"{where}: it says nothing")
    for test in tests:
        if not exists(test):
            raise ValueError(f"{where}: there is no test {test}")
    return Row(lines, entry.get("says", "").strip(), latex.strip(), label, tests, str(entry.get("read", "")))


def start(fragment: str, lines: list[Line], where: str) -> int:
    """The place of the one line that has the fragment."""
    places = [place for place, (_, text) in enumerate(lines) if fragment in text]
    if len(places) != 1:
        raise ValueError(f"{where}: {len(places)} lines have {fragment!r}; a row begins at one")
    return places[0]


def code_of(source: str, name: str, where: str) -> list[Line]:
    """The lines of a function or method (``Class.method``), without its docstring, moved to the left margin."""
    node: ast.AST = ast.parse(source)
    for step in name.split("."):
        inside = [n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == step]
        if len(inside) != 1:
            raise ValueError(f"{where} has no {name}")
        node = inside[0]
    if not isinstance(node, ast.FunctionDef):
        raise ValueError(f"{where}: {name} is no function")
    first = min(n.lineno for n in [node, *node.decorator_list])
    numbers = set(range(first, (node.end_lineno or first) + 1))
    if ast.get_docstring(node) is not None:
        numbers -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = source.splitlines()
    return [(n, lines[n - 1][node.col_offset :]) for n in sorted(numbers) if lines[n - 1].strip()]


def bare(code: str) -> str:
    """Code without comments and layout, a token a line. A row may begin or end amid a statement."""
    tokens = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type != tokenize.COMMENT and token.string.strip():
                tokens.append(token.string)
    except (tokenize.TokenError, IndentationError):
        pass  # a bracket stays open, or a block does: all tokens before the end have come
    return "\n".join(tokens)


@cache
def known_displays() -> dict[str, str]:
    return {label: latex for path in chapters() for label, latex in displays(prose(path)) if label}


def display(label: str, where: str) -> str:
    if label not in known_displays():
        raise ValueError(f"{where}: no chapter has the display {label}")
    return known_displays()[label]


def test_of(label: str) -> str:
    """The test of a display, by the rule of `tests/book`."""
    return f"tests/book/test_equations_{label[:2]}.py::test_{label.replace('-', '_')}"


def exists(test: str) -> bool:
    """Whether ``FILE::NAME`` is a test of the repository."""
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def occurrences(identifier: str, text: str) -> list[tuple[int, int]]:
    """Where a name stands by itself: `theta` neither in `log_theta` nor in `self.theta`, nor as a keyword's name."""
    end = r"(?!\w)" if identifier[-1].isalnum() else ""
    return [match.span() for match in re.finditer(rf"(?<![\w.]){re.escape(identifier)}{end}(?!=[^=])", text)]


def slug(name: str) -> str:
    """A symbol's name as a word of HTML: ``tilde-z`` for ``\\tilde{z}``."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name.replace("^-", "-minus").replace("^+", "-plus")).strip("-")


@cache
def by_name() -> dict[str, dict[str, Any]]:
    """The entries of the notation page by the names that the displays' symbols have."""
    return {name_of(entry): entry for entry in notation()}


@cache
def ids() -> dict[str, str]:
    """The word of HTML for each symbol of the notation page."""
    return {entry["symbol"]: slug(name) for name, entry in by_name().items()}


def marked(latex: str) -> str:
    r"""The formula with every symbol of the notation page in ``\class{sym-…}{…}``."""
    opened: dict[int, str] = {}
    closed: dict[int, str] = {}
    for symbol, first, last in found(latex):
        name = next((name for name in symbol.names() if name in by_name()), None)
        if name is None:
            continue
        opened[first] = opened.get(first, "") + rf"{{\class{{sym-{slug(name)}}}{{"
        closed[last] = closed.get(last, "") + "}}"
    for match in INDICATOR.finditer(latex):
        opened[match.start()] = rf"{{\class{{sym-{ids()[CONDITION]}}}{{" + opened.get(match.start(), "")
        closed[match.end()] = closed.get(match.end(), "") + "}}"
    pieces = [closed.get(k, "") + opened.get(k, "") + latex[k : k + 1] for k in range(len(latex) + 1)]
    return "".join(pieces)


def used(one: Loss) -> dict[str, list[str]]:
    """The symbols of a loss in the order of the notation page, each with its names in the code."""
    names: dict[str, list[str]] = {}
    for piece in one.parts:
        for identifier, symbol in piece.symbols.items():
            names.setdefault(symbol, []).append(identifier)
        for each in piece.rows:
            for symbol, _, _ in found(each.latex):
                name = next((name for name in symbol.names() if name in by_name()), None)
                if name is not None:
                    names.setdefault(by_name()[name]["symbol"], [])
            if INDICATOR.search(each.latex):
                names.setdefault(CONDITION, [])
    order = [entry["symbol"] for entry in notation()]
    return {symbol: list(dict.fromkeys(names[symbol])) for symbol in order if symbol in names}


def unread(one: Loss) -> list[str]:
    """The rows whose digest is not that of their code and equation."""
    return [
        f"{one.name}, {piece.name}, line {each.lines[0][0]}: code or equation is not what was read; "
        f"read both, then run book/tools/annotated.py --read {one.name}"
        for piece in one.parts
        for each in piece.rows
        if each.read != each.digest
    ]


def write_digests(text: str, names: list[str]) -> str:
    """The file's text with the digests of these losses. Every row has one ``read:``, in the order of the rows."""
    rows = [(one.name, each) for one in losses().values() for piece in one.parts for each in piece.rows]
    found_digests = list(re.finditer(r"(?m)^( *- read:).*$", text))
    if len(found_digests) != len(rows):
        raise ValueError(f"{SOURCE.name} has {len(rows)} rows and {len(found_digests)} begin with read:")
    for match, (name, each) in reversed(list(zip(found_digests, rows, strict=True))):
        if name in names:
            text = f"{text[: match.start()]}{match[1]} '{each.digest}'{text[match.end() :]}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Check the annotated source, or write its digests.")
    parser.add_argument("--read", nargs="+", default=[], metavar="LOSS", choices=list(losses()))
    read = parser.parse_args().read
    for name in read:
        for piece in losses()[name].parts:
            for each in piece.rows:
                code = "\n".join(text for _, text in each.lines)
                tests = "".join(f"\n  {test}" for test in each.tests)
                print(f"--- {name}, {piece.name}\n{code}\n  {each.label} {each.latex}{tests}\n  {each.says}\n")
    if read:
        SOURCE.write_text(write_digests(SOURCE.read_text(encoding="utf-8"), read), encoding="utf-8")
        return
    if faults := [fault for one in losses().values() for fault in unread(one)]:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
