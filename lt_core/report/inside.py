"""The pictures of the ALA and GALA papers on our runs, and the ablations (chapter 13)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core import plots, records
from lt_core.losses import ALALoss
from lt_core.metrics import shot_groups
from lt_core.report.analysis import cifar100_test_labels, main_methods, with_arrays
from lt_core.report.crossed import named, two_lines
from lt_core.report.statistics import analyse, mean_sd
from lt_core.report.study import METHODS, MissingRuns, Run, Study, same_seeds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEVELS = np.linspace(0, 1, 21)  # of the recorded quantiles of the target's probability
HARD, EASY = 0.2, 0.8  # ALA's borders


def per_class(study: Study, window: int = 11) -> Figure:
    """ALA's Figure 1 for several methods: cross-entropy's classes as points, each one's running mean as a line."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(plots.WIDTH, 3.9))
    for method, runs in main_methods(study).items():
        order = np.argsort(-np.array(runs[0].class_counts), kind="stable")
        accuracy = np.mean([run.last["per_class"] for run in runs], axis=0)[order]
        colour, marker = plots.METHOD_COLOURS.get(method), plots.METHOD_MARKERS.get(method, "o")
        if method == METHODS[0]:
            ax.plot(accuracy, ".", color=colour, ms=5, alpha=0.7)
        ax.plot(_running_mean(accuracy, window), marker=marker, markevery=12, ms=5, color=colour, label=named(runs[0]))
    for border in (34.5, 69.5):
        ax.axvline(border, color=plots.INK, lw=0.8, ls=":")
    ax.set(xlabel="class, largest first", ylabel="test accuracy (%)", ylim=(-3, 103))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def probability_curves(study: Study) -> Figure:
    """ALA's Figure 3: the target's probability over the test images of each group, sorted; mean over seeds."""
    groups = main_methods(study)
    fig, axes = plots.panels(3, 2.0, sharex=True)
    for ax, group in zip(axes, records.GROUPS, strict=True):
        for border in (HARD, EASY):
            ax.axhline(border, color=plots.INK, lw=0.8, ls=":")
        for method, runs in groups.items():
            quantiles = np.mean([run.record["target_probability"][group] for run in runs], axis=0)
            colour, marker = plots.METHOD_COLOURS.get(method), plots.METHOD_MARKERS.get(method, "o")
            ax.plot(
                100 * LEVELS, quantiles, marker=marker, markevery=4, ms=4, lw=1.4, color=colour, label=named(runs[0])
            )
        ax.set(title=group, ylim=(-0.03, 1.03))
    axes[-1].set_xlabel("test images, sorted (%)")
    axes[1].set_ylabel("probability of the target")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def hard_and_easy(study: Study) -> pd.DataFrame:
    """Share of hard (target below 0.2) and easy (above 0.8) test images in percent, read off the sorted curves."""
    import pandas as pd

    rows = {}
    for runs in main_methods(study).values():
        row = {}
        for kind in ("hard", "easy"):
            for group in records.GROUPS:
                shares = [_share(run.record["target_probability"][group], kind) for run in runs]
                row[(f"{kind} (%)", group)] = mean_sd(shares, 0)
        rows[named(runs[0])] = {("", "seeds"): len(runs), **row}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def factors(study: Study) -> Figure:
    """ALA's Figure 4: DF, QF and A over the epochs, mean over the training images of each group and over seeds."""
    rows = _adjustment(study)
    fig, axes = plots.panels(3, 1.8, sharex=True)
    for ax, key in zip(axes, ("DF", "QF", "A"), strict=True):
        plots.group_curves(ax, rows, key)
        ax.set(title=key, ylim=(0, None))
        if (legend := ax.get_legend()) is not None:  # one for all panels is enough
            legend.remove()
        ax.label_outer()
    axes[1].set_ylabel("mean over training images")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def factor_gaps(study: Study) -> pd.DataFrame:
    """Few against many under QF alone and under A = DF x QF: as a difference, and as a ratio."""
    import pandas as pd

    rows = _adjustment(study)
    chosen = {"QF": rows[-1]["QF"]}
    chosen |= {f"{key}, epoch {row['epoch']}": row[key] for key in ("DF", "A") for row in (rows[0], rows[-1])}
    table = {
        name: {"many": many, "medium": medium, "few": few, "few − many": few - many, "few / many": few / many}
        for name, (many, medium, few) in chosen.items()
    }
    return pd.DataFrame.from_dict(table, orient="index").round(2).rename_axis(_ala(study)[0].method)


