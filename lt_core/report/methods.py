"""Tables and figures of chapter 11: the methods, their differences, the post-hoc adjustments, the published values.

Accuracies are in percent and, unless a column says otherwise, of the last epoch; "38.3 ± 0.4" is mean and sample
standard deviation over the training seeds. Every table and figure names its methods (by default `METHODS`), so that a
record of another one changes nothing in it, and has all its rows at the same seeds. What was run stands in the table's
``attrs["note"]``, which `lt_core.report.show` prints below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_core import plots, records
from lt_core.losses import PRIOR_LOSSES
from lt_core.report.crossed import rotation
from lt_core.report.published import FACTORS, PUBLISHED, TARGETS, Target, by_recipe, source_notes
from lt_core.report.statistics import Analysis, Comparison, analyse, mean_sd, second_stages
from lt_core.report.study import METHODS, MissingRuns, Run, Study, book_file, same_seeds, seeds, setting
from lt_core.training.configs import load_contrasts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# What the study has beside the six methods. Other names, such as those of the ablations, belong to chapter 13.
FURTHER = (
    "cross-entropy-DRW",
    "cross-entropy-DRW (cosine)",
    "LDAM",
    "balanced softmax (cosine)",
    "ALA-DRW",
    "GALA (lambda_neg 0.9, lambda_pos 1.2)",
    "GALA (form formula, lambda_neg 0.9, lambda_pos 1.2)",
    "focal",
    "class-balanced",
    "logit-adjusted",
)
TUNED = ("cross-entropy", "GALA", "logit-adjusted", "LDAM-DRW", "ALA", "focal", "class-balanced")
# The grid file whose contrasts a study answers; ``book/experiments`` has it.
GRIDS = {"short": "cpu_main", "plain": "full_cpu", "strong": "main"}
COLUMNS = {"top1": "top-1", "many": "many", "medium": "medium", "few": "few"}
SEES = "sees the test set"
TUNING = "cifar100_lt_tuning"
NOT_RECORDED = "not recorded"
ONE_SEED = "One seed a row: no interval and no verdict"


def _methods(study: Study, methods: Sequence[str], imbalance_factor: float) -> tuple[dict[str, list[Run]], str]:
    """The runs of the methods that are recorded, at the seeds that all of them have, and what is left out for it."""
    found = study.by_method(imbalance_factor=imbalance_factor)
    named = {name: found[name] for name in methods if name in found}
    if not named:
        raise MissingRuns(f"no {study.recipe} run of {', '.join(methods)} (imbalance_factor {imbalance_factor})")
    return same_seeds(named)


def _note(found: Mapping[str, Sequence[Run]], *parts: str) -> str:
    """The line under a table: what was run, and what there is to say about it."""
    told = setting(run for runs in found.values() for run in runs)
    return ". ".join(part for part in (told, *parts) if part) + "."


def _spread(results: Iterable[Mapping[str, Any]], key: str = "top1") -> str:
    return _unbroken(mean_sd([result[key] for result in results]))


def _mean(results: Sequence[Mapping[str, Any]], key: str) -> str:
    """The mean alone, where a column has no room for the spread."""
    values = [result[key] for result in results]
    return "–" if None in values else f"{sum(values) / len(values):.1f}"


def _unbroken(text: str) -> str:
    """No line break inside "38.3 ± 0.4" and inside the brackets of an interval."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(", ", ",\u00a0").replace(" [", "\u00a0[")


def _classifier(runs: Sequence[Run]) -> str:
    return str(runs[0].config.classifier)


def _table(rows: Mapping[Any, Mapping[Any, Any]], note: str, *names: str) -> pd.DataFrame:
    """A table of rows by name (a tuple of several names for several levels), with its note."""
    import pandas as pd

    index = pd.MultiIndex.from_tuples(rows, names=names) if len(names) > 1 else pd.Index(list(rows), name=names[0])
    table = pd.DataFrame(list(rows.values()), index=index)
    if isinstance(table.columns[0], tuple):  # two rows of titles
        table.columns = pd.MultiIndex.from_tuples(table.columns)
    table.attrs["note"] = note
    return table


def main(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> pd.DataFrame:
    """Every method: top-1, many, medium and few of the last epoch, and best on test beside it.

    A method that is not recorded has a row that says so.
    """
    found, left_out = _methods(study, methods, imbalance_factor)
    rows: dict[str, dict[str, Any]] = {}
    for name in methods:
        runs = found.get(name, [])
        row: dict[str, Any] = {"classifier": _classifier(runs) if runs else "–"}
        row |= {title: _spread((run.last for run in runs), key) for key, title in COLUMNS.items()}
        row |= {"best on test": _spread(run.best for run in runs)}
        rows[name] = row if runs else row | {"top-1": NOT_RECORDED}
    return _table(rows, _note(found, left_out), "method")


def with_posthoc(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> pd.DataFrame:
    """`main`, and top-1 of the same networks adjusted and re-balanced at τ = 1: a whole schedule in one table.

    A dagger marks an adjustment that takes a prior off a loss that holds it already: a failure, not a result.
    """
    table = main(study, methods, imbalance_factor)
    found, _ = _methods(study, methods, imbalance_factor)
    kinds = {"adjust": "adjusted", "rebalance": "re-balanced"}
    for kind, title in kinds.items():
        cells = []
        for name in methods:
            after = [run.record["posthoc"][kind] for run in found.get(name, [])]
            twice = kind == "adjust" and bool(after) and found[name][0].config.loss in PRIOR_LOSSES
            cells.append(_spread(after) + "†" * twice if after else "–")
        table[title] = cells
    parts = [ONE_SEED] if all(len(runs) == 1 for runs in found.values()) else []
    parts += [f"best on test {SEES}, and so does re-balancing", "†: the loss held a prior already"]
    table.attrs["note"] += " " + ". ".join(part[0].upper() + part[1:] for part in parts) + "."
    return table


def further(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """`main` for the methods that the study has beside the six."""
    return main(study, FURTHER, imbalance_factor)


def imbalance(study: Study, methods: Sequence[str] = METHODS) -> pd.DataFrame:
    """Top-1 of every method at every imbalance factor, last epoch and best on test.

    Shot groups are left out: few-shot classes at one factor are other classes than at another, and none at 10. The
    rows of one factor have the same seeds; the factors may differ in theirs.
    """
    found: dict[int, dict[str, list[Run]]] = {}
    for factor in sorted(FACTORS):
        try:
            found[factor], _ = _methods(study, methods, factor)
        except MissingRuns:
            continue
    if len(found) < 2:
        there = ", ".join(map(str, found)) or "none"
        raise MissingRuns(f"no {study.recipe} run of a second imbalance factor; recorded: {there}")
    rows = {}
    for name in [name for name in methods if any(name in at_factor for at_factor in found.values())]:
        runs = {factor: at_factor.get(name, []) for factor, at_factor in found.items()}
        rows[name] = {
            ("classifier", ""): _classifier(next(there for there in runs.values() if there)),
            **{("last epoch", f"IF {f}"): _spread(run.last for run in there) for f, there in runs.items()},
            **{("best on test", f"IF {f}"): _spread(run.best for run in there) for f, there in runs.items()},
        }
    everything = {str(factor): [run for runs in there.values() for run in runs] for factor, there in found.items()}
    told = [f"IF {f}: {', '.join(map(str, seeds(runs)))}" for f, runs in everything.items()]
    return _table(rows, _note(everything, "Seeds of every row: " + "; ".join(told)), "method")


def analysis_of(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> Analysis:
    """The one analysis of top-1 of the last epoch, of the methods at the seeds that all of them have.

    Raises:
        MissingRuns: a method is not recorded, or they share no seed.
    """
    study.select(*methods, imbalance_factor=imbalance_factor)  # names the method that is missing
    return _analysis(_methods(study, methods, imbalance_factor)[0])


def _analysis(found: Mapping[str, Sequence[Run]]) -> Analysis:
    return analyse({name: {run.config.seed: run.last["top1"] for run in runs} for name, runs in found.items()})


def _family(analysis: Analysis, quantile: str) -> str:
    """How wide the intervals of a table are, and why: part of the line under it."""
    if analysis.sd is None:
        return ONE_SEED
    return f"Residual SD {analysis.sd:.2f} with {analysis.degrees} degrees of freedom; 95 % intervals {quantile}"


def _compared(comparison: Comparison) -> dict[str, str]:
    """The columns of a difference: itself with its interval, what it has to exceed, the verdict."""
    bound = "–" if comparison.own_half is None else f"{comparison.own_half:.1f}"
    return {"difference": _unbroken(str(comparison)), "has to exceed": bound, "verdict": comparison.verdict}


def contrasts(study: Study, grid: str | None = None, imbalance_factor: float = 100) -> pd.DataFrame:
    """The questions that the study's grid file asks: first minus second in top-1, by Bonferroni's intervals.

    Args:
        study: whose methods are compared.
        grid: file in ``book/experiments`` without its ending; default: that of the recipe (`GRIDS`).
        imbalance_factor: of the runs.

    Raises:
        MissingRuns: the file asks nothing of this recipe, a method is not recorded, or there is no clone of the book.
    """
    name = grid or GRIDS.get(study.recipe, "")
    pairs = load_contrasts(book_file(f"experiments/{name}.yaml"), study.recipe) if name else []
    if not pairs:
        raise MissingRuns(f"no contrast of recipe {study.recipe} in {f'{name}.yaml' if name else 'a grid file'}")
    methods = list(dict.fromkeys(method for pair in pairs for method in pair))
    ordered = sorted(methods, key=lambda method: METHODS.index(method) if method in METHODS else len(METHODS))
    study.select(*ordered, imbalance_factor=imbalance_factor)  # names the method that is missing
    found, left_out = _methods(study, ordered, imbalance_factor)
    analysis = _analysis(found)
    rows = {}
    for (method, minus), comparison in zip(pairs, analysis.contrasts(pairs), strict=True):
        kinds = [_classifier(found[method]), _classifier(found[minus])]
        both = kinds[0] if kinds[0] == kinds[1] else " − ".join(kinds)
        rows[f"{method} − {minus}"] = {"classifier": both, **_compared(comparison)}
    family = f"cover {len(pairs)} contrasts together (Bonferroni)"
    return _table(rows, _note(found, left_out, _family(analysis, family)), "first − second")


def differences(
    study: Study, against: str = "cross-entropy", methods: Sequence[str] = METHODS, imbalance_factor: float = 100
) -> pd.DataFrame:
    """Every method minus one control, in top-1, by Dunnett's intervals.

    Raises:
        MissingRuns: the control is not recorded, or no other method is.
    """
    study.select(against, imbalance_factor=imbalance_factor)  # names the control if it is missing
    found, left_out = _methods(study, [against, *(name for name in methods if name != against)], imbalance_factor)
    if len(found) < 2:
        raise MissingRuns(f"no {study.recipe} run of a method beside {against} (imbalance_factor {imbalance_factor})")
    analysis = _analysis(found)
    rows = {
        name: {"classifier": _classifier(found[name]), **_compared(comparison)}
        for name, comparison in analysis.against(against).items()
    }
    family = f"cover the {len(rows)} comparisons with {against} ({_classifier(found[against])}) together (Dunnett)"
    return _table(rows, _note(found, left_out, _family(analysis, family)), f"minus {against}")


def posthoc(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> pd.DataFrame:
    """Each method as trained, and what adjusting and re-balancing at τ = 1 change in top-1, compared seed by seed.

    Losses that hold a prior already come last: adjusting takes it off twice, which is a failure.
    """
    found, left_out = _methods(study, methods, imbalance_factor)
    twice = {name: runs[0].config.loss in PRIOR_LOSSES for name, runs in found.items()}
    found = {name: found[name] for name in sorted(found, key=twice.__getitem__)}
    kinds = {"adjust": "adjusted, τ = 1", "rebalance": f"re-balanced: {SEES}"}
    changes = {kind: _changes(found, kind) for kind in kinds}
    rows = {}
    for name, runs in found.items():
        row: dict[tuple[str, str], str] = {("", "classifier"): _classifier(runs)}
        row["as trained", "top-1"] = _spread(run.last for run in runs)
        row["as trained", "few"] = _mean([run.last for run in runs], "few")
        for kind, title in kinds.items():
            after = [run.record["posthoc"][kind] for run in runs]
            row[title, "top-1, change"] = _changed(changes[kind][name], twice[name] and kind == "adjust")
            row[title, "few"] = _mean(after, "few")
        rows[name] = row
    together = f"the 95 % intervals cover the {len(rows)} changes of a column together"
    family = f"Behind the ± of a change is what it has to exceed; {together}"
    if changes["adjust"][name].half is None:
        family = ONE_SEED
    marks = "*: clear. †: the loss held a prior already, which is taken off twice"
    return _table(rows, _note(found, left_out, family, marks), "method")


def _changes(found: Mapping[str, Sequence[Run]], kind: str) -> dict[str, Comparison]:
    """Top-1 after ``posthoc[kind]`` minus as trained, by method."""
    stages = {}
    for name, runs in found.items():
        after = {run.config.seed: run.record["posthoc"][kind]["top1"] for run in runs}
        stages[name] = after, {run.config.seed: run.last["top1"] for run in runs}
    return second_stages(stages)


def _changed(change: Comparison, twice: bool) -> str:
    text = f"{change.difference:+.1f}"
    if change.own_half is not None:
        text += f" ± {change.own_half:.1f}" + "*" * change.clear
    return _unbroken(text + "†" * twice)


def taus(study: Study, imbalance_factor: float = 100, method: str = "cross-entropy") -> Figure:
    """Top-1 of a method against the strength τ of the two post-hoc adjustments; τ = 0 is the network as trained."""
    import matplotlib.pyplot as plt
    import numpy as np

    runs = study.select(method, imbalance_factor=imbalance_factor)
    kinds = {"adjust": ("adjusted", plots.INDIGO, "o-"), "rebalance": (f"re-balanced ({SEES})", plots.OLIVE, "s--")}
    fig, ax = plt.subplots()
    for kind, (name, colour, style) in kinds.items():
        tau = [0.0, *runs[0].record["posthoc"]["sweep"]["tau"]]
        curves = np.array([[run.last["top1"], *run.record["posthoc"]["sweep"][kind]] for run in runs])
        ax.fill_between(tau, curves.min(0), curves.max(0), color=colour, alpha=0.2, lw=0)
        ax.plot(tau, curves.mean(0), style, color=colour, label=name)
    ax.axvline(1, color="black", lw=0.8, ls=":")
    ax.set(xlabel="strength τ", ylabel="top-1 (%)", title=f"{method}: mean and range over {len(runs)} seeds")
    ax.legend(loc="lower left")
    return fig


def groups(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> Figure:
    """Top-1, many, medium and few of each method: a small dot a seed, a large marker for their mean."""
    import numpy as np

    found, _ = _methods(study, methods, imbalance_factor)
    shown = [key for key in COLUMNS if next(iter(found.values()))[0].last[key] is not None]
    fig, axes = plots.panels(len(shown), 0.8 + 0.24 * len(found), sharey=True)
    for ax, key in zip(axes, shown, strict=True):
        for row, (name, runs) in enumerate(found.items()):
            colour, values = plots.METHOD_COLOURS.get(name, plots.INK), [run.last[key] for run in runs]
            ax.plot(values, [row] * len(values), "o", color=colour, ms=3, alpha=0.7)
            ax.plot(np.mean(values), row, plots.METHOD_MARKERS.get(name, "o"), mfc="none", mec=colour, ms=9, mew=1.5)
        ax.set(title=COLUMNS[key], xlabel="%")
        ax.margins(x=0.15)
    axes[0].set(yticks=range(len(found)), yticklabels=list(found), ylim=(len(found) - 0.5, -0.5))
    return fig


def curves(study: Study, methods: Sequence[str] = METHODS, imbalance_factor: float = 100) -> Figure:
    """Test top-1 by epoch, mean over the seeds of each method; only epochs that all seeds' records keep."""
    import matplotlib.pyplot as plt
    import numpy as np

    found, _ = _methods(study, methods, imbalance_factor)
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 3.8))
    for name, runs in found.items():
        rows = [{row["epoch"]: row["top1"] for row in run.tested} for run in runs]
        epochs = sorted(set.intersection(*map(set, rows)))
        top1 = [np.mean([row[epoch] for row in rows]) for epoch in epochs]
        marks = max(1, len(epochs) // 8)
        ax.plot(
            epochs, top1, marker=plots.METHOD_MARKERS.get(name, "o"), markevery=marks, ms=5, lw=1.4,
            color=plots.METHOD_COLOURS.get(name, plots.INK), label=name,
        )  # fmt: skip
    ax.set(xlabel="epoch", ylabel="test top-1 (%)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def published_values(study: Study) -> pd.DataFrame:
    """What was published for CIFAR100-LT, by augmentation, network and epochs: `lt_core.report.published.PUBLISHED`.

    The same for every study, whose results are never in it. Network, chosen epoch, seeds and optimiser stand in the
    note, by the number of the source.
    """
    del study
    ordered = sorted(PUBLISHED, key=by_recipe)
    numbers, note = source_notes(ordered)
    rows = {}
    for row in ordered:
        values: dict[str, Any] = {f"IF {f}": row.top1.get(f, "–") for f in FACTORS}
        values |= {"epochs": row.epochs, "augmentation": row.augmentation, "source": numbers[row.source]}
        rows[row.block, row.method] = values
    table = _table(rows, note, "block", "method")
    return table.droplevel("block")  # two blocks have a method of the same name


def _reproduced(study: Study, target: Target) -> dict[str, Any]:
    """One row of `reproduction`; it is set beside what was published, never beside another row."""
    published = f"{target.low:.1f}" if target.low == target.high else f"{target.low:.1f}–{target.high:.1f}"
    row: dict[str, Any] = {"IF": target.imbalance_factor, "published": published}
    try:
        runs = study.select(target.method, imbalance_factor=target.imbalance_factor)
    except MissingRuns:
        empty = dict.fromkeys(("minus published", "within", "last", "last minus published"), "–")
        return {"classifier": "–", **row, "best on test": NOT_RECORDED, **empty, "seeds": 0, SEES: "–"}
    after = [run.record["posthoc"] for run in runs]
    best = [a["rebalance_best_on_test"] for a in after] if target.rebalanced else [run.best for run in runs]
    last = [a["rebalance"] for a in after] if target.rebalanced else [run.last for run in runs]

    def gap(results: Sequence[Mapping[str, Any]]) -> float:
        """Distance of the mean from the published value, or from the nearer end of its range."""
        mean = sum(result["top1"] for result in results) / len(results)
        return mean - min(max(mean, target.low), target.high)

    # A gap of exactly the tolerance must not depend on the last bit.
    within = "yes" if round(abs(gap(best)), 6) <= target.tolerance else "no"
    return {
        "classifier": _classifier(runs),
        **row,
        "best on test": _spread(best),
        "minus published": f"{gap(best):+.1f}",
        "within": f"{within} ({target.tolerance:g})",
        "last": _spread(last),
        "last minus published": f"{gap(last):+.1f}",
        "seeds": len(runs),
        SEES: "best: epoch, re-balancing; last: re-balancing" if target.rebalanced else "best: epoch",
    }


def reproduction(study: Study) -> pd.DataFrame:
    """Measured minus published, best on test as it was published and the last epoch beside it.

    Only for the recipes of the published values: the CPU schedule raises `MissingRuns`, since its network and its
    length are others.
    """
    targets = [target for target in TARGETS if target.recipe == study.recipe]
    rows = {(target.title, target.imbalance_factor): _reproduced(study, target) for target in targets}
    if not any(row["seeds"] for row in rows.values()):
        raise MissingRuns(f"no {study.recipe} run of a published recipe: nothing to compare with published values")
    names = list(dict.fromkeys(target.method for target in targets))
    found = {n: runs for n, runs in study.by_method(imbalance_factor=None).items() if n in names}
    return _table(rows, _note(found), "method", "factor").droplevel("factor")


def spread(
    study: Study, methods: Sequence[str] = ("cross-entropy", "GALA"), imbalance_factor: float = 100
) -> pd.DataFrame:
    """How far top-1 and the many-few gap move with the training seed, the subset, and the class order.

    A source with fewer than two runs of a method has a row that says so; the run of seed 0 on the canonical subset
    belongs to all three.
    """
    sources: dict[str, dict[str, Any]] = {
        "training seed": {},
        "subset": {"subset_seed": None, "seed": 0},
        "class order": {"class_order": "any", "seed": 0},
    }
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    shown: dict[str, list[Run]] = {}
    for name in methods:
        for source, conditions in sources.items():
            runs = study.select(name, imbalance_factor=imbalance_factor, **conditions)
            # The crossed study's rotations are no random orders: neighbours stay neighbours.
            runs = [run for run in runs if not rotation(run.config.class_order)]
            shown.setdefault(name, []).extend(runs)
            row: dict[str, Any] = {"classifier": _classifier(runs), "runs": len(runs)}
            row |= {"top-1": NOT_RECORDED, "range of top-1": "–", "many − few": "–"}
            if len(runs) > 1:
                top1 = [run.last["top1"] for run in runs]
                row |= {"top-1": _unbroken(mean_sd(top1)), "range of top-1": f"{max(top1) - min(top1):.1f}"}
                if all(run.last["few"] is not None for run in runs):
                    row["many − few"] = _unbroken(mean_sd([run.last["many"] - run.last["few"] for run in runs]))
            rows[name, source] = row
    if not any(row["runs"] > 1 for (_, source), row in rows.items() if source != "training seed"):
        raise MissingRuns(f"no {study.recipe} run of {', '.join(methods)} with another subset or class order")
    return _table(rows, _note(shown), "method", "what varies")


def _candidates(study: Study, methods: Sequence[str], imbalance_factor: float) -> dict[str, list[Run]]:
    """The runs on the tuning subset, by method whatever its options; the default configuration comes first."""
    found: dict[str, list[Run]] = {}
    for run in study.select(dataset=TUNING, imbalance_factor=imbalance_factor):
        name = records.label({"config": {**run.record["config"], "loss_options": {}}})
        found.setdefault(name, []).append(run)
    return {
        name: sorted(found[name], key=lambda run: bool(run.config.loss_options)) for name in methods if name in found
    }


def _options(run: Run) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(run.config.loss_options.items())) or "default"


def _best(runs: Sequence[Run]) -> Run:
    """The candidate with the highest top-1 of the last epoch; of equals the first."""
    return max(runs, key=lambda run: run.last["top1"])


def tuning(study: Study, methods: Sequence[str] = TUNED, imbalance_factor: float = 100) -> pd.DataFrame:
    """Default and tuned options of each method, chosen on the tuning subset, then retrained on the canonical one.

    The tuning subset is "oracle validation": its 5,000 scoring images are balanced and lie outside every long-tailed
    subset, which no practitioner would have. The strength τ of the post-hoc methods is chosen on it too, for plain
    cross-entropy. Columns of the canonical subset hold top-1 of the last epoch.
    """

    def canonical(run: Run) -> str:
        try:
            runs = study.select(run.method, imbalance_factor=imbalance_factor)
        except MissingRuns:
            return NOT_RECORDED
        return _spread(other.last for other in runs)

    rows = {}
    candidates = _candidates(study, methods, imbalance_factor)
    for name, runs in candidates.items():
        best = _best(runs)
        rows[name] = {
            "classifier": _classifier(runs),
            "tried": len(runs),
            "default": f"{runs[0].last['top1']:.1f}",
            "best of them": f"{best.last['top1']:.1f}",
            "its options": _options(best),
            "canonical: default": canonical(runs[0]),
            "canonical: tuned": canonical(best),
        }
    for kind, name in (("adjust", "adjusted"), ("rebalance", f"re-balanced ({SEES})")):
        if "cross-entropy" in candidates:
            rows[f"cross-entropy, {name}"] = _tuned_strength(study, candidates["cross-entropy"][0], kind)
    return _table(rows, _note(candidates), "method")


def _tuned_strength(study: Study, run: Run, kind: str) -> dict[str, Any]:
    """The row of a post-hoc method: τ from the sweep on the tuning subset."""
    sweep = run.record["posthoc"]["sweep"]
    place, usual = max(range(len(sweep["tau"])), key=lambda i: sweep[kind][i]), sweep["tau"].index(1.0)
    try:
        others = study.select("cross-entropy", imbalance_factor=run.config.imbalance_factor)
        sweeps = [other.record["posthoc"]["sweep"][kind] for other in others]
        canonical = [_unbroken(mean_sd([values[i] for values in sweeps])) for i in (usual, place)]
    except MissingRuns:
        canonical = [NOT_RECORDED] * 2
    return {
        "classifier": _classifier([run]),
        "tried": len(sweep["tau"]),
        "default": f"{sweep[kind][usual]:.1f}",
        "best of them": f"{sweep[kind][place]:.1f}",
        "its options": f"τ {sweep['tau'][place]:g}",
        "canonical: default": canonical[0],
        "canonical: tuned": canonical[1],
    }


def frozen(study: Study, imbalance_factor: float = 100) -> list[dict[str, Any]]:
    """The best configuration of each method on the tuning subset, to be retrained on the canonical one.

    The entries are ``runs`` of a grid file; see `lt_core.training.configs.load_grid`.

    Raises:
        MissingRuns: nothing is recorded on the tuning subset.
    """
    keys = ("recipe", "loss", "loss_options", "drw", "classifier", "imbalance_factor")
    best = [_best(runs).config.to_dict() for runs in _candidates(study, TUNED, imbalance_factor).values()]
    return [{"dataset": "cifar100_lt", **{key: config[key] for key in keys}} for config in best]


TABLES = (main, contrasts, imbalance, posthoc, published_values, reproduction, spread, tuning)
# Written by ``report`` too, and on no page for the page's own study: other questions are asked there.
MORE_TABLES = (further, differences, with_posthoc)
FIGURES = (groups, taus, curves)
