"""`PerClass`: one method's accuracy on every class against another's (chapters 01 and 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import Any

import traitlets
from torch import Tensor

from lt_core import records as run_records
from lt_core.metrics import shot_groups
from lt_core.validation import as_counts, check_choice, check_number, check_whole
from lt_core.widgets.base import Explorer, choice, source, style, whole

SORTS = ("images", "gain", "baseline")
# With the seed, all in which compared runs may differ.
METHOD_KEYS = (
    *("method", "loss", "loss_options", "drw", "classifier"),
    *("sampler", "mixing", "strategy", "strategy_options", "base"),
)


class PerClass(Explorer):
    r"""The change of every class's test accuracy from a baseline to a method, and its mean by shot group.

    The reader chooses the two methods and the order of the classes, looks at single classes and searches for names.

    Args:
        accuracies: for each of at least two methods, by name, the C accuracies of the classes in percent, in [0, 100]
            (100 times `lt_core.metrics.per_class_accuracy`); kept to four decimals. See `from_records` for runs.
        class_counts: training images of the C classes, in the same order.
        class_names: C names, or nothing.
        superclasses: the name of each class's superclass, C names, or nothing. The search finds classes by it too.
        runs: of how many runs each method's accuracies are the mean, by name; a method that is not named has 1.
        baseline: where the arrows start; default: the first method.
        method: where they end; default: the second one.
        sort_by: order of the classes: "images", "gain" or "baseline" (its accuracy), each with the largest first.

    Attributes:
        inspect: the class that is looked at, in [0, C); at first one with the largest gain.
        search: what the reader typed to find a class.
        changes: method minus baseline, C percentage points, to three decimals.
        group_changes: their mean over the "many", "medium" and "few" classes, None for an empty group.

    Raises:
        ValueError: fewer than two methods, lengths that are not C, an accuracy outside [0, 100] or none above 1 (these
            are shares), a bad count, an unknown name.
        TypeError: a value of the wrong type.

    Source:
        The ALA paper (AAAI 2022), Figure 1, for the idea; the groups of `lt_core.metrics.shot_groups`.

    Example:
        >>> import lt_core as lt
        >>> accuracies = {"cross-entropy": [80, 50, 0], "balanced softmax": [72, 51, 14]}
        >>> widget = lt.widgets.PerClass(accuracies, class_counts=[500, 60, 5])
        >>> widget
        PerClass(baseline='cross-entropy', method='balanced softmax', sort_by='images')
        >>> widget.group_changes
        {'many': -8.0, 'medium': 1.0, 'few': 14.0}
    """

    _esm = source("per_class.js")
    _css = style()
    settings = ("baseline", "method", "sort_by")

    methods = traitlets.List(traitlets.Unicode()).tag(sync=True)  # a notebook's JSON sorts the names of a mapping
    accuracies = traitlets.Dict().tag(sync=True)
    class_counts = traitlets.List(traitlets.Int()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    superclasses = traitlets.List(traitlets.Unicode()).tag(sync=True)
    runs = traitlets.Dict().tag(sync=True)
    baseline = traitlets.Unicode().tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)
    sort_by = choice("images", SORTS)
    inspect = whole(0, low=0)
    search = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        accuracies: Mapping[str, Sequence[float] | Tensor],
        class_counts: Sequence[int] | Tensor,
        class_names: Sequence[str] = (),
        superclasses: Sequence[str] = (),
        runs: Mapping[str, int] | None = None,
        baseline: str | None = None,
        method: str | None = None,
        sort_by: str = "images",
    ) -> None:
        counts = [int(n) for n in as_counts(class_counts).tolist()]
        table = _accuracies(accuracies, len(counts))
        for name, values in (("class_names", class_names), ("superclasses", superclasses)):
            if values and len(values) != len(counts):
                raise ValueError(f"{name} has {len(values)} names; {len(counts)} are needed, one for each count")
        for name, number in (runs or {}).items():
            check_choice("a method in runs", name, tuple(table))
            check_whole(f"runs[{name!r}]", number, low=1)
        first, second, *_ = table
        baseline, method = first if baseline is None else baseline, second if method is None else method
        check_choice("baseline", baseline, tuple(table))
        check_choice("method", method, tuple(table))
        gains = [after - before for before, after in zip(table[baseline], table[method], strict=True)]
        super().__init__(
            methods=list(table),
            accuracies=table,
            class_counts=counts,
            class_names=list(class_names),
            superclasses=list(superclasses),
            runs={name: int((runs or {}).get(name, 1)) for name in table},
            baseline=baseline,
            method=method,
            sort_by=sort_by,
            inspect=gains.index(max(gains)),
        )

    @classmethod
    def from_records(
        cls, records: Sequence[Mapping[str, Any]], class_counts: Sequence[int] | Tensor, **options: Any
    ) -> PerClass:
        """The widget of recorded runs: a method's accuracies are the mean over its seeds, at the last epoch.

        Args:
            records: run records (`lt_core.records.load`) that differ in method and seed only, of at least two methods.
            class_counts: the training images of the C classes that the runs had, in the order of the labels.
            options: the further arguments of `PerClass` but ``runs``.

        Raises:
            ValueError: records that differ in more than method and seed, or two of one method and seed.
            TypeError: ``records`` that is not a sequence of records.

        Example:
            >>> import lt_core as lt
            >>> lt.widgets.PerClass.from_records([], class_counts=lt.data.class_counts())
            Traceback (most recent call last):
            ValueError: accuracies has 0 methods; at least two are needed to compare
        """
        found = _by_method(records)
        means = {
            name: [sum(values) / len(values) for values in zip(*rows.values(), strict=True)]
            for name, rows in found.items()
        }
        return cls(means, class_counts, runs={name: len(rows) for name, rows in found.items()}, **options)

    @traitlets.validate("baseline", "method")
    def _known_method(self, proposal: Any) -> str:
        check_choice(proposal["trait"].name, proposal["value"], tuple(self.accuracies))
        return str(proposal["value"])

    @traitlets.validate("inspect")
    def _known_class(self, proposal: Any) -> int:
        check_whole("inspect", proposal["value"], low=0, high=len(self.class_counts) - 1)
        return int(proposal["value"])

    @property
    def changes(self) -> list[float]:
        """Method minus baseline, C percentage points, to three decimals."""
        pairs = zip(self.accuracies[self.baseline], self.accuracies[self.method], strict=True)
        return [round(after - before, 3) for before, after in pairs]

    @property
    def group_changes(self) -> dict[str, float | None]:
        """Mean change of the many-, medium- and few-shot classes in percentage points; None for an empty group."""
        changes = self.changes
        means: dict[str, float | None] = {}
        for group, mask in shot_groups(self.class_counts).items():
            inside = [change for change, belongs in zip(changes, mask.tolist(), strict=True) if belongs]
            means[group] = sum(inside) / len(inside) if inside else None
        return means


def _accuracies(accuracies: Mapping[str, Sequence[float] | Tensor], num_classes: int) -> dict[str, list[float]]:
    """The accuracies as plain numbers of four decimals, checked."""
    if not isinstance(accuracies, Mapping):
        kind = type(accuracies).__name__
        raise TypeError(f"accuracies is a {kind}; a mapping is needed, or PerClass.from_records(...) for run records")
    if len(accuracies) < 2:
        raise ValueError(f"accuracies has {len(accuracies)} methods; at least two are needed to compare")
    table = {}
    for name, values in accuracies.items():
        if not isinstance(name, str):
            raise TypeError(f"accuracies has the method {name!r}; a name (a string) is needed")
        if not hasattr(values, "__len__") or isinstance(values, (str, Mapping)):
            raise TypeError(f"accuracies[{name!r}] is {values!r}; a sequence of {num_classes} numbers is needed")
        if len(values) != num_classes:
            raise ValueError(f"accuracies[{name!r}] has {len(values)} values; class_counts has {num_classes}")
        plain = values.tolist() if hasattr(values, "tolist") else list(values)
        for c, value in enumerate(plain):
            check_number(f"accuracies[{name!r}][{c}]", value, low=0, high=100)
        table[name] = [round(float(value), 4) for value in plain]
    if max(map(max, table.values())) <= 1:
        raise ValueError("accuracies has no value above 1; percent is needed (100 times the share)")
    return table


def _by_method(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, list[float]]]:
    """Per-class accuracies in percent, by method and seed, of records that differ in nothing else."""
    # Only here: the training package, which makes configurations, is above the records.
    from lt_core.training.recipes import RunConfig

    if isinstance(records, (str, Mapping)) or not isinstance(records, Sequence):
        raise TypeError(f"records is a {type(records).__name__}; a sequence of run records is needed")
    configs = [asdict(RunConfig.from_stored(record["config"])) for record in records]
    for key in sorted(configs[0].keys() - {*METHOD_KEYS, "seed"}) if configs else ():
        values = list(dict.fromkeys(config[key] for config in configs))
        if len(values) > 1:
            named = " and ".join(shorten(repr(value), 40, placeholder=" …") for value in values)
            raise ValueError(f"records mix runs of {key} {named}; one comparison holds one setting")
    found: dict[str, dict[int, list[float]]] = {}
    for record, config in zip(records, configs, strict=True):
        name, seed, accuracies = run_records.label(record), config["seed"], record["final"]["last"]["per_class"]
        if seed in found.setdefault(name, {}):
            raise ValueError(f"records has two runs of {name} with seed {seed}; one is needed")
        if None in accuracies:
            raise ValueError(f"records has no accuracy of class {accuracies.index(None)} for {name}: no test image")
        found[name][seed] = accuracies
    return found