def row_ratios(study: Study, methods: tuple[str, ...] = ("cross-entropy", "balanced softmax", "LDAM-DRW")) -> Figure:
    """Positive over negative push on each classifier row, in the first and the last epoch; large rows, large dots."""
    runs = _with_pushes(study, methods)
    fig, axes = plots.panels(len(methods), 1.8, sharex=True, sharey=True)
    for ax, run in zip(axes, runs.values(), strict=True):
        order = np.argsort(-np.array(run.class_counts), kind="stable")
        ax.axhline(1, color=plots.INK, lw=0.8)
        for epoch, colour, marker in (("first", plots.PALETTE[1], "o"), ("last", plots.PALETTE[2], "D")):
            positive, negative = _row_pushes(run.pushes()[epoch])
            ratio, size = (positive / negative)[order], 2 + 2 * np.log2(1 + negative[order])
            ax.scatter(range(len(order)), ratio, s=size, marker=marker, color=colour, alpha=0.75, lw=0, label=epoch)
        ax.set(yscale="log", title=named(run))
        ax.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        ax.minorticks_off()
    axes[-1].set_xlabel("class, largest first")
    fig.supylabel("positive / negative push", fontsize=10)
    fig.legend(*axes[0].get_legend_handles_labels(), title="epoch", loc="outside lower center", ncols=2)
    return fig


