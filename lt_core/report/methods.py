"""Tables and figures of chapter 11: the methods, their differences, the post-hoc adjustments, the published values.

Accuracies are in percent and, unless a column says otherwise, of the last epoch; "38.3 ± 0.4" is mean and sample
standard deviation over the training seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_core import plots, records
from lt_core.report.crossed import rotation
from lt_core.report.published import FACTORS, PUBLISHED, TARGETS, Target
from lt_core.report.statistics import Difference, mean_sd, paired_difference
from lt_core.report.study import METHODS, MissingRuns, Run, Study, seeds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# The rows of the tables. Other names, such as those of the ablations, belong to chapter 13.
FURTHER = (
    "cross-entropy-DRW",
    "LDAM",
    "balanced softmax (cosine)",
    "ALA-DRW",
    "GALA (lambda_neg 0.9, lambda_pos 1.2)",
    "GALA (form formula, lambda_neg 0.9, lambda_pos 1.2)",
    "focal",
    "class-balanced",
    "logit-adjusted",
)
ADJUSTING = ("balanced_softmax", "la", "gala")  # losses that hold a prior already
COLUMNS = {"top1": "top-1", "many": "many", "medium": "medium", "few": "few"}
SEES = "sees the test set"
TUNING = "cifar100_lt_tuning"
NOT_RECORDED = "not recorded"


def _methods(study: Study, imbalance_factor: float) -> dict[str, list[Run]]:
    """The runs of `METHODS` and `FURTHER` at an imbalance factor; `MissingRuns` where there is none."""
    found = study.by_method(imbalance_factor=imbalance_factor)
    named = {name: found[name] for name in (*METHODS, *FURTHER) if name in found}
    if not named:
        raise MissingRuns(f"no {study.recipe} run of a method of the main table (imbalance_factor {imbalance_factor})")
    return named


def _spread(results: Iterable[Mapping[str, Any]], key: str = "top1") -> str:
    return _unbroken(mean_sd([result[key] for result in results]))


def _unbroken(text: str) -> str:
    """No line break inside "38.3 ± 0.4" and inside the brackets of an interval."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(", ", ",\u00a0")


