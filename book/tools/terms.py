"""Write the glossary and the notation page from their sources.

    python book/tools/terms.py      (writes book/appendix/glossary.md and notation.md)

`book/terms.yaml` has methods and terms, `book/notation.yaml` the symbols. It fails where a link to the glossary leads
nowhere.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml
from pages import ROOT, chapters, pages, prose
from symbols import notation

SOURCE = ROOT / "book" / "terms.yaml"
GLOSSARY = ROOT / "book" / "appendix" / "glossary.md"
NOTATION = ROOT / "book" / "appendix" / "notation.md"
BIBLIOGRAPHY = ROOT / "book" / "references.bib"
LINK = re.compile(r"\]\((#?glossary-[^)\s]+)\)")
HEADINGS = {"methods": "Methods", "terms": "Terms"}
ABOVE_TERMS = """\
# Glossary

The methods and terms that this book names, in a line each, with the paper that a method comes from and the chapters
that treat it. Symbols are those of {doc}`notation`."""
ABOVE_SYMBOLS = """\
# Notation

A symbol means one thing in the displays and the running text of the whole book; exercises and proofs introduce a
few letters of their own. One that few chapters use is marked with *only*. A check fails when a
chapter displays a symbol that this table lacks. *Chapter* is where the symbol is introduced."""
BELOW_SYMBOLS = r"""
$\log$ is the natural logarithm and $\log_2$ the binary one. A hat is an estimate (in chapters 05 and 06: unit length),
a bar a mean, a tilde what an adjusted loss sees.
""".lstrip()


def terms() -> dict[str, list[dict[str, Any]]]:
    return dict(yaml.safe_load(SOURCE.read_text(encoding="utf-8")))


def anchor(entry: dict[str, Any]) -> str:
    """``glossary-`` and the entry's name in lower case, with hyphens for blanks."""
    name = entry.get("anchor", entry["name"])
    return "glossary-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def anchors() -> list[str]:
    return [anchor(entry) for entries in terms().values() for entry in entries]


def chapter_link(number: str) -> str:
    """A link to the chapter of this number; an error where the table of contents has none."""
    found = [path for path in chapters() if path.stem.split("_")[0] == number]
    if len(found) != 1:
        raise ValueError(f"{SOURCE.name} names chapter {number}, which _toc.yml does not have")
    return f"[{number}](../{found[0].relative_to(ROOT / 'book').as_posix()})"


def paragraph(entry: dict[str, Any]) -> str:
    """An entry with its anchor: name, line, sources, chapters."""
    line = f"**{entry.get('title', entry['name'])}.** {entry['line']}"
    if "cite" in entry:
        line += f" {{cite:p}}`{entry['cite']}`"
    links = [chapter_link(number) for number in entry.get("chapters", [])]
    if links:
        line += f" *Chapter{'s' * (len(links) > 1)} {', '.join(links)}.*"
    return f"({anchor(entry)})=\n{line}"


def glossary() -> str:
    """The page of methods and terms, each kind in the order of its names."""
    parts = [ABOVE_TERMS]
    for kind, entries in terms().items():
        parts += [f"## {HEADINGS[kind]}", *map(paragraph, sorted(entries, key=lambda entry: entry["name"].lower()))]
    return "\n\n".join(parts) + "\n"


def notation_page() -> str:
    """The page of symbols, in the order of their source."""
    rows = ["| symbol | meaning | shape, range or value | chapter |", "|---|---|---|---|"]
    for entry in notation():
        where = entry.get("where", "") if "only" not in entry else f"{', '.join(entry['only'])} only"
        cells = (f"${entry['symbol']}$", entry["meaning"], entry.get("range", ""), where)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n\n".join([ABOVE_SYMBOLS, "\n".join(rows), BELOW_SYMBOLS])


def link_faults(text: str, known: list[str]) -> list[str]:
    """The glossary links of a page that lead nowhere, and those that come twice."""
    links = LINK.findall(text)
    faults = []
    for link in dict.fromkeys(links):
        if not link.startswith("#"):
            faults.append(f"({link}) is no link: write (#{link})")
        elif link[1:] not in known:
            faults.append(f"{link} is not in the glossary")
        elif links.count(link) > 1:
            faults.append(f"{link} is linked {links.count(link)} times; once a page")
    return faults


def main() -> None:
    for path, text in ((GLOSSARY, glossary()), (NOTATION, notation_page())):
        path.write_text(text, encoding="utf-8")
    known = anchors()
    found = [f"{page.relative_to(ROOT)}: {fault}" for page in pages() for fault in link_faults(prose(page), known)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