def row_balance(study: Study) -> pd.DataFrame:
    """Positive over negative push, summed over the rows of each group first: no ratio of two tiny numbers."""
    import pandas as pd

    rows = {}
    for run in with_arrays(study, records.PUSHES).values():
        masks = shot_groups(run.class_counts)
        row: dict[tuple[str, str], Any] = {}
        for epoch, pushes in run.pushes().items():
            positive, negative = _row_pushes(pushes)
            for group, mask in masks.items():
                inside = mask.numpy()
                row[(f"{epoch} epoch", group)] = round(float(positive[inside].sum() / negative[inside].sum()), 2)
        above = (positive > negative)[masks["few"].numpy()].mean()  # of the last epoch
        row[("last epoch", "few-shot rows above 1 (%)")] = round(100 * float(above))
        rows[named(run)] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def who_pushes_whom(
    study: Study, methods: tuple[str, ...] = ("cross-entropy", "balanced softmax", "LDAM-DRW"), blocks: int = 20
) -> Figure:
    """Negative pushes from the images of each class onto each row, in blocks of classes of similar frequency."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    runs = _with_pushes(study, methods)
    fig, axes = plt.subplots(
        len(methods), 2, figsize=(plots.WIDTH, 2.1 * len(methods) + 0.8), sharex=True, sharey=True, squeeze=False
    )
    pictures = {
        (row, column): _block_means(run, run.pushes()[epoch], blocks)
        for row, run in enumerate(runs.values())
        for column, epoch in enumerate(("first", "last"))
    }
    top = max(float(picture.max()) for picture in pictures.values())
    size = len(next(iter(runs.values())).class_counts)
    for (row, column), picture in pictures.items():
        image = axes[row, column].imshow(
            picture.clip(top / 1e4), norm=LogNorm(top / 1e4, top), extent=(0, size, size, 0)
        )
        axes[row, column].grid(False)
        for border in (35, 70):
            axes[row, column].axhline(border, color="white", lw=0.6)
            axes[row, column].axvline(border, color="white", lw=0.6)
        axes[row, column].set_xticks([17, 52, 85], records.GROUPS)
        axes[row, column].set_yticks([17, 52, 85], records.GROUPS, rotation=90, va="center")
    for row, run in enumerate(runs.values()):
        axes[row, 0].set_ylabel(two_lines(named(run)))
    fig.supylabel("images of class", fontsize=10)
    for column, epoch in enumerate(("first", "last")):
        axes[0, column].set_title(f"{epoch} epoch")
        axes[-1, column].set_xlabel("row pushed down")
    bar = fig.colorbar(image, ax=axes, location="bottom", shrink=0.8, aspect=30, pad=0.02)
    bar.set_label("mean push of one class on another")
    return fig


def push_slopes(study: Study, blocks: int = 20) -> pd.DataFrame:
    """How the log of the mean push of `who_pushes_whom` rises with the log count of either side, by least squares.

    A map that is the product of both counts has the slopes 1 and 1, one that forgets the counts 0 and 0. The rest is
    the standard deviation of what the two slopes leave of the log: who is confused with whom.
    """
    import pandas as pd

    rows = {}
    for run in with_arrays(study, records.PUSHES).values():
        count = np.log(np.sort(run.class_counts)[::-1].reshape(blocks, -1)).mean(1)
        row: dict[tuple[str, str], Any] = {}
        for epoch, pushes in run.pushes().items():
            means = np.log(_block_means(run, pushes, blocks)).ravel()
            design = np.column_stack([np.ones(blocks**2), np.repeat(count, blocks), np.tile(count, blocks)])
            coefficients, *_ = np.linalg.lstsq(design, means, rcond=None)
            row[(f"{epoch} epoch", "class that pushes")] = round(float(coefficients[1]), 2) + 0.0  # no "-0.00"
            row[(f"{epoch} epoch", "row pushed")] = round(float(coefficients[2]), 2) + 0.0
            row[(f"{epoch} epoch", "rest")] = round(float((means - design @ coefficients).std()), 2)
        rows[named(run)] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def rebalancing_parts(study: Study) -> pd.DataFrame:
    """What re-balancing divides by, at tau = 1, and what its two parts gain alone: points ± one standard error.

    The log of the column means is a line in the log count, of slope κ, and a rest that no count explains. Each part
    alone is taken off the log probabilities of the canonical run. The error is of the difference on these test images.
    """
    import pandas as pd

    labels, _ = cifar100_test_labels()
    rows = {}
    for run in with_arrays(study, records.PROBABILITIES).values():
        log_p = run.probabilities().double().log()
        mean = log_p.exp().mean(0)
        trend, rest = _trend_and_rest(mean.log(), torch.tensor(run.class_counts).double().log())
        before = (log_p.argmax(1) == labels).double()
        row: dict[tuple[str, str], Any] = {
            ("mass of a class (level: 100)", "least"): round(100 * float(mean.min() / mean.mean())),
            ("mass of a class (level: 100)", "most"): round(100 * float(mean.max() / mean.mean())),
        }
        for name, part in (("trend alone", trend), ("rest alone", rest), ("both", trend + rest)):
            change = 100 * (((log_p - part).argmax(1) == labels).double() - before)
            error = float(change.std()) / len(labels) ** 0.5
            row[("gain when divided by (points)", name)] = f"{float(change.mean()):+.2f} ± {error:.2f}"
        rows[named(run)] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method, seed 0")


def _trend_and_rest(values: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The least-squares line of values (C,) in x (C,), less its mean, and what it leaves."""
    centred, around = x - x.mean(), values - values.mean()
    trend = (centred @ around / (centred @ centred)) * centred
    return trend, around - trend


def ala_ablation(study: Study) -> pd.DataFrame:
    """ALA's Table 4 on CIFAR100-LT as far as it is recorded, its other options, and cross-entropy on both classifiers.

    All rows are at the seeds that all of them have. Beside the accuracies stand the many-shot images that are hard and
    the calibration error, since the paper reads the margin's effect off them.
    """
    import pandas as pd

    rows = {
        name: {
            "few": mean_sd([run.last["few"] for run in group]),
            "all": mean_sd([run.last["top1"] for run in group]),
            **{title: mean_sd([measure(run) for run in group]) for title, measure in MEASURES.items()},
        }
        for name, group in _by_margin(study).items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["margin", "classifier", "DRW"])
    return table