def main(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Every method: top-1, many, medium and few of the last epoch, the number of seeds, and best on test beside it.

    One of the six methods of `METHODS` that is not recorded has a row that says so.
    """
    import pandas as pd

    found = _methods(study, imbalance_factor)
    rows: dict[str, dict[str, Any]] = {}
    for name in (*METHODS, *(name for name in FURTHER if name in found)):
        runs = found.get(name, [])
        row: dict[str, Any] = {title: _spread((run.last for run in runs), key) for key, title in COLUMNS.items()}
        row |= {"seeds": len(runs), "best on test": _spread(run.best for run in runs)}
        rows[name] = row if runs else row | {"top-1": NOT_RECORDED}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def imbalance(study: Study) -> pd.DataFrame:
    """Top-1 of every method at every imbalance factor, last epoch and best on test.

    Shot groups are left out: few-shot classes at one factor are other classes than at another, and none at 10.
    """
    import pandas as pd

    found: dict[int, dict[str, list[Run]]] = {}
    for factor in sorted(FACTORS):
        try:
            found[factor] = _methods(study, factor)
        except MissingRuns:
            continue
    if len(found) < 2:
        there = ", ".join(map(str, found)) or "none"
        raise MissingRuns(f"no {study.recipe} run of a second imbalance factor; recorded: {there}")
    names = [name for name in (*METHODS, *FURTHER) if any(name in methods for methods in found.values())]
    rows = {}
    for name in names:
        runs = {factor: methods.get(name, []) for factor, methods in found.items()}
        rows[name] = {
            **{("last epoch", f"IF {f}"): _spread(run.last for run in there) for f, there in runs.items()},
            **{("best on test", f"IF {f}"): _spread(run.best for run in there) for f, there in runs.items()},
            **{("seeds", f"IF {f}"): len(there) for f, there in runs.items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _minus(ours: Sequence[Run], theirs: Sequence[Run], key: str) -> Difference | None:
    """The paired difference of a result; None where the group is empty.

    Raises:
        ValueError: they share no seed.
    """
    values = [{seed: run.last[key] for seed, run in seeds(runs).items()} for runs in (ours, theirs)]
    if any(value is None for side in values for value in side.values()):
        return None
    return paired_difference(*values)


def _verdict(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    if difference.pairs < 2:
        return "unknown: one pair"
    return "clear" if difference.clear else "within noise"


def differences(
    study: Study, imbalance_factor: float = 100, against: Sequence[str] = ("cross-entropy", "balanced softmax")
) -> pd.DataFrame:
    """Each method minus a baseline, paired by seed, with 95 % intervals; a block for each baseline in ``against``.

    "clear" means that the interval of top-1 leaves out zero. Twenty comparisons of equal methods would show one "clear"
    on average: the intervals are not widened for their number.
    """
    import pandas as pd

    found = _methods(study, imbalance_factor)
    study.select(*against, imbalance_factor=imbalance_factor)  # names the baseline that is missing
    rows = {}
    for baseline in against:
        theirs = found[baseline]
        for name, ours in found.items():
            if name == baseline or not set(seeds(ours)) & set(seeds(theirs)):
                continue
            found_differences = {key: _minus(ours, theirs, key) for key in COLUMNS}
            texts = {key: _unbroken(str(difference or "–")) for key, difference in found_differences.items()}
            row: dict[str, Any] = {"top-1": texts.pop("top1"), "top-1 is": _verdict(found_differences["top1"])}
            row |= {COLUMNS[key]: text for key, text in texts.items()}
            row["pairs"] = len(set(seeds(ours)) & set(seeds(theirs)))
            rows[f"minus {baseline}", name] = row
    table = pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["baseline", "method"]))
    return table


def _adjusted(found: Mapping[str, Sequence[Run]], adjust: str, shown: Sequence[str]) -> pd.DataFrame:
    """As trained, adjusted and re-balanced at τ = 1, a row a method; ``shown`` are keys of `COLUMNS`."""
    import pandas as pd

    rebalanced = f"re-balanced, τ = 1: {SEES}"
    rows: dict[str, dict[tuple[str, str], Any]] = {}
    for name, runs in found.items():
        after = [run.record["posthoc"] for run in runs]
        rows[name] = {
            **{("as trained", COLUMNS[key]): _spread([run.last for run in runs], key) for key in shown},
            **{(adjust, COLUMNS[key]): _spread([a["adjust"] for a in after], key) for key in shown},
            **{(rebalanced, COLUMNS[key]): _spread([a["rebalance"] for a in after], key) for key in ("top1", "few")},
            ("seeds", ""): len(runs),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _split(study: Study, imbalance_factor: float, adjusting: bool) -> dict[str, list[Run]]:
    found = _methods(study, imbalance_factor)
    kept = {name: runs for name, runs in found.items() if (runs[0].config.loss in ADJUSTING) == adjusting}
    if not kept:
        kind = "adjusts already" if adjusting else "does not adjust"
        raise MissingRuns(f"no {study.recipe} run of a loss that {kind} (imbalance_factor {imbalance_factor})")
    return kept


def posthoc(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Each loss without a prior of its own: as trained, adjusted at τ = 1, and re-balanced at τ = 1."""
    return _adjusted(_split(study, imbalance_factor, adjusting=False), "adjusted, τ = 1", ("top1", "few"))


def twice(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """What an adjustment does to the losses that hold a prior already: a failure, shown once and labelled."""
    found = _split(study, imbalance_factor, adjusting=True)
    return _adjusted(found, "adjusted a second time: a failure", ("top1", "many", "few"))


def taus(study: Study, imbalance_factor: float = 100, method: str = "cross-entropy") -> Figure:
    """Top-1 of a method against the strength τ of the two post-hoc adjustments; τ = 0 is the network as trained."""
    import matplotlib.pyplot as plt
    import numpy as np

    runs = study.select(method, imbalance_factor=imbalance_factor)
    kinds = {"adjust": ("adjusted", plots.BLUE, "o-"), "rebalance": (f"re-balanced ({SEES})", plots.ORANGE, "s--")}
    fig, ax = plt.subplots(figsize=(6.4, 3.2))
    for kind, (name, colour, style) in kinds.items():
        tau = [0.0, *runs[0].record["posthoc"]["sweep"]["tau"]]
        curves = np.array([[run.last["top1"], *run.record["posthoc"]["sweep"][kind]] for run in runs])
        ax.fill_between(tau, curves.min(0), curves.max(0), color=colour, alpha=0.2, lw=0)
        ax.plot(tau, curves.mean(0), style, color=colour, label=name)
    ax.axvline(1, color="black", lw=0.8, ls=":")
    ax.set(xlabel="strength τ", ylabel="top-1 (%)", title=f"{method}, mean and range over seeds: {len(runs)}")
    ax.legend(loc="lower left")
    return fig


def groups(study: Study, imbalance_factor: float = 100) -> Figure:
    """Top-1, many, medium and few of each method: a small dot a seed, a large marker for their mean."""
    import matplotlib.pyplot as plt
    import numpy as np

    found = _methods(study, imbalance_factor)
    shown = [key for key in COLUMNS if next(iter(found.values()))[0].last[key] is not None]
    height = 1.2 + 0.33 * len(found)
    fig, axes = plt.subplots(1, len(shown), figsize=(7.4, height), sharey=True, squeeze=False)
    for ax, key in zip(axes[0], shown, strict=True):
        for row, (name, runs) in enumerate(found.items()):
            colour, values = plots.METHOD_COLOURS.get(name, "black"), [run.last[key] for run in runs]
            ax.plot(values, [row] * len(values), "o", color=colour, ms=3, alpha=0.7)
            ax.plot(np.mean(values), row, plots.METHOD_MARKERS.get(name, "o"), mfc="none", mec=colour, ms=10, mew=1.6)
        ax.set(title=COLUMNS[key], xlabel="%")
        ax.margins(x=0.15)
    axes[0][0].set(yticks=range(len(found)), yticklabels=list(found), ylim=(len(found) - 0.5, -0.5))
    return fig


def curves(study: Study, imbalance_factor: float = 100) -> Figure:
    """Test top-1 by epoch, mean over the seeds of each of the six methods; only epochs that all seeds' records keep."""
    import matplotlib.pyplot as plt
    import numpy as np

    found = {name: runs for name, runs in _methods(study, imbalance_factor).items() if name in METHODS}
    if not found:
        raise MissingRuns(f"no {study.recipe} run of the six methods (imbalance_factor {imbalance_factor})")
    fig, ax = plt.subplots(figsize=(6.8, 3.6))
    for name, runs in found.items():
        rows = [{row["epoch"]: row["top1"] for row in run.tested} for run in runs]
        epochs = sorted(set.intersection(*map(set, rows)))
        top1 = [np.mean([row[epoch] for row in rows]) for epoch in epochs]
        marks = max(1, len(epochs) // 8)
        ax.plot(
            epochs, top1, marker=plots.METHOD_MARKERS[name], markevery=marks, ms=5, lw=1.4,
            color=plots.METHOD_COLOURS[name], label=name,
        )  # fmt: skip
    ax.set(xlabel="epoch", ylabel="test top-1 (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def published_values(study: Study) -> pd.DataFrame:
    """What was published for CIFAR100-LT, in two blocks by augmentation: `lt_core.report.published.PUBLISHED`.

    The same for every study, whose results are never in it.
    """
    import pandas as pd

    del study
    rows = {}
    for row in sorted(PUBLISHED, key=lambda row: row.block != PUBLISHED[0].block):
        values: dict[str, Any] = {f"IF {f}": row.top1.get(f, "–") for f in FACTORS}
        values |= {"epochs": row.epochs, "augmentation": row.augmentation, "epoch chosen": row.epoch_chosen}
        values |= {"network": row.network, "seeds": row.seeds, "source": row.source}
        rows[row.block, row.method] = values
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["block", "method"]))


def _reproduced(study: Study, target: Target) -> dict[str, Any]:
    """One row of `reproduction`."""
    published = f"{target.low:.1f}" if target.low == target.high else f"{target.low:.1f}–{target.high:.1f}"
    row: dict[str, Any] = {"IF": target.imbalance_factor, "published": published}
    try:
        runs = study.select(target.method, imbalance_factor=target.imbalance_factor)
    except MissingRuns:
        empty = dict.fromkeys(("minus published", "within", "last", "last minus published"), "–")
        return {**row, "best on test": NOT_RECORDED, **empty, "seeds": 0, SEES: "–"}
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
    import pandas as pd

    targets = [target for target in TARGETS if target.recipe == study.recipe]
    rows = {(target.method, target.imbalance_factor): _reproduced(study, target) for target in targets}
    if not any(row["seeds"] for row in rows.values()):
        raise MissingRuns(f"no {study.recipe} run of a published recipe: nothing to compare with published values")
    index = pd.Index([name for name, _ in rows], name="method")
    return pd.DataFrame(list(rows.values()), index=index)


def spread(
    study: Study, methods: Sequence[str] = ("cross-entropy", "GALA"), imbalance_factor: float = 100
) -> pd.DataFrame:
    """How far top-1 and the many-few gap move with the training seed, the subset, and the class order.

    A source with fewer than two runs of a method has a row that says so; the run of seed 0 on the canonical subset
    belongs to all three.
    """
    import pandas as pd

    sources: dict[str, dict[str, Any]] = {
        "training seed": {},
        "subset": {"subset_seed": None, "seed": 0},
        "class order": {"class_order": "any", "seed": 0},
    }
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name in methods:
        for source, conditions in sources.items():
            runs = study.select(name, imbalance_factor=imbalance_factor, **conditions)
            # The crossed study's rotations are no random orders: neighbours stay neighbours.
            runs = [run for run in runs if not rotation(run.config.class_order)]
            row: dict[str, Any] = {"runs": len(runs), "top-1": NOT_RECORDED, "range of top-1": "–", "many − few": "–"}
            if len(runs) > 1:
                top1 = [run.last["top1"] for run in runs]
                row |= {"top-1": _unbroken(mean_sd(top1)), "range of top-1": f"{max(top1) - min(top1):.1f}"}
                if all(run.last["few"] is not None for run in runs):
                    row["many − few"] = _unbroken(mean_sd([run.last["many"] - run.last["few"] for run in runs]))
            rows[name, source] = row
    if not any(row["runs"] > 1 for (_, source), row in rows.items() if source != "training seed"):
        raise MissingRuns(f"no {study.recipe} run of {', '.join(methods)} with another subset or class order")
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=["method", "what varies"]))


