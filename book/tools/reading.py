"""How long a chapter takes to read, and whether it keeps the limits of a sitting.

    python book/tools/reading.py [--write] [PAGE ...]      (--write puts the minutes into the pages)

Counted is what stands before the exercises; these are not, and the page says so. A student who follows every step reads
100 words a minute, captions included, or ten lines of code or of what it prints; a display, a figure or a table takes
two minutes, a widget four. The rule fits the two readings that were timed, 95 to 105 minutes for chapter 07 and 65 to
75 for chapter 13; the one before it, which had no captions, outputs, pictures or tables, gave 55 and 30.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from check_pages import WIDGET_VIEW
from notebooks import normalise
from pages import HIDDEN, ROOT, cells, chapters, displays, lesson, page_named, parsed, tags, visible_outputs, words_only

WORDS, FIGURES, TABLES = 2500, 6, 5  # at most
COLUMNS, LINES = 79, 25
PICTURES = {"image/png", "image/svg+xml"}
NOT_COUNTED = "minutes, exercises not counted"
PRINTED = re.compile(rf"Time\W{{1,4}}(\d+) {NOT_COUNTED}")
STATED = re.compile(r"(Time\W{1,4})(?:about )?\d+ minutes(?: to read\b|, exercises not counted)?")
GPU = re.compile(r"\b(?:GPUs?|T4|L4|A100|V100|H100|H200|Colab)\b")
DURATION = re.compile(
    r"\b(?:[\d.]+|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|few|several)"
    r"\s(?:to\s\S+\s)?(?:seconds?|minutes?|hours?)\b"
)


@dataclass(frozen=True)
class Reading:
    words: int
    code: int
    displays: int
    figures: int
    tables: int
    captions: int = 0  # words
    printed: int = 0  # lines
    widgets: int = 0

    @property
    def minutes(self) -> int:
        """Reading time, rounded up to five minutes."""
        text = (self.words + self.captions) / 100 + (self.code + self.printed) / 10
        return 5 * math.ceil((text + 2 * (self.displays + self.figures + self.tables) + 4 * self.widgets) / 5)


def reading(path: Path) -> Reading:
    """What a chapter asks of its reader."""
    found = lesson(path)
    texts = [cell.source for cell in found if cell.cell_type == "markdown"]
    code = [cell for cell in found if cell.cell_type == "code" and not tags(cell) & HIDDEN]
    shown = [output for cell in found for output in visible_outputs(cell)]
    outputs = [output.get("data", {}) for output in shown]
    captions = [cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "") for cell in found]
    return Reading(
        words=sum(count_words(text) for text in texts),
        code=sum(bool(line.strip()) for cell in code for line in cell.source.splitlines()),
        displays=sum(len(displays(text)) for text in texts),
        figures=sum(bool(PICTURES & data.keys()) and WIDGET_VIEW not in data for data in outputs),
        tables=sum("<table" in data.get("text/html", "") for data in outputs),
        captions=sum(count_words(caption) for caption in captions),
        printed=sum(bool(line.strip()) for output in shown for line in text_of(output).splitlines()),
        widgets=sum(WIDGET_VIEW in data for data in outputs),
    )


def text_of(output: Any) -> str:
    """What an output shows as plain text: printed lines, or a value that has no richer form."""
    data = output.get("data", {})
    richer = {WIDGET_VIEW, "text/html", *PICTURES} & data.keys()
    return output.get("text", "") or ("" if richer else data.get("text/plain", ""))


def count_words(text: str) -> int:
    """The words of a Markdown text; a formula in a line is one."""
    text = re.sub(r"\$[^$]+\$", " formula ", words_only(text))
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def printed_minutes(path: Path) -> int | None:
    """The reading time that the page prints."""
    found = PRINTED.search("\n".join(cell.source for cell in lesson(path) if cell.cell_type == "markdown"))
    return int(found[1]) if found else None


def write_minutes(path: Path) -> None:
    """Put the reading time into the page."""
    notebook, minutes = nbformat.read(path, as_version=4), reading(path).minutes
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and STATED.search(cell.source):
            cell.source = STATED.sub(rf"\g<1>{minutes} {NOT_COUNTED}", cell.source, count=1)
            break
    nbformat.write(normalise(notebook), path)


def faults(path: Path) -> list[str]:
    """Where a chapter is longer than a sitting, or prints another time than it takes."""
    read = reading(path)
    limits = (("words", read.words, WORDS), ("figures", read.figures, FIGURES), ("tables", read.tables, TABLES))
    found = [f"{count:,} {name}; at most {limit:,}" for name, count, limit in limits if count > limit]
    if printed_minutes(path) != read.minutes:
        found.append(f"prints {printed_minutes(path) or 'no'} {NOT_COUNTED}; it takes {read.minutes}")
    return found


def code_faults(path: Path) -> Iterator[str]:
    """Code that is cut on the page, and assertions that a reader would take for a proof."""
    for cell in cells(path):
        if cell.cell_type != "code":
            continue
        lines = [line for line in cell.source.splitlines() if line.strip()]
        wide = [line for line in lines if len(line) > COLUMNS and not line.lstrip().startswith(("!", "%"))]
        if len(lines) > LINES:
            yield f"{len(lines)} lines of code; at most {LINES}: {lines[0]}"
        if wide:
            yield f"{len(wide[0])} columns; at most {COLUMNS}: {wide[0]}"
        if only_asserts(cell) and not tags(cell) & {"remove-cell", "hide-input"}:
            yield f"only asserts, but is not tagged remove-cell: {lines[0]}"


def only_asserts(cell: Any) -> bool:
    """Whether a cell asserts, prints fixed words at most, and defines nothing that a reader could look at."""
    nodes = list(ast.walk(parsed(cell.source)))
    if not any(isinstance(node, ast.Assert) for node in nodes):
        return False
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in nodes):
        return False
    printed = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"]
    fixed = all(isinstance(argument, ast.Constant) for call in printed for argument in call.args)
    return fixed and all(output.output_type == "stream" for output in visible_outputs(cell))


def gpu_times(text: str, recorded: Collection[str] = ()) -> list[str]:
    """The clauses that give a GPU a time, but for those that name a ``recorded`` one: a person compares these."""
    clauses = re.split(r"[.;:](?=\s)|\n\s*\n", words_only(text))
    found = [" ".join(clause.split()) for clause in clauses if GPU.search(clause) and DURATION.search(clause)]
    return [clause for clause in found if not set(recorded) & set(GPU.findall(clause))]


def recorded_gpus() -> set[str]:
    """The models of GPU that records were made on, such as "H100"."""
    records = (ROOT / "book" / "results").rglob("record.json")
    devices = {json.loads(path.read_text(encoding="utf-8"))["environment"]["device"] for path in records}
    return {model for device in devices if not device.startswith("CPU") for model in GPU.findall(device)} - {"GPU"}


def main() -> None:
    found = []
    write = "--write" in sys.argv
    for path in [page_named(name) for name in sys.argv[1:] if name != "--write"] or chapters():
        if write:
            write_minutes(path)
        read = reading(path)
        print(f"{path.stem:>22}: {read.minutes} minutes, {read}")
        found += [f"{path.stem}: {fault}" for fault in [*faults(path), *code_faults(path)]]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
