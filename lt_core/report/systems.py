"""Tables and figures of chapter 14: every system in one recipe, each beside the nearest run without its idea.

The records lie apart from the study's, in ``book/results/systems/RECIPE/RUN``, and those of a CPU, whose seconds are
the costs, in ``book/results/systems_cpu``; what is not recorded yet is named by `Systems.missing`, and everything else
is made of what there is. No mean and no difference has runs of both. A row that has one seed is a number without
interval, verdict or rank.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core import plots, records
from lt_core.methods import CHANGES, METHODS, Method
from lt_core.report.published_systems import REPORTED, TRICKS, TRICKS_CONTROL
from lt_core.report.statistics import Comparison, analyse, bonferroni_quantile, mean_sd, second_stages
from lt_core.report.study import MissingRuns, Run, Study, book_file, setting
from lt_core.training.configs import load_contrasts, load_grid
from lt_core.training.recipes import RunConfig

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PARENT = "parent"
ONE_SEED, NOT_RECORDED = "one seed", "not recorded"
# The nearest run of the grid without a method's idea; what else differs, `lt_core.methods` says. `PARENT` is the very
# run that a second stage started from.
CONTROLS: dict[str, str] = {
    **dict.fromkeys(("focal", "cb", "cb_focal", "eql", "lade", "vs", "balanced_softmax", "gala", "ce_drw"), "ce"),
    **dict.fromkeys(("class_balanced", "sqrt", "progressive", "reverse", "rus", "mixup"), "ce"),
    **dict.fromkeys(("l2rw", "meta_weight_net", "sam", "ce_more_decay", "ce_bbn_network", "ensemble"), "ce"),
    **dict.fromkeys(("causal_norm_no_effect", "ce_cosine"), "ce"),
    **dict.fromkeys(("ldam", "ala", "df", "qf", "df_ldam", "cosface", "arcface", "sphereface"), "ce_cosine"),
    **{f"{name}_drw": name for name in ("ldam", "ala", "df", "qf", "df_ldam")},
    "ce_experts": "ce_cosine",
    "remix": "mixup",
    "gcl": "mixup_crt",
    "mislas": "mixup_crt",
    "bbn": "ce_bbn_network",
    "ride": "ce_experts",
    "ride_no_diversity": "ce_experts",
    "causal_norm": "causal_norm_no_effect",
    "lfme": "class_balanced",
    "range_loss": "class_balanced",
    "sam_drw": "ce_drw",
    "oltr": "ce_further",
    **dict.fromkeys(("crt", "lws", "tau_norm", "ncm", "pc_softmax", "disalign", "bals", "mixup_crt"), PARENT),
    **dict.fromkeys(("smote", "borderline_smote", "ce_further", "fsa"), PARENT),
}
# Where a control lacks more than the idea, since no nearer run is in the grid.
ALSO: dict[str, str] = {
    "gcl": "and on a linear classifier",
    "mislas": "on a fresh classifier without factors, at weight decay 5e-4, with BatchNorm held",
}


# Runs that a method trains first and that are no method of their own.
FIRST_STAGES = {"gcl_mixup": "GCL with mixup", "ce_lfme_experts": "its three experts"}


@dataclass(frozen=True)
class System:
    """A method, its runs by seed, and those whose seconds count: the same ones, or those of a CPU."""

    method: Method
    runs: Mapping[int, Run]
    paid: Mapping[int, Run]

    @property
    def top1(self) -> dict[int, float]:
        """Top-1 of the last epoch by seed, in percent."""
        return _top1(self.runs)

    @property
    def parents(self) -> dict[int, float]:
        """Top-1 of the runs that the second stages started from, by the second stage's seed."""
        return _parents(self.runs)

    @property
    def cost(self) -> float | None:
        """Mean CPU seconds of the whole procedure, a first stage included; None where a record has none."""
        costs = [_cpu_seconds(run.record) for run in self.paid.values()]
        known = [cost for cost in costs if cost is not None]
        return sum(known) / len(known) if known and len(known) == len(costs) else None

    @property
    def processor(self) -> str:
        return ", ".join(dict.fromkeys(run.record["environment"]["device"] for run in self.runs.values()))

    def mean(self, key: str) -> float | None:
        values = [run.last[key] for run in self.runs.values()]
        return None if None in values else float(sum(values) / len(values))


def _top1(runs: Mapping[int, Run]) -> dict[int, float]:
    return {seed: float(run.last["top1"]) for seed, run in runs.items()}


