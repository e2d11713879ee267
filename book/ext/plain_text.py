"""Text as a reader would type it, for what cannot show formulas: search results and descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from docutils import nodes
from quiz import Quiz

FRACTION = re.compile(r"\\[td]?frac\s*(\{[^{}+-]*\}|\w)\s*(\{[^{}+-]*\}|\w)")  # that need no brackets in a line
COMMAND = re.compile(r"\\([A-Za-z]+)\*?")
SPACING = re.compile(r"\\[,:;>! \\]")
SYMBOLS = {
    "infty": "∞", "le": "≤", "ge": "≥", "ne": "≠", "to": "→", "times": "×", "approx": "≈", "in": "∈", "cdot": "·",
    "pm": "±", "sum": "∑", "prod": "∏", "mid": "|", "propto": "∝", "partial": "∂", "sqrt": "√", "dots": "…", "ell": "ℓ",
}  # fmt: skip
FUNCTIONS = {"log", "exp", "sin", "cos", "min", "max"}  # names that stay as they are
NAMES = {"lambda": "LAMDA"}  # as Unicode spells it
# What is not taken: pictures, tables and displays, what the page does not show, and answers that nobody wants to find.
SKIPPED = (nodes.raw, nodes.comment, nodes.math_block, nodes.image, nodes.table, Quiz)


def symbol(command: re.Match[str]) -> str:
    """θ for `\\theta`, log for `\\log`, a space for what only shapes the formula."""
    name = command[1]
    if name in FUNCTIONS:
        return name if command.string[: command.start()].endswith("{") else f" {name} "  # n_{\max} is one word
    if name in SYMBOLS:
        return SYMBOLS[name]
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {NAMES.get(name.lower(), name.removeprefix('var').upper())}")
    except KeyError:
        return " "


def readable(tex: str) -> str:
    text = COMMAND.sub(symbol, SPACING.sub(" ", FRACTION.sub(r"\1/\2", tex)))
    return " ".join(re.sub(r"[\\{}_^&]", "", text.replace("~", " ")).split())


def inline(node: nodes.Node) -> str:
    """The text of a paragraph, a title or a caption."""
    if isinstance(node, nodes.math):
        return readable(node.astext())
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(inline(child) for child in node.children if not isinstance(child, SKIPPED))


def titled(section: nodes.section) -> bool:
    """Whether it is a section of the page; what stands in a theorem or a solution is a section without a title."""
    return bool(section.children) and isinstance(section[0], nodes.title)


def blocks(node: nodes.Node) -> Iterator[nodes.TextElement]:
    """The paragraphs, captions and code of a section, without the sections inside it that have titles."""
    for child in node.children:
        if isinstance(child, SKIPPED) or (isinstance(child, nodes.section) and titled(child)):
            continue
        if isinstance(child, nodes.TextElement):
            yield child
        else:
            yield from blocks(child)
