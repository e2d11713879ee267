"""``python -m lt_core report``: every table and figure that the records allow, as files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core import plots
from lt_core.records import RecordError, write_atomically
from lt_core.report import analysis, crossed, inside, methods, recipe, systems
from lt_core.report.study import MissingRuns, Study
from lt_core.training.recipes import RECIPES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 76  # characters of a line of text below a table
MODULES = (recipe, methods, crossed, inside, analysis)
# By name; each takes a Study and gives a pandas DataFrame, or a matplotlib Figure.
TABLES: dict[str, Callable[[Study], pd.DataFrame]] = {f.__name__: f for m in MODULES for f in m.TABLES}
MORE_TABLES: dict[str, Callable[[Study], pd.DataFrame]] = {f.__name__: f for f in methods.MORE_TABLES}
FIGURES: dict[str, Callable[[Study], Figure]] = {f.__name__: f for m in MODULES for f in m.FIGURES}
# Of runs that `--method` trained; each takes a Systems, and lies in a folder of its own.
OF_SYSTEMS: tuple[Callable[[systems.Systems], Any], ...] = (*systems.TABLES, *systems.FIGURES)


def write_report(results: str | Path, out: str | Path) -> list[str]:
    """Write the tables (Markdown, LaTeX, CSV) and figures (PNG) of every recipe that has records.

    Args:
        results: folder with a folder for each recipe, such as ``book/results/study`` or what ``grid`` wrote.
        out: gets ``RECIPE/NAME.md``, ``.tex``, ``.csv`` or ``.png``; ``RECIPE/systems/NAME.…`` where runs name a
            method, as those of ``book/results/systems`` do.

    Returns:
        A line for each table and figure: the file that was written, or the runs that are missing for it.

    Raises:
        lt_core.records.RecordError: no recipe has a record, or a record cannot be read.
    """
    folders = [Path(results) / name for name in RECIPES]
    studies = [Study(folder) for folder in folders if any(folder.glob("*/record.json"))]
    if not studies:
        raise RecordError(f"there is no record at {results}/RECIPE/RUN/record.json, RECIPE one of {', '.join(RECIPES)}")
    plots.use_style()
    lines = []
    for study in studies:
        lines.append(str(study))
        folder = Path(out) / study.recipe
        of_study = {**TABLES, **MORE_TABLES, **FIGURES}.values()
        lines += [_line(make, study, folder) for make in of_study]
        if any(run.config.method is not None for run in study.runs):
            recorded = systems.Systems(study.recipe, results)
            lines += [_line(make, recorded, folder / "systems") for make in OF_SYSTEMS]
    return lines


def _line(make: Callable[[Any], Any], runs: Study | systems.Systems, folder: Path) -> str:
    """Write what one function makes of the runs; the files, or what is missing for them."""
    name = make.__name__
    try:
        made = make(runs)
    except MissingRuns as error:
        return f"  {name}: left out, {error}"
    ending = _write_table(made, folder / name) if hasattr(made, "to_csv") else _write_figure(made, folder / name)
    return f"  {folder / name}.{ending}"


def _write_table(table: pd.DataFrame, stem: Path) -> str:
    write_atomically(stem.with_suffix(".md"), markdown(table))
    write_atomically(stem.with_suffix(".tex"), table.to_latex(escape=True))
    write_atomically(stem.with_suffix(".csv"), table.to_csv())
    return "md, .tex, .csv"


def _write_figure(figure: Figure, stem: Path) -> str:
    import matplotlib.pyplot as plt

    write_atomically(stem.with_suffix(".png"), png(figure))
    plt.close(figure)
    return "png"


def png(figure: Figure) -> bytes:
    """The figure as PNG, without the date and version that would make two equal pictures differ."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, its note below; levels of the columns are joined, and bars escaped."""
    flat = table.reset_index() if any(table.index.names) or not _is_range(table) else table
    names = [" ".join(filter(None, key)) if isinstance(key, tuple) else str(key) for key in flat.columns]
    rows = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in flat.itertuples(index=False))]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    note = table.attrs.get("note")
    return "\n".join([*lines, *(["", note] if note else [])]) + "\n"


def show(table: pd.DataFrame) -> None:
    """Show a table in a notebook, and below it what was run, in lines that a page shows whole."""
    from IPython.display import display

    display(table)
    for line in table.attrs.get("note", "").splitlines():
        print(textwrap.fill(line, WIDTH, subsequent_indent="    "))


def _is_range(table: pd.DataFrame) -> bool:
    import pandas as pd

    return isinstance(table.index, pd.RangeIndex)


def _cell(value: Any) -> str:
    import pandas as pd

    missing = value is None or (pd.api.types.is_scalar(value) and pd.isna(value))
    return "–" if missing else str(value).replace("|", "\\|")
