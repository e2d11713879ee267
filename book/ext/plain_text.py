"""Text as a reader would type it, for what cannot show formulas: search results and descriptions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from docutils import nodes

COMMAND = re.compile(r"\\([A-Za-z]+)\*?")
SYMBOLS = {"infty": "∞", "le": "≤", "ge": "≥", "ne": "≠", "to": "→", "times": "×", "approx": "≈", "in": "∈"}
NAMES = {"lambda": "LAMDA"}  # as Unicode spells it
# What is in no reader's words: pictures and tables of outputs, and what the page does not show.
SKIPPED = (nodes.raw, nodes.comment, nodes.math_block, nodes.image, nodes.table)


def symbol(command: re.Match[str]) -> str:
    """θ for `\\theta`, a space for what only shapes the formula."""
    name = command[1]
    if name in SYMBOLS:
        return SYMBOLS[name]
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {NAMES.get(name.lower(), name.removeprefix('var').upper())}")
    except KeyError:
        return " "


def readable(tex: str) -> str:
    return " ".join(re.sub(r"[\\{}_^&~]", "", COMMAND.sub(symbol, tex)).split())


def inline(node: nodes.Node) -> str:
    """The text of a paragraph, a title or a caption."""
    if isinstance(node, nodes.math):
        return readable(node.astext())
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(inline(child) for child in node.children if not isinstance(child, SKIPPED))


def blocks(node: nodes.Node) -> Iterator[nodes.TextElement]:
    """The paragraphs, captions and code of a section, without the sections inside it that have titles."""
    for child in node.children:
        if isinstance(child, SKIPPED) or (isinstance(child, nodes.section) and child.next_node(nodes.title)):
            continue
        if isinstance(child, nodes.TextElement):
            yield child
        else:
            yield from blocks(child)