def ala_ablation_changes(study: Study) -> pd.DataFrame:
    """What a margin and what re-weighting change of the last columns of `ala_ablation`, where only this one differs.

    Of LDAM's and ALA's margin, and of none: with the options beside them a family would be too large to resolve much.

    Margins are compared with none on the same classifier and weighting, weights with none at the same margin. A column
    is one family of questions (95 % together), analysed over the seeds that all rows have. Chapter 13 prints it.

    Raises:
        MissingRuns: no two rows differ in one thing alone, or there is one seed.
    """
    import pandas as pd

    none, compared = TABLE4["ce", ()], (TABLE4["ce", ()], TABLE4["ldam", ()], TABLE4["ala", ()])
    groups = {name: group for name, group in _by_margin(study).items() if name[0] in compared}
    margins = [(name, (none, *name[1:])) for name in groups if name[0] != none and (none, *name[1:]) in groups]
    weights = [(name, (*name[:2], "no")) for name in groups if name[2] == "yes" and (*name[:2], "no") in groups]
    if not margins + weights or min(map(len, groups.values())) < 2:
        raise MissingRuns(f"no {study.recipe} runs at two seeds that differ in margin or weighting alone")
    titles = {pair: f"{pair[0][0]} − none" for pair in margins} | {pair: f"weights, {pair[0][0]}" for pair in weights}
    rows: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
    for measure, value in MEASURES.items():
        values = {
            " ".join(name): {run.config.seed: cast(float, value(run)) for run in group}
            for name, group in groups.items()
        }
        found = analyse(values).contrasts([(" ".join(one), " ".join(other)) for one, other in titles])
        for (pair, title), comparison in zip(titles.items(), found, strict=True):
            weighting = pair[0][2] if pair in margins else "yes − no"
            row = rows.setdefault((title, pair[0][1], weighting), {})
            row[measure, "change"], row[measure, "verdict"] = f"{comparison}", comparison.verdict
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["change", "classifier", "DRW"])
    return table


def _by_margin(study: Study) -> dict[tuple[str, str, str], list[Run]]:
    """The runs of cross-entropy, LDAM and ALA by margin, classifier and re-weighting, at the seeds that all have.

    Cosine without and with re-weighting first, since there the margin is all that differs; the linear rows last.

    Raises:
        MissingRuns: no run of ALA.
    """
    runs = [run for run in study.select() if run.config.loss in ("ala", "ldam", "ce")]
    if not any(run.config.loss == "ala" for run in runs):
        raise MissingRuns(f"no {study.recipe} run of ALA")
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        options = tuple(sorted((k, v) for k, v in run.config.loss_options.items() if ALA_DEFAULTS.get(k, ...) != v))
        margin = TABLE4.get((run.config.loss, options), run.method.replace("-DRW", ""))
        name = (margin, str(run.config.classifier), "yes" if run.config.drw else "no")
        groups.setdefault(name, []).append(run)
    kept, _ = same_seeds(groups)
    rank = {name: place for place, name in enumerate(TABLE4.values())}

    def place(name: tuple[str, str, str]) -> tuple[bool, str, int, str]:
        margin, classifier, drw = name
        return classifier != "cosine", drw, rank.get(margin, len(rank)), margin

    return {name: kept[name] for name in sorted(kept, key=place)}


def _hard_head(run: Run) -> float | None:
    return _share(run.record["target_probability"]["many"], "hard")


def _calibration_error(run: Run) -> float | None:
    return run.last["ece"]


MEASURES: dict[str, Callable[[Run], float | None]] = {
    "hard, many (%)": _hard_head,
    "ECE (points)": _calibration_error,
}


