"""The page of the book that lists every record: what was run, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lt_core import records
from lt_core.report.recipe import describe
from lt_core.report.study import Run

PAGE = Path("appendix") / "reproducibility.md"
BEGIN, END = "<!-- tables: written by `collect` -->", "<!-- end of the tables -->"
COLUMNS = ("run", "classifier", "changed", "top-1", "place", "CPU minutes")
SHARED = {"dataset": "Data", "imbalance_factor": "imbalance factor", "backbone": "network", "epochs": "epochs"}
VERSIONS = {"python": "Python", "torch": "torch", "torchvision": "torchvision", "numpy": "NumPy"}


def write_reproducibility(inside: str | Path) -> Path | None:
    """Write the tables of ``appendix/reproducibility.md`` anew from all records in ``results/`` of the same book.

    Args:
        inside: a folder in the book's ``results/``, or that folder.

    Returns:
        The page, or None where ``inside`` is not in a book that has one.

    Raises:
        lt_core.records.RecordError: a record that cannot be read.
        ValueError: the page has lost the marks between which the tables stand.
    """
    here = Path(inside).resolve()
    for results in (here, *here.parents):
        page = results.parent / PAGE
        if results.name == "results" and page.exists():
            text = page.read_text(encoding="utf-8")
            if BEGIN not in text or END not in text:
                raise ValueError(f"{page} lacks the line {BEGIN!r} or {END!r}")
            before, after = text.split(BEGIN)[0], text.split(END)[1]
            records.write_atomically(page, f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}")
            return page
    return None


def tables(results: Path) -> str:
    """The records in Markdown: a table for each folder of runs, and the places where they ran, by number."""
    folders: dict[str, list[Run]] = {}
    for path in sorted(results.rglob("record.json")):
        folder = path.parent.parent.relative_to(results).as_posix()
        folders.setdefault(folder, []).append(Run(path.parent, records.load(path)))
    runs = [run for group in folders.values() for run in group]
    machines = list(dict.fromkeys(machine(run) for run in runs))
    numbers = {text: number for number, text in enumerate(machines, 1)}
    parts = [
        f"{len(runs)} records.",
        "## What was run",
        "A run's name has its loss or method, what is not usual about it (classifier, weights, an ingredient, subset\n"
        "seed, class order), imbalance factor and seed, and after `from_` the run that a second stage starts from.\n"
        "`top-1` is the last epoch's accuracy in percent; `changed` is what a run has otherwise\n"
        "than its recipe; `place` is where it ran, see below. CPU minutes are the process's own: the clock's say\n"
        "little, since the machines did other work beside it. Recipes are defined in {doc}`../how_to_use`; a\n"
        "recipe's numbers compare with numbers of the same recipe only.",
    ]
    for folder, group in folders.items():
        rows = [row(run, numbers[machine(run)]) for run in group]
        parts += [f"### `{folder}`", same(group), markdown(COLUMNS, rows)]
    parts += [
        "## Where it ran",
        "`commit` is the commit of this repository whose `lt_core` ran, and all of them where a run was resumed with\n"
        "another one; a test refuses records from uncommitted code.",
        "\n".join(f"{number}. {text}" for text, number in numbers.items()),
    ]
    return "\n\n".join(parts)


def same(runs: Sequence[Run]) -> str:
    """What all runs of a folder share of network, length and imbalance factor, and all values where they do not."""
    values = {name: list(dict.fromkeys(run.config.to_dict()[key] for run in runs)) for key, name in SHARED.items()}
    listed = {name: ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in vs) for name, vs in values.items()}
    return "; ".join(f"{name} {text}" for name, text in listed.items()) + "."


def row(run: Run, place: int) -> tuple[object, ...]:
    """A run's line: its folder's name and what that does not say."""
    cpu = run.record["environment"].get("cpu_seconds")
    minutes = "–" if cpu is None else round(cpu / 60)
    changed = describe(run.changes) if run.changes else "–"
    top1 = f"{run.last['top1']:.2f}"
    return f"`{run.folder.name}`", run.config.classifier, changed, top1, place, minutes


def machine(run: Run) -> str:
    """Commit, versions and device of a run, in words."""
    environment = run.record["environment"]
    commits = ", ".join(f"`{commit}`" for commit in environment.get("commits", [environment["commit"]]))
    versions = ", ".join(f"{name} {environment[key]}" for key, name in VERSIONS.items())
    threads = f"{environment['threads']} thread{'s' if environment['threads'] > 1 else ''}"
    step = ", compiled step" if environment.get("compiled") else ""
    every = environment.get("test_every", 1)
    tested = "" if every == 1 else f", tested every {every} epochs"
    place = f"{environment['device']}, {threads}, {environment['precision']}{step}{tested}"
    return f"commit {commits}; {versions}; {place}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