def _candidates(study: Study, imbalance_factor: float) -> dict[str, list[Run]]:
    """The runs on the tuning subset, by method whatever its options; the default configuration comes first."""
    found: dict[str, list[Run]] = {}
    for run in study.select(dataset=TUNING, imbalance_factor=imbalance_factor):
        name = records.label({"config": {**run.record["config"], "loss_options": {}}})
        found.setdefault(name, []).append(run)
    return {name: sorted(runs, key=lambda run: bool(run.config.loss_options)) for name, runs in found.items()}


def _options(run: Run) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(run.config.loss_options.items())) or "default"


def _best(runs: Sequence[Run]) -> Run:
    """The candidate with the highest top-1 of the last epoch; of equals the first."""
    return max(runs, key=lambda run: run.last["top1"])


def tuning(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Default and tuned options of each method, chosen on the tuning subset, then retrained on the canonical one.

    The tuning subset is "oracle validation": its 5,000 scoring images are balanced and lie outside every long-tailed
    subset, which no practitioner would have. The strength τ of the post-hoc methods is chosen on it too, for plain
    cross-entropy. Columns of the canonical subset hold top-1 of the last epoch.
    """
    import pandas as pd

    def canonical(run: Run) -> str:
        try:
            runs = study.select(run.method, imbalance_factor=imbalance_factor)
        except MissingRuns:
            return NOT_RECORDED
        return _spread(other.last for other in runs)

    rows = {}
    candidates = _candidates(study, imbalance_factor)
    for name, runs in candidates.items():
        best = _best(runs)
        rows[name] = {
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
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


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
    best = [_best(runs).config.to_dict() for runs in _candidates(study, imbalance_factor).values()]
    return [{"dataset": "cifar100_lt", **{key: config[key] for key in keys}} for config in best]


TABLES = (
    main,
    imbalance,
    differences,
    posthoc,
    twice,
    published_values,
    reproduction,
    spread,
    tuning,
)
FIGURES = (groups, taus, curves)