# The rows of ALA's Table 4: the loss and those of its options that are not the default.
TABLE4: dict[tuple[str, tuple[tuple[str, Any], ...]], str] = {
    ("ce", ()): "none: cross-entropy",
    ("ldam", ()): "LDAM",
    ("ala", (("quantity", None),)): "DF",
    ("ala", (("difficulty", False),)): "QF",
    ("ala", (("quantity", "ldam"),)): "DF · LDAM",
    ("ala", ()): "DF · QF (ALA)",
}
ALA_DEFAULTS = {name: p.default for name, p in inspect.signature(ALALoss).parameters.items() if name != "class_counts"}


def gala_ablation(study: Study) -> pd.DataFrame:
    """GALA's options and its classifier, beside the released form at lambda (1, 1)."""
    import pandas as pd

    runs = [run for run in study.select() if run.config.loss == "gala"]
    changed = [run for run in runs if run.config.loss_options or run.config.classifier == "cosine"]
    if not changed:
        raise MissingRuns(f"no {study.recipe} run of GALA with an option or a cosine classifier")
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run in changed):
        found.setdefault(run.method, []).append(run)
    rows = {
        name: {
            "seeds": len(group),
            **{key: mean_sd([run.last[key] for run in group]) for key in records.GROUPS},
            "all": mean_sd([run.last["top1"] for run in group]),
            "slope": mean_sd([run.last["column_slope"] for run in group], 2),
        }
        for name, group in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred running mean; at the ends over what there is."""
    ones = np.ones(window)
    mean: NDArray[np.float64] = np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same")
    return mean


def _share(quantiles: Sequence[float] | None, kind: str) -> float | None:
    """Percent of the images below HARD or above EASY, between the recorded quantiles by a straight line."""
    if quantiles is None:
        return None
    if kind == "hard":
        return 100 * float(np.interp(HARD, quantiles, LEVELS))
    return 100 * (1 - float(np.interp(EASY, quantiles, LEVELS)))


def _adjustment(study: Study) -> list[dict[str, Any]]:
    """ALA's factors by epoch, mean over its seeds; only epochs that all seeds' records keep."""
    runs = _ala(study)
    series = [{row["epoch"]: row for row in run.record["adjustment"]} for run in runs]
    shared = sorted(set.intersection(*map(set, series)))
    if not shared:
        raise MissingRuns(f"no epoch whose factors all {study.recipe} runs of {runs[0].method} have kept")
    return [
        {"epoch": epoch, **{key: np.mean([rows[epoch][key] for rows in series], axis=0) for key in ("DF", "QF", "A")}}
        for epoch in shared
    ]


def _ala(study: Study) -> list[Run]:
    """The runs of ALA, or where there are none those of ALA-DRW."""
    there = {run.method for run in study.select()}
    return study.select("ALA-DRW" if "ALA" not in there and "ALA-DRW" in there else "ALA")


def _with_pushes(study: Study, methods: tuple[str, ...]) -> dict[str, Run]:
    runs = with_arrays(study, records.PUSHES)
    missing = [method for method in methods if method not in runs]
    if missing:
        raise MissingRuns(f"no {study.recipe} run of {', '.join(missing)} with {records.PUSHES}")
    return {method: runs[method] for method in methods}


def _row_pushes(pushes: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positive and negative push (C,) on each row; ``pushes[k, j]`` is from images of class k onto row j."""
    own = pushes.diagonal()
    return -own.numpy(), (pushes.sum(0) - own).numpy()


def _block_means(run: Run, pushes: Tensor, blocks: int) -> NDArray[np.float64]:
    """Mean push between two different classes for blocks of classes, the most frequent first."""
    order = np.argsort(-np.array(run.class_counts), kind="stable")
    values = pushes.numpy()[np.ix_(order, order)].copy()
    np.fill_diagonal(values, np.nan)
    size = len(order) // blocks
    means: NDArray[np.float64] = np.nanmean(values.reshape(blocks, size, blocks, size), axis=(1, 3))
    return means


TABLES = (hard_and_easy, factor_gaps, row_balance, push_slopes, rebalancing_parts, ala_ablation, gala_ablation)
FIGURES = (per_class, probability_curves, factors, row_ratios, who_pushes_whom)
