"""The map of the field, as plain values: a name from the literature, its settings, its paper, and what it changes.

A method is a combination of ingredients that live elsewhere: a loss, a sampler, a strategy. This table holds no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CHANGES = ("data", "loss", "network", "procedure", "prediction")
FIDELITY = {
    "released": "as the authors' code",
    "published": "as the paper, which has no public code",
    "adapted": "with the changes that are listed",
    "refused": "explained only",
}
# What a method decides, with the value of a run that names none. Other settings of a method are its defaults, which a
# configuration may change.
DECIDED: dict[str, Any] = {
    "loss": "ce",
    "loss_options": {},
    "drw": False,
    "classifier": None,
    "sampler": "uniform",
    "mixing": "none",
    "strategy": "plain",
    "strategy_options": {},
}


@dataclass(frozen=True)
class Method:
    """One row of the map.

    Args:
        name: lower case, as the field writes it.
        title: as tables print it.
        paper: a key of the book's bibliography.
        changes: some of `CHANGES`.
        chapter: of the book.
        fidelity: one of `FIDELITY`.
        settings: keys of `lt_core.training.RunConfig` whose value is not the usual one.
        base: for a second stage, the settings of the run that it starts from, in the same way.
        notes: what was changed ("adapted"), or what a reader of its row must know.
        same_as: the name under which the same function stands in tables.
        slow: whether the training loss needs more than two epochs to fall.
        reason: why a refused method does not train.
    """

    name: str
    title: str
    paper: str
    changes: tuple[str, ...]
    chapter: str
    fidelity: str = "released"
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    same_as: str | None = None
    slow: bool = False
    reason: str = ""

    @property
    def trains(self) -> bool:
        return self.fidelity != "refused"

    def to_dict(self) -> dict[str, Any]:
        """What ``python -m lt_core methods --json`` prints of it."""
        return {**asdict(self), "changes": list(self.changes), "notes": list(self.notes), "trains": self.trains}


_ROWS = (
    # --- losses (chapters 01 to 08)
    Method("ce", "cross-entropy", "zhao2022ala", (), "02"),
    Method("focal", "focal", "lin2017focal", ("loss",), "03", settings={"loss": "focal", "loss_options": {"gamma": 1.0}},
           notes=("softmax form, as in the code of LDAM; the paper's is a sum of sigmoid terms",), fidelity="adapted"),
)
METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
TRAINED = tuple(name for name, row in METHODS.items() if row.trains)


def settings(name: str) -> dict[str, Any]:
    """The settings of a method that trains: all that it decides, and its own defaults.

    Example:
        >>> settings("focal")["loss"], settings("focal")["drw"]
        ('focal', False)
    """
    return DECIDED | dict(METHODS[name].settings)


def base_settings(name: str) -> dict[str, Any]:
    """The settings of the run that a second stage starts from.

    Raises:
        KeyError: a method without a second stage.
    """
    base = METHODS[name].base
    if base is None:
        raise KeyError(name)
    return DECIDED | dict(base)