def _parents(runs: Mapping[int, Run]) -> dict[int, float]:
    return {seed: float(run.record["base"]["top1"]) for seed, run in runs.items() if "base" in run.record}


def _cpu_seconds(record: Mapping[str, Any]) -> float | None:
    parts = [record["environment"].get("cpu_seconds")]
    if "base" in record:
        parts.append(record["base"].get("cpu_seconds"))
    return None if None in parts else float(sum(parts))


def method_of(config: RunConfig) -> str | None:
    """The method that a configuration is, also where it was written without that name; None for any other run.

    Example:
        >>> method_of(RunConfig(loss="ldam", drw=True, dataset="cifar100_lt")), method_of(RunConfig(batch_size=7))
        ('ldam_drw', None)
    """
    shared = {key: getattr(config, key) for key in ("dataset", "recipe", "imbalance_factor", "seed")}
    names = [config.method] if config.method is not None else list(METHODS)
    for name in names:
        row = METHODS[name]
        if not row.trains or row.same_as is not None:
            continue
        usual = RunConfig(**shared, method=name).to_dict()
        given = config.to_dict()
        if all(given.get(key) == usual.get(key) for key in {*given, *usual} - {"method", "from"}):
            return name
    return None


class Systems:
    """The recorded systems of one recipe, in the order of `lt_core.methods`.

    A second folder may lie beside the first, of the same name with ``_cpu``: runs of the same systems on a CPU. A row
    is of one folder, the one with more seeds of it and its control (at equal numbers the first), and so is every
    difference; the costs are those of the second folder where there is one.

    Args:
        recipe: "short" for the table, "plain" for the second stages that start from the 200-epoch run.
        results: folder with a folder for each recipe; default: ``book/results/systems`` of the repository. It may be
            empty.

    Attributes:
        found: for each folder, the runs by method and seed.
        systems: the rows by method.

    Raises:
        lt_core.records.RecordError: a record cannot be read, or two of a folder are of one method and seed.
    """

    def __init__(self, recipe: str = "short", results: str | Path | None = None) -> None:
        self.recipe = recipe
        first = records.find_results() / "systems" if results is None else Path(results)
        beside = first.resolve().with_name(first.resolve().name + "_cpu")
        self.found = [_read(folder / recipe) for folder in (first, beside) if folder == first or folder.exists()]
        self.systems = {
            name: System(METHODS[name], self.found[self.place(name)][name], self.found[-1].get(name, {}))
            for name in METHODS
            if any(name in found for found in self.found)
        }

    def place(self, *names: str) -> int:
        """Which folder has most seeds that all of these methods have: its index in `found`, of equals the first.

        One method is looked for together with its control, if that is a run of its own.
        """
        control = CONTROLS.get(names[0], PARENT)
        wanted = names if len(names) > 1 or control == PARENT else (*names, control)
        seeds = [[set(found.get(name, ())) for name in wanted] for found in self.found]
        numbers = [(len(set.intersection(*own)), len(own[0])) for own in seeds]
        return numbers.index(max(numbers))

    @cached_property
    def planned(self) -> tuple[str, ...]:
        """Names of the methods that the grid file trains in this recipe, in the order of `lt_core.methods`."""
        names = {config.method for config in load_grid(grid_file()) if config.recipe == self.recipe}
        return tuple(name for name in METHODS if name in names)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of `planned` that have no record."""
        return tuple(name for name in self.planned if name not in self.systems)

    def coverage(self) -> str:
        """One sentence: how many systems of the grid are recorded, which are not, and how many have several seeds."""
        there = [name for name in self.planned if name in self.systems]
        several = sum(len(self.systems[name].runs) > 1 for name in there)
        text = f"{len(there)} of the grid's {len(self.planned)} systems have a run, {several} of them several seeds"
        if not self.missing:
            return text + "."
        return f"{text}; not yet: {', '.join(METHODS[name].title for name in self.missing)}."

    def control(self, name: str) -> tuple[str, dict[int, float]]:
        """The title of a system's control, and its top-1 by seed; ("–", {}) for cross-entropy itself."""
        control, system = CONTROLS.get(name), self.systems[name]
        if control is None:
            return "–", {}
        if control == PARENT:
            bases = {_base_title(run) for run in system.runs.values() if "base" in run.record}
            return ", ".join(sorted(bases)) or "–", system.parents
        title = METHODS[control].title + (f", {ALSO[name]}" if name in ALSO else "")
        return title, self.beside(name, control)

    def beside(self, name: str, other: str) -> dict[int, float]:
        """Top-1 by seed of another method, from the folder that the row of ``name`` is of."""
        return _top1(self.found[self.place(name)].get(other, {}))

    def differences(self, name: str) -> dict[int, float]:
        """Top-1 minus the control's, at the seeds that both have."""
        own, (_, control) = self.systems[name].top1, self.control(name)
        return {seed: own[seed] - control[seed] for seed in own if seed in control}

    def agreement(self) -> str:
        """One sentence: how far runs of one method and seed in the two folders lie apart; "" where none is in both."""
        if len(self.found) < 2:
            return ""
        first, second = ({name: _top1(runs) for name, runs in found.items()} for found in self.found)
        apart = {
            (name, seed): value - second[name][seed]
            for name, by_seed in first.items()
            for seed, value in by_seed.items()
            if seed in second.get(name, {})
        }
        if len(apart) < 2:
            return ""
        (name, seed), most = max(apart.items(), key=lambda item: abs(item[1]))
        within = sum(abs(value) < 1 for value in apart.values())
        other = "CPU" if self.found[0][name][seed].record["environment"]["device"].startswith("CPU") else "GPU"
        return (
            f"{len(apart)} runs were made on both processors: {other} minus CPU {_signed(list(apart.values()))} "
            f"points, {within} of them within one, the most {_signed([most])} ({METHODS[name].title}, seed {seed})."
        )

    def rows(self) -> list[dict[str, Any]]:
        """What `lt_core.widgets.MethodTable` shows: plain values, one mapping a system, in the order of the map."""
        usual = self.systems["ce"].cost if "ce" in self.systems else None
        listed = sorted(self.systems.items(), key=lambda item: _map_order(item[1].method))
        return [self._row(name, system, usual) for name, system in listed]

    def _row(self, name: str, system: System, usual: float | None) -> dict[str, Any]:
        method, runs = system.method, list(system.runs.values())
        title, _ = self.control(name)
        by_seed = list(self.differences(name).values())
        reported = REPORTED.get(name)
        return {
            "method": method.title,
            "changes": list(method.changes),
            "fidelity": method.fidelity,
            "classifier": str(runs[0].config.classifier),
            "starts_from": _base_title(runs[0]) if "base" in runs[0].record else "",
            "seeds": len(runs),
            "processor": system.processor,
            **{key: _rounded(system.mean(key)) for key in ("top1", "many", "medium", "few")},
            "cost": None if system.cost is None else round(system.cost),
            "times": None if system.cost is None or not usual else round(system.cost / usual, 2),
            "control": title,
            "difference": _rounded(sum(by_seed) / len(by_seed)) if by_seed else None,
            "shared": len(by_seed) or None,
            "published": float(reported.top1) if reported else None,
            "recipe": f"{reported.recipe}. {reported.source}" if reported else "",
            "chapter": method.chapter,
        }

    def setting(self) -> str:
        """Schedule, precision, processor and seeds: the line under a table; "" where nothing is recorded."""
        runs = [run for system in self.systems.values() for run in system.runs.values()]
        return setting(runs) if runs else ""


