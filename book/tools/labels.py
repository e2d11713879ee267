"""What a reference shows: the number of a figure, display, theorem or exercise, a page's title, a citation.

Numbers follow the rule of `book/ext/chapter_numbers.py`: by chapter, each kind in its order on the page. A test
compares them with those of the built pages.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pages import DISPLAY, ROOT, cells, chapters, pages
from pybtex.database import Entry, parse_file

sys.path.insert(0, str(ROOT / "book" / "ext"))

from author_year import label as author_year
from chapter_numbers import chapter

OPENED = re.compile(
    r"^ *(?:`{3,}|:{3,})\{(?:prf:)?(\w+)\}[^\n]*\n(?:[ ]*:class:[^\n]*\n)?[ ]*:label: (\S+)", re.MULTILINE
)
LINKS = (("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/"), ("url", ""))  # the paper before its code


def numbered(cell: Any) -> Iterator[tuple[str, str]]:
    """Kind and label of what has a number in a cell, in order."""
    if cell.cell_type == "markdown":
        found = [(match.start(), match[1].capitalize(), match[2]) for match in OPENED.finditer(cell.source)]
        found += [(m.start(), "", m[2].strip("()")) for m in DISPLAY.finditer(cell.source) if m[2]]
        yield from ((kind, label) for _, kind, label in sorted(found))
    elif name := cell.metadata.get("mystnb", {}).get("figure", {}).get("name"):
        yield "Figure", name


@cache
def numbers() -> dict[str, str]:
    """What a reference to each label shows: "Figure 2.1", "Theorem 2.1", and "(2.1)" for a display."""
    found: dict[str, str] = {}
    for path in chapters():
        counts: Counter[str] = Counter()
        for kind, label in (pair for cell in cells(path) for pair in numbered(cell)):
            counts[kind] += 1
            number = f"{chapter(path.stem)}.{counts[kind]}"
            found[label] = f"{kind} {number}" if kind else f"({number})"
    return found


@cache
def title(path: Path) -> str:
    """A page's first heading."""
    found = re.search(r"^# (.+)$", "\n".join(cell.source for cell in cells(path)[:2]), re.MULTILINE)
    if not found:
        raise ValueError(f"{path.name} has no title")
    return found[1].strip()


@cache
def book() -> tuple[Path, ...]:
    return tuple(pages())


def page_at(name: str, beside: Path) -> Path:
    """The page that a link from another one leads to, with or without its ending."""
    wanted = (beside.parent / name).resolve()
    found = [path for path in book() if wanted in (path, path.with_suffix(""))]
    if not found:
        raise ValueError(f"{beside.name} links to {name}, which is no page")
    return found[0]


@cache
def bibliography() -> dict[str, Entry]:
    return dict(parse_file(ROOT / "book" / "references.bib").entries)


@cache  # pybtex looks for its plugins anew each time
def citation(key: str) -> tuple[str, str]:
    """ "Cao et al., 2019" and the address of the paper."""
    entry = bibliography()[key]
    name, before = next((name, before) for name, before in LINKS if name in entry.fields)
    return author_year(entry), before + entry.fields[name]
