"""How long a chapter takes to read, and whether it keeps the limits of a sitting.

    python book/tools/reading.py [PAGE ...]

Counted is what stands before the exercises: words of prose, lines of code that the page shows, displays, figures and
tables. A student reads 120 words or 12 lines of code a minute, and a display takes one.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from pages import HIDDEN, ROOT, cells, chapters, displays, lesson, page_named, tags, visible_outputs, words_only

WORDS, FIGURES, TABLES = 2500, 6, 5  # at most
COLUMNS, LINES = 79, 25
WIDGET = "application/vnd.jupyter.widget-view+json"
PRINTED = re.compile(r"Time\W{1,4}(?:about )?(\d+) minutes")
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

    @property
    def minutes(self) -> int:
        """Reading time, rounded up to five minutes."""
        return 5 * math.ceil((self.words / 120 + self.code / 12 + self.displays) / 5)


def reading(path: Path) -> Reading:
    """What a chapter asks of its reader."""
    found = lesson(path)
    texts = [cell.source for cell in found if cell.cell_type == "markdown"]
    code = [cell for cell in found if cell.cell_type == "code" and not tags(cell) & HIDDEN]
    outputs = [output.get("data", {}) for cell in found for output in visible_outputs(cell)]
    return Reading(
        words=sum(count_words(text) for text in texts),
        code=sum(bool(line.strip()) for cell in code for line in cell.source.splitlines()),
        displays=sum(len(displays(text)) for text in texts),
        figures=sum(bool({"image/png", "image/svg+xml"} & data.keys()) and WIDGET not in data for data in outputs),
        tables=sum("<table" in data.get("text/html", "") for data in outputs),
    )


def count_words(text: str) -> int:
    """The words of a Markdown text; a formula in a line is one."""
    text = re.sub(r"\$[^$]+\$", " formula ", words_only(text))
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def printed_minutes(path: Path) -> int | None:
    """The reading time that the page prints."""
    found = PRINTED.search("\n".join(cell.source for cell in lesson(path) if cell.cell_type == "markdown"))
    return int(found[1]) if found else None


def faults(path: Path) -> list[str]:
    """Where a chapter is longer than a sitting, or prints another time than it takes."""
    read = reading(path)
    limits = (("words", read.words, WORDS), ("figures", read.figures, FIGURES), ("tables", read.tables, TABLES))
    found = [f"{count:,} {name}; at most {limit:,}" for name, count, limit in limits if count > limit]
    if printed_minutes(path) != read.minutes:
        found.append(f"prints {printed_minutes(path)} minutes; it takes {read.minutes}")
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
    nodes = list(ast.walk(ast.parse(re.sub(r"(?m)^(\s*)[!%].*$", r"\1pass", cell.source))))
    if not any(isinstance(node, ast.Assert) for node in nodes):
        return False
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in nodes):
        return False
    printed = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"]
    fixed = all(isinstance(argument, ast.Constant) for call in printed for argument in call.args)
    return fixed and all(output.output_type == "stream" for output in visible_outputs(cell))


def gpu_times(text: str) -> list[str]:
    """The clauses that give a GPU a time."""
    clauses = re.split(r"[.;:](?=\s)|\n\s*\n", words_only(text))
    return [" ".join(clause.split()) for clause in clauses if GPU.search(clause) and DURATION.search(clause)]


def gpu_was_used() -> bool:
    """Whether any record was made on a GPU."""
    records = (ROOT / "book" / "results").rglob("record.json")
    devices = {json.loads(path.read_text(encoding="utf-8"))["environment"]["device"] for path in records}
    return not all(device.startswith("CPU") for device in devices)


def main() -> None:
    found = []
    for path in [page_named(name) for name in sys.argv[1:]] or chapters():
        read = reading(path)
        print(f"{path.stem:>22}: {read.minutes} minutes, {read}")
        found += [f"{path.stem}: {fault}" for fault in [*faults(path), *code_faults(path)]]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