def _read(folder: Path) -> dict[str, dict[int, Run]]:
    """The runs of a folder that are of a method, by its name and their seeds."""
    found: dict[str, dict[int, Run]] = {}
    for run in Study(folder).runs if any(folder.glob("*/record.json")) else []:
        name = method_of(run.config)
        if name is None or run.config.imbalance_factor != 100:
            continue
        if run.config.seed in found.setdefault(name, {}):
            raise records.RecordError(f"{run.folder} is a second run of {name} with seed {run.config.seed}")
        found[name][run.config.seed] = run
    return {name: dict(sorted(by_seed.items())) for name, by_seed in found.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _base_title(run: Run) -> str:
    """The method of the run that a second stage started from, by the name of that run."""
    name = str(run.record["base"]["run"]).split("/")[-1].partition("-if")[0].replace("-", "_")
    return METHODS[name].title if name in METHODS else FIRST_STAGES.get(name, name)


def grid_file() -> Path:
    """The grid file that the systems are trained by."""
    return book_file("experiments/systems.yaml")


def load_systems(recipe: str = "short", results: str | Path | None = None) -> Systems:
    """The recorded systems of a recipe; see `Systems`."""
    return Systems(recipe, results)


def controlled(systems: Systems) -> pd.DataFrame:
    """Every system minus its control, in top-1 of the last epoch, at the seeds that both have.

    Descriptive: mean and standard deviation of the differences by seed. The questions that were asked beforehand, and
    they alone, have intervals and verdicts; see `contrasts`.
    """
    import pandas as pd

    rows: dict[str, dict[str, Any]] = {}
    for name, system in systems.systems.items():
        title, _ = systems.control(name)
        if title == "–":
            continue
        by_seed, place = list(systems.differences(name).values()), systems.place(name)
        rows[system.method.title] = {
            "classifier": str(next(iter(system.runs.values())).config.classifier),
            "minus": title,
            "top-1": _spread(list(system.top1.values())),
            "difference": _signed(by_seed),
            "seeds": (len(by_seed) if len(by_seed) != 1 else ONE_SEED) if place == 0 else f"{len(by_seed)} (CPU)",
        }
    columns = ["classifier", "minus", "top-1", "difference", "seeds"]
    table = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="method"), columns=columns)
    table.attrs["note"] = (
        f"{systems.setting() or 'Nothing is recorded yet'}. Top-1 of the last epoch; difference: mean and standard "
        "deviation over the seeds that both have. One seed: a number, no interval, no verdict, no order."
    )
    return table


