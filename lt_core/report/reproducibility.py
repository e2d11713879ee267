"""The page of the book that lists every record: what was run, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lt_core import records
from lt_core.report.recipe import describe
from lt_core.report.study import Run

PAGE = Path("appendix") / "reproducibility.md"
BEGIN, END = "<!-- tables: written by `collect` -->", "<!-- end of the tables -->"
WHAT = ("IF", "backbone", "classifier", "epochs", "seed", "subset", "class order", "changed", "top-1")
SYSTEM = ("python", "torch", "torchvision", "numpy", "device", "threads", "precision")
WHERE = ("commit", *SYSTEM, "CPU minutes", "minutes")


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
    """Both tables in Markdown, a row a record, named by its folder below ``results``."""
    runs = [Run(path.parent, records.load(path)) for path in sorted(results.rglob("record.json"))]
    names = [f"`{run.folder.relative_to(results).as_posix()}`" for run in runs]
    what, where = [], []
    for name, run in zip(names, runs, strict=True):
        config, environment = run.config, run.record["environment"]
        order = "given" if config.class_order else "canonical"
        shape = (f"{config.imbalance_factor:g}", config.backbone, config.classifier, config.epochs)
        drawn = (config.seed, config.subset_seed, order, describe(run.changes), f"{run.last['top1']:.2f}")
        what.append((name, *shape, *drawn))
        commit = ", ".join(f"`{commit}`" for commit in environment.get("commits", [environment["commit"]]))
        system = (environment[key] for key in SYSTEM)
        cpu = environment.get("cpu_seconds")
        minutes = ("–" if cpu is None else round(cpu / 60), round(environment["seconds"] / 60))
        where.append((name, commit, *system, *minutes))
    both = (
        f"{len(runs)} records.",
        "## What was run",
        "`top-1` is the last epoch's accuracy in percent; `changed` is what a run has otherwise than its recipe.\n"
        "Recipes are defined in {doc}`../how_to_use`; a recipe's numbers compare with numbers of the same recipe only.",
        markdown(("run", *WHAT), what),
        "## Where it ran",
        "`commit` is the commit of this repository whose `lt_core` ran, and all of them where a run was resumed with\n"
        "another one; a test refuses records from uncommitted code. CPU minutes are the process's own; the clock's\n"
        "minutes say little, since the machines did other work beside it.",
        markdown(("run", *WHERE), where),
    )
    return "\n\n".join(both)


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
