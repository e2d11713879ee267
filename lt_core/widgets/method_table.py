"""`MethodTable`: the systems of a table, to sort, to filter and to search (chapter 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets

from lt_core.methods import CHANGES, FIDELITY
from lt_core.validation import check_choice, check_number
from lt_core.widgets.base import Explorer, choice, read, source, style

TEXTS = ("method", "control", "classifier", "starts_from", "fidelity", "recipe", "chapter", "processor")
NUMBERS = ("top1", "many", "medium", "few", "difference", "shared", "cost", "times", "published")
COLUMNS = ("method", "changes", *TEXTS[1:], "seeds", *NUMBERS)
ANY = "any"
MAP = "map"  # the order in which the rows were given


class MethodTable(Explorer):
    r"""A table of methods with buttons in its head that sort it, and controls that filter it.

    The reader chooses what a method changes and how near it is to its authors' code, or searches in all texts of a row.
    At first the rows stand as they were given: one seed a row allows no ranking.

    Args:
        rows: one mapping a method, with all of ``method`` (its title), ``changes`` (some of `lt_core.methods.CHANGES`),
            ``control``, ``classifier``, ``starts_from``, ``fidelity`` (one of `lt_core.methods.FIDELITY`), ``recipe``,
            ``chapter``, ``processor`` (texts), ``seeds`` (a whole number), ``top1``, ``many``, ``medium``, ``few``,
            ``difference``, ``shared`` (its seeds), ``cost``, ``times`` and ``published`` (numbers, or None where there
            is none); `lt_core.report.systems` makes them. There may be no row.
        sort_by: "map", or the column that sorts.
        descending: whether the largest comes first.
        changes: "any", or the one thing that every shown method changes.
        fidelity: "any", or that of every shown method.

    Attributes:
        search: what the reader typed.
        shown: the titles of the rows that the controls leave, in their order.

    Raises:
        ValueError: a row that lacks a key or has another, a title twice, an unknown change, fidelity or column.
        TypeError: rows that are not a sequence of mappings, or a value of the wrong type.

    Source:
        `lt_core.report.systems`, whose rows it shows.

    Example:
        >>> import lt_core as lt
        >>> texts = dict.fromkeys(("control", "classifier", "starts_from", "recipe", "chapter", "processor"), "")
        >>> numbers = dict.fromkeys(("many", "medium", "few", "difference", "shared", "cost", "times", "published"))
        >>> rest = {**texts, **numbers, "fidelity": "released", "seeds": 1}
        >>> rows = [{**rest, "method": "cross-entropy", "changes": [], "top1": 38.0}]
        >>> rows += [{**rest, "method": "mixup", "changes": ["data"], "top1": 39.0}]
        >>> lt.widgets.MethodTable(rows, sort_by="top1").shown
        ['mixup', 'cross-entropy']
    """

    _esm = source("method_table.js")
    _css = style() + read("method_table.css")
    settings = ("sort_by", "descending", "changes", "fidelity")

    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    sort_by = choice(MAP, (MAP, *COLUMNS))
    descending = traitlets.Bool(True).tag(sync=True)
    changes = choice(ANY, (ANY, *CHANGES))
    fidelity = choice(ANY, (ANY, *FIDELITY))
    search = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        sort_by: str = MAP,
        descending: bool = True,
        changes: str = ANY,
        fidelity: str = ANY,
    ) -> None:
        super().__init__(
            rows=_checked(rows), sort_by=sort_by, descending=descending, changes=changes, fidelity=fidelity
        )

    @property
    def shown(self) -> list[str]:
        """The titles of the rows that the controls leave, in their order."""
        wanted = self.search.strip().lower()
        kept = [
            row
            for row in self.rows
            if self.changes in (ANY, *row["changes"])
            and self.fidelity in (ANY, row["fidelity"])
            and wanted in searched(row)
        ]
        if self.sort_by == MAP:
            return [row["method"] for row in kept]
        there = [row for row in kept if row[self.sort_by] is not None]
        there.sort(key=lambda row: _key(row[self.sort_by]), reverse=self.descending)
        return [row["method"] for row in [*there, *(row for row in kept if row[self.sort_by] is None)]]


def searched(row: Mapping[str, Any]) -> str:
    """What a search looks at."""
    return "\n".join([*(row[name] for name in TEXTS if name != "chapter"), *row["changes"]]).lower()


def _key(value: Any) -> Any:
    return " ".join(value).lower() if isinstance(value, list) else value.lower() if isinstance(value, str) else value


def _checked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as plain values in the order of the columns."""
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Sequence):
        raise TypeError(f"rows is a {type(rows).__name__}; a sequence of mappings is needed")
    checked: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        where = f"rows[{number}]"
        if not isinstance(row, Mapping):
            raise TypeError(f"{where} is a {type(row).__name__}; a mapping is needed")
        if set(row) != set(COLUMNS):
            wrong = sorted(set(row) ^ set(COLUMNS))
            raise ValueError(f"{where} has other keys than are needed; they differ in {', '.join(map(str, wrong))}")
        for name in TEXTS:
            if not isinstance(row[name], str):
                raise TypeError(f"{where}[{name!r}] is {row[name]!r}; a text is needed")
        for name in (*NUMBERS, "seeds"):
            if row[name] is not None or name == "seeds":
                check_number(f"{where}[{name!r}]", row[name])
        check_choice(f"{where}['fidelity']", row["fidelity"], tuple(FIDELITY))
        for change in row["changes"]:
            check_choice(f"a change of {where}", change, CHANGES)
        if row["method"] in [other["method"] for other in checked]:
            raise ValueError(f"{where} is a second {row['method']!r}; a title names one row")
        checked.append({name: list(row[name]) if name == "changes" else row[name] for name in COLUMNS})
    return checked