def _spread(values: Sequence[float]) -> str:
    return mean_sd(values).replace(" ± ", "\u00a0±\u00a0")


def _signed(values: Sequence[float]) -> str:
    """``"+1.2 ± 0.3"``, with a real minus sign."""
    if not values:
        return NOT_RECORDED
    text = _spread(values)
    return text.replace("-", "−") if text.startswith("-") else f"+{text}"


def contrasts(systems: Systems) -> pd.DataFrame:
    """The questions that the grid file asks beforehand, each with its simultaneous interval and verdict.

    A pair of whole trainings is compared at all seeds that both have in one folder of `Systems.found`, by the analysis
    of all whole trainings that have these seeds there; second stages are left out of it and compared seed by seed, with
    the deviation of their differences. Both take Student's quantile with Bonferroni's correction for all the
    questions of the file, recorded or not.

    Raises:
        MissingRuns: the file asks nothing in this recipe, or there is no clone of the book.
    """
    import pandas as pd

    pairs = load_contrasts(grid_file(), systems.recipe)
    if not pairs:
        raise MissingRuns(f"{grid_file().name} has no contrasts in recipe {systems.recipe}")
    named = {METHODS[name].title: name for name in systems.planned}
    staged = [pair for pair in pairs if METHODS[named[pair[0]]].base is not None]
    whole = [pair for pair in pairs if pair not in staged]
    found = {**_whole(systems, whole, named, len(pairs)), **_staged(systems, staged, named, len(pairs))}
    rows = {}
    for pair in pairs:
        comparison = found.get(pair)
        rows["\u00a0− ".join(pair)] = {
            "difference and interval": NOT_RECORDED if comparison is None else str(comparison),
            "seeds": 0 if comparison is None else comparison.seeds,
            "verdict": "–" if comparison is None else comparison.verdict,
        }
    table = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="first − second"))
    table.attrs["note"] = (
        f"{systems.setting() or 'Nothing is recorded yet'}. Intervals of {len(pairs)} contrasts together (Bonferroni); "
        "second stages seed by seed, their deviation pooled. They cover: trained again, on these images, in this class "
        "order. "
        "Causal norm's pair, two predictions of one network, is compared as if they were two: its interval is too wide "
        "rather than too narrow."
    )
    return table


# Another prediction of a network that stands under its own name, too: one training, so it counts once. Its own contrast
# keeps the deviation of whole trainings: seed by seed has two degrees of freedom, and pooled with second stages it
# would borrow a deviation that is not its own.
SAME_TRAINING = ("causal_norm_no_effect",)


def _whole(
    systems: Systems, pairs: Sequence[tuple[str, str]], named: Mapping[str, str], number: int
) -> dict[tuple[str, str], Comparison]:
    """Pairs of whole trainings, each by the residual mean square of all whole trainings that have its seeds."""
    compared = {}
    for pair in pairs:
        found = systems.found[systems.place(*(named[title] for title in pair))]
        whole = [name for name in found if METHODS[name].base is None and name not in SAME_TRAINING]
        titles = [*pair, *(METHODS[name].title for name in whole if METHODS[name].title not in pair)]
        values = {title: _top1(found.get(named[title], {})) for title in titles if title in named}
        shared = set(values[pair[0]]) & set(values[pair[1]])
        if not shared:
            continue
        table = analyse({t: {seed: v[seed] for seed in shared} for t, v in values.items() if shared <= set(v)})
        quantile = bonferroni_quantile(number, table.degrees) if table.degrees else None
        compared[pair] = table.difference(*pair, quantile)
    return compared


