"""Find the numbers in a page's prose that nothing on the page explains.

    python book/tools/prose_numbers.py [PAGE ...]     (default: the pages that show records)

Read are the text before the exercises, captions and alt texts. A number is explained by, in this order:

- what kind it is: see `SKIPPED` in `evidence.py`; a whole number up to 12, neither percent nor points, counts things;
- a source in its sentence: a {cite}, a link to another site, or the paper named with its figure, table or equation;
- an output that the page shows, rounded to the digits printed, in percent or as a share; what a widget or a set of
  frames stores; a displayed equation; a number in the page's code that does not only draw; what was said with its
  source. A number of fewer than three digits is looked for in its own section (`##`) and in those of the figures that
  its sentence names (the summary and the decision look back at the whole page);
- arithmetic that is written out and comes out, as in 2 · 3 = 6; a paragraph that says "by hand" may assume numbers;
- the chapter that its sentence links to, by the same outputs;
- the recipes' constants (`lt_core.training.RunConfig`) and those in `book/numbers_allowed.yaml`, each with a reason.

Numbers in words are not read, nor is inline code.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml
from evidence import Number, code_values, constants, equalities, numbers, output_values, plain, values_in
from pages import DISPLAY, ROOT, cells, chapters, lesson, page_named, pages, visible_outputs, words_only

ALLOWED = ROOT / "book" / "numbers_allowed.yaml"
RECORDS = re.compile(r"lt\.records\.load|load_study\b|results\b")
SOURCE = re.compile(r"\{cite(?::\w+)?\}`|\]\(https?://|[Pp]aper's (?:Eq|Fig|Table)|\((?:Eq|Table|Figure)s?\.? \d")
SENTENCE = re.compile(r"(?<=[.!?])\)?\*{0,2}\s+(?=[\"“(*{\[A-Z0-9$])|\n\s*\n|\n(?=\s*(?:-|\d+\.)\s)")
PERCENT = re.compile(r"%|per cent|points?\b")
LINK = re.compile(r"\]\((?:\.\./)?(?:\w+/)*(\w+)\.(?:ipynb|md)[^)]*\)")
FIGURE = re.compile(r"\{numref\}`(?:[^`<]*<)?([\w-]+)>?`")
LOOKS_BACK = ("## Which should I use?", "## Summary", "## Further reading")
COUNTS = 12  # whole numbers up to here count things


@dataclass
class Section:
    """What stands under one heading: sentences, and the values that explain them."""

    heading: str = ""
    sentences: list[str] = field(default_factory=list)
    values: set[float] = field(default_factory=set)
    figures: set[str] = field(default_factory=set)


def sections(path: Path) -> list[Section]:
    """The lesson of a page, heading by heading."""
    found = [Section()]
    for cell in lesson(path):
        if cell.cell_type == "markdown":
            for part in re.split(r"(?m)^(?=## )", cell.source):
                if part.startswith("## "):
                    found.append(Section(part.splitlines()[0]))
                found[-1].values |= {value for latex, _ in DISPLAY.findall(part) for value in values_in(plain(latex))}
                text = words_only(part, roles=True)
                found[-1].sentences += sentences(text)
                found[-1].values |= worked_values(text)
            continue
        options = cell.metadata.get("mystnb", {})
        texts = (options.get("figure", {}).get("caption", ""), options.get("image", {}).get("alt", ""))
        found[-1].sentences += [sentence for text in texts for sentence in sentences(text)]
        found[-1].figures.add(options.get("figure", {}).get("name", ""))
        found[-1].values |= code_values(cell.source)
        for output in visible_outputs(cell):
            found[-1].values |= output_values(path, output)
    for section in found:  # what was said with its source may be said again
        cited = [sentence for sentence in section.sentences if SOURCE.search(sentence)]
        section.values |= {number.value for sentence in cited for number in numbers(sentence)}
    return found


def worked_values(text: str) -> set[float]:
    """What arithmetic in a text comes to, and the numbers of a paragraph that works an example by hand.

    The result of arithmetic that does not come out is never among them.
    """
    found = set()
    for paragraph in re.split(r"\n\s*\n", text):
        results = equalities(paragraph)
        found |= {float(number) for number, right in results.items() if right}
        if re.search(r"\bby hand\b", paragraph, re.IGNORECASE):
            found |= {number.value for number in numbers(paragraph) if results.get(number.text, True)}
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a text; a table is one, together with the one before it."""
    return SENTENCE.split(re.sub(r"\s+\n\|", "\n|", text))


def allowances() -> list[dict[str, str]]:
    return list(yaml.safe_load(ALLOWED.read_text(encoding="utf-8")))


def fits(number: Number, values: set[float]) -> bool:
    """Whether one of the values, or of them in percent, is the number once rounded to its digits."""
    half = 0.5 * 10.0**-number.digits * (1 + 1e-9)
    scales = (1, 100) if PERCENT.search(number.sentence) else (1,)
    return any(abs(abs(value) * scale - number.value) <= half for value in values for scale in scales)


def significant(text: str) -> int:
    return len(text.replace(",", "").replace(".", "").lstrip("0"))


class Page:
    """A page's sections, and what explains a number in each."""

    def __init__(self, path: Path) -> None:
        self.sections = sections(path)
        self.known = constants()
        entries = [entry for entry in allowances() if entry.get("page", path.stem[:2]) == path.stem[:2]]
        self.allowed = {entry["number"] for entry in entries}
        self.everything = set().union(*(section.values for section in self.sections))

    def near(self, place: int, sentence: str) -> set[float]:
        """Where a number of few digits is looked for: its section and the figures that its sentence names."""
        if self.sections[place].heading in LOOKS_BACK:
            return self.everything
        named = set(FIGURE.findall(sentence))
        shown = [section.values for section in self.sections if section.figures & named]
        return self.sections[place].values.union(*shown)

    def unexplained_in(self, place: int, sentence: str) -> list[Number]:
        """The numbers of a sentence of the section at ``place`` that nothing explains."""
        if SOURCE.search(sentence):
            return []
        near, linked = self.near(place, sentence), [page_values(name) for name in LINK.findall(sentence)]
        found = []
        for number in numbers(sentence):
            counts = not number.digits and number.value <= COUNTS and not number.measured
            values = self.everything if significant(number.text) >= 3 else near
            # Of the recipes' constants only a fraction is a percentage: five epochs are no 5 %.
            known = {value for value in self.known if value < 1 or not number.measured}
            if not (counts or number.text in self.allowed or fits(number, values.union(known, *linked))):
                found.append(number)
        return found

    def unexplained(self) -> list[Number]:
        parts = enumerate(self.sections)
        return [n for place, part in parts for sentence in part.sentences for n in self.unexplained_in(place, sentence)]


@cache
def page_values(name: str) -> set[float]:
    """All that a page shows, for a sentence that links to it; nothing where no such page has outputs."""
    found = [path for path in pages() if path.stem == name and path.suffix == ".ipynb"]
    return set().union(*(part.values for path in found for part in sections(path)))


def record_pages() -> list[Path]:
    """The chapters that show records."""
    return [path for path in chapters() if RECORDS.search(code(path))]


def code(path: Path) -> str:
    return "\n".join(cell.source for cell in cells(path) if cell.cell_type == "code")


def main() -> None:
    lines = []
    for path in [page_named(name) for name in sys.argv[1:]] or record_pages():
        lines += [f"{path.stem}: {number.text} in: {number.sentence}" for number in Page(path).unexplained()]
    if lines:
        sys.exit("\n".join([*lines, f"{len(lines)} numbers that nothing explains"]))


if __name__ == "__main__":
    main()