def _staged(
    systems: Systems, pairs: Sequence[tuple[str, str]], named: Mapping[str, str], number: int
) -> dict[tuple[str, str], Comparison]:
    """Second stages, each minus its parent or minus another stage from the same parent, at the seeds that both have.

    Their deviation is pooled over the stages that have these seeds in the same folder.
    """
    stages: dict[tuple[str, str], tuple[int, dict[int, float], dict[int, float]]] = {}
    for first, second in pairs:
        own, other, is_parent = named[first], named[second], METHODS[named[second]].base is None
        place = systems.place(own) if is_parent else systems.place(own, other)
        runs = systems.found[place].get(own, {})
        before = _parents(runs) if is_parent else _top1(systems.found[place].get(other, {}))
        stages[first, second] = place, _top1(runs), before
    compared = {}
    for pair, (place, after, before) in stages.items():
        seeds = set(after) & set(before)
        if not seeds:
            continue
        pool = {
            " − ".join(other): ({seed: a[seed] for seed in seeds}, {seed: b[seed] for seed in seeds})
            for other, (there, a, b) in stages.items()
            if there == place and seeds <= set(a) & set(b)
        }
        compared[pair] = second_stages(pool, number)[" − ".join(pair)]
    return compared


def tricks(systems: Systems) -> pd.DataFrame:
    """BagofTricks-LT's table beside ours: what each idea adds to cross-entropy there and here. Never one column.

    Raises:
        MissingRuns: there is no run of cross-entropy in this recipe.
    """
    import pandas as pd

    if "ce" not in systems.systems:
        raise MissingRuns(f"no {systems.recipe} run of cross-entropy by `--method ce`")
    rows = {}
    for trick in TRICKS:
        system = systems.systems.get(trick.method or "")
        usual = systems.beside(str(trick.method), "ce") if system else {}
        own = [value - usual[seed] for seed, value in system.top1.items() if seed in usual] if system else []
        rows[trick.name] = {
            "theirs": trick.top1,
            "minus their cross-entropy": _signed([float(trick.top1) - float(TRICKS_CONTROL)]),
            "ours minus our cross-entropy": _signed(own) if trick.method else "not in our grid",
            "what else differs": trick.differs + (f"{trick.epochs} epochs" if trick.epochs != 200 else "") or "–",
        }
    table = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="idea"))
    table.attrs["note"] = f"Ours: {systems.setting() or 'nothing is recorded yet'}."
    return table


# Names that the figure prints: those apart from the others, which lie close together and are in the table.
LABELLED = ("bbn", "ride", "ensemble", "l2rw", "meta_weight_net", "lfme", "sam", "oltr", "ce_further", "disalign",
            "mixup", "cb")  # fmt: skip
BELOW = ("oltr", "meta_weight_net", "ensemble")  # whose name would cover another mark above their own
RIGHT = ("ensemble", "meta_weight_net")  # the same of the left
KINDS = {
    "one stage": ("o", plots.PALETTE[0]),
    "two stages": ("s", plots.PALETTE[1]),
    "another network": ("^", plots.PALETTE[2]),
}


def kind_of(method: Method) -> str:
    """One of `KINDS`: what makes its cost."""
    if method.base is not None:
        return "two stages"
    own = {"strategy", "strategy_options"} & set(method.settings)
    return "another network" if "network" in method.changes and own else "one stage"


def cost(systems: Systems) -> Figure:
    """Top-1 of the last epoch against the CPU seconds of the whole procedure; hollow marks have one seed."""
    import matplotlib.pyplot as plt
    import numpy as np

    fig, ax = plt.subplots(figsize=(plots.WIDTH, 3.8))
    shown = {name: system for name, system in systems.systems.items() if system.cost is not None}
    costs = {name: float(system.cost or 0) for name, system in shown.items()}
    for kind, (marker, colour) in KINDS.items():
        for name in (name for name, system in shown.items() if kind_of(system.method) == kind):
            values = list(shown[name].top1.values())
            several = len(values) > 1
            fill = colour if several else "none"
            ax.errorbar(
                costs[name], np.mean(values), np.std(values, ddof=1) if several else None, fmt=marker, color=colour,
                mfc=fill, ms=6, elinewidth=1,
            )  # fmt: skip
        if any(kind_of(system.method) == kind for system in shown.values()):
            ax.plot([], [], marker, color=colour, label=kind)
    for name in LABELLED:
        if name in shown:
            place = costs[name], float(np.mean(list(shown[name].top1.values())))
            # A dear one's name stands on the left, or it would leave the figure.
            left = name not in RIGHT and costs[name] > 1.8 * min(costs.values())
            offset = -6 if left else 6, -11 if name in BELOW else 5
            ax.annotate(
                shown[name].method.title, place, offset, textcoords="offset points", ha="right" if left else "left",
                fontsize=plots.SMALLEST,
            )  # fmt: skip
    ax.set(xscale="log", xlabel="CPU seconds of the whole procedure", ylabel="top-1 (%)")
    if costs:
        low, high = 0.85 * min(costs.values()), 1.9 * max(costs.values())
        ax.set_xlim(low, high)
        ticks = [tick for tick in _ticks(low, high) if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
    if "ce" in shown:
        usual = float(np.mean(list(shown["ce"].top1.values())))
        ax.axhline(usual, color=plots.GREY, ls=":", lw=1.2)
        ax.text(0.99, usual, "cross-entropy", ha="right", va="bottom", transform=ax.get_yaxis_transform())
    if shown:
        fig.legend(loc="outside lower center", ncols=3)
    return fig


def _ticks(low: float, high: float) -> list[int]:
    """Round numbers 1, 2 and 5 times a power of ten, from below the lowest to above the highest."""
    steps = [factor * 10**power for power in range(8) for factor in (1, 2, 5)]
    first = max((step for step in steps if step <= low), default=1)
    last = min((step for step in steps if step >= high), default=steps[-1])
    return [step for step in steps if first <= step <= last]


def map_of_methods(width: int = 47) -> Figure:
    """Every method by what it changes: a row for each combination, dots for the rooms, and the methods' names.

    Printed from `lt_core.methods`; a method that is explained only has an asterisk. ``width`` is that of the names, in
    characters.
    """
    import matplotlib.pyplot as plt

    groups: dict[tuple[str, ...], list[str]] = {}
    for row in sorted(METHODS.values(), key=_map_order):
        if row.same_as is None:
            key = tuple(change for change in CHANGES if change in row.changes)
            groups.setdefault(key, []).append(row.title + "*" * (not row.trains))
    order = list(groups)
    texts = {key: _lines(groups[key], width) for key in order}
    lines = sum(len(text) for text in texts.values())
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 0.175 * (lines + 0.5 * len(order)) + 0.9))
    y = 0.0
    for key in order:
        middle = y + (len(texts[key]) - 1) / 2
        for x, change in enumerate(CHANGES):
            on = change in key
            ax.plot(x, middle, "o" if on else ".", color=plots.INK if on else plots.GREY, ms=7 if on else 3)
        if len(key) > 1:
            places = [CHANGES.index(change) for change in key]
            ax.plot([min(places), max(places)], [middle] * 2, "-", color=plots.INK, lw=1.2)
        for number, text in enumerate(texts[key]):
            ax.text(5.1, y + number, text.replace("\u00a0", " "), va="center", fontsize=plots.SMALLEST)
        y += len(texts[key]) + 0.5
        ax.plot([-0.6, 21], [y - 0.75] * 2, color=plots.GRID, lw=0.6, clip_on=False)
    ax.set(xlim=(-0.6, 17.5), ylim=(y - 0.5, -1), yticks=[])
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(CHANGES)), CHANGES, rotation=60, ha="left")
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return fig


def _map_order(method: Method) -> tuple[int, list[int]]:
    """Methods that change less come first; of these, in the order of `CHANGES`."""
    places = sorted(CHANGES.index(change) for change in method.changes)
    return len(places), places


def _lines(titles: Sequence[str], width: int) -> list[str]:
    """The titles, broken into lines between two of them where that is possible."""
    whole = [title.replace(" ", "\u00a0") for title in titles]
    return textwrap.wrap(", ".join(whole), width, break_on_hyphens=False)


# What `report` writes of a folder of systems; the map of the methods needs no record.
TABLES = (controlled, contrasts, tricks)
FIGURES = (cost,)
