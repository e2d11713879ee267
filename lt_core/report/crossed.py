"""The crossed study of chapter 12: the same classes at several frequencies, so that rare and hard come apart.

A rotation by r places gives place c of the profile to the class (c + r) mod 100; the canonical order is the rotation by
none. Every method that has at least two rotations is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lt_core import plots
from lt_core.data import CIFAR100_CLASSES
from lt_core.metrics import shot_groups
from lt_core.records import GROUPS
from lt_core.report.study import MissingRuns, Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
BASELINE = "cross-entropy (cosine)"


@dataclass(frozen=True)
class Rotations:
    """Accuracy in percent and training images of every class (a row) in every rotation (a column)."""

    shifts: tuple[int, ...]
    accuracy: Array
    counts: Array

    def at(self, shifts: tuple[int, ...]) -> Rotations:
        """These rotations only."""
        columns = [self.shifts.index(shift) for shift in shifts]
        return Rotations(shifts, self.accuracy[:, columns], self.counts[:, columns])


@dataclass(frozen=True)
class Fit:
    """Accuracy of class c in rotation r = ``mean`` + ``effects[c]`` + ``slope`` (log2 n - its mean) + a residual.

    ``low`` and ``high`` are the slope's 95 % interval, clustered by class. ``shares`` holds the parts of the variance
    over all classes and rotations: quantity, class, both (their covariance, twice) and residual; they sum to 1.
    ``effect_sd`` is the standard deviation of the class effects, ``true_sd`` without what the residuals add to it.
    """

    mean: float
    slope: float
    low: float
    high: float
    effects: Array
    effect_sd: float
    true_sd: float
    shares: dict[str, float]


def rotation(class_order: tuple[int, ...] | None) -> int | None:
    """By how many places a class order is turned: 0 for None, None for an order that is no rotation."""
    if class_order is None:
        return 0
    shift, size = class_order[0], len(class_order)
    return shift if class_order == tuple((c + shift) % size for c in range(size)) else None


def rotations(study: Study, *methods: str) -> dict[str, Rotations]:
    """The rotations of each method that has at least two, at seed 0.

    Raises:
        MissingRuns: a named method has fewer, or no method has two.
    """
    found: dict[str, dict[int, tuple[Array, Array]]] = {}
    for run in study.select(*methods, class_order="any", seed=0):
        shift = rotation(run.config.class_order)
        if shift is not None:
            columns = np.array(run.last["per_class"]), np.array(run.class_counts, dtype=float)
            found.setdefault(run.method, {})[shift] = columns
    enough = {method: dict(sorted(runs.items())) for method, runs in found.items() if len(runs) > 1}
    missing = [method for method in methods if method not in enough]
    if missing or not enough:
        raise MissingRuns(f"no {study.recipe} run of {', '.join(missing) or 'any method'} in a second rotation")
    return {
        method: Rotations(
            tuple(runs), np.stack([a for a, _ in runs.values()], 1), np.stack([n for _, n in runs.values()], 1)
        )
        for method, runs in enough.items()
    }


def shared(study: Study) -> dict[str, Rotations]:
    """`rotations`, for comparisons: the same rotations of every method, the baseline first.

    Raises:
        MissingRuns: the baseline or a second method is missing, or they share fewer than two rotations.
    """
    found = {BASELINE: rotations(study, BASELINE)[BASELINE]} | rotations(study)
    common = set.intersection(*(set(runs.shifts) for runs in found.values()))
    if len(found) < 2 or len(common) < 2:
        raise MissingRuns(f"no {study.recipe} run of a second method in the rotations of {BASELINE}")
    return {method: runs.at(tuple(sorted(common))) for method, runs in found.items()}


def fit_line(accuracy: Array, counts: Array) -> Fit:
    """Fit a line in log2 n with one slope and an effect for each class, by least squares.

    Args:
        accuracy, counts: (C, R) with C >= 2 and R >= 2, counts of at least 1 that differ within some class.

    Raises:
        ValueError: shapes that do not fit, or no class whose counts differ.
    """
    from scipy import stats

    if accuracy.shape != counts.shape or accuracy.ndim != 2 or min(accuracy.shape) < 2:
        raise ValueError(f"accuracy {accuracy.shape} and counts {counts.shape}: two equal shapes (C, R) are needed")
    x = np.log2(counts)
    within = x - x.mean(1, keepdims=True)
    power = float((within**2).sum())
    if power == 0:
        raise ValueError("counts are equal in every rotation; a slope needs classes at several frequencies")
    classes, turns = accuracy.shape
    slope = float((within * accuracy).sum() / power)
    effects = accuracy.mean(1) - accuracy.mean() - slope * (x.mean(1) - x.mean())
    residual = accuracy - accuracy.mean() - effects[:, None] - slope * (x - x.mean())
    # Residuals of one class hang together (its own slope differs), so the class is the unit of the interval.
    scores = (within * residual).sum(1)
    error = (classes / (classes - 1) * float((scores**2).sum())) ** 0.5 / power
    half = float(stats.t.ppf(0.975, classes - 1)) * error
    noise = float((residual**2).sum()) / (classes * (turns - 1) - 1) / turns
    total = float(accuracy.var())
    spread = effects[:, None] + 0 * x
    parts = {
        "quantity": slope**2 * float(x.var()),
        "class": float(effects.var()),
        "both": 2 * slope * float((spread * (x - x.mean())).mean()),
        "residual": float((residual**2).mean()),
    }
    variance = float(effects.var(ddof=1))
    return Fit(
        mean=float(accuracy.mean()),
        slope=slope,
        low=slope - half,
        high=slope + half,
        effects=effects,
        effect_sd=variance**0.5,
        true_sd=max(variance - noise, 0.0) ** 0.5,
        shares={name: part / total if total else 0.0 for name, part in parts.items()},
    )


def single_order_slope(accuracy: Array, counts: Array) -> float:
    """Slope of accuracy (C,) on log2 n over the classes of one order, which mixes quantity with difficulty."""
    return float(np.polyfit(np.log2(counts), accuracy, 1)[0])


def crossed_fit(study: Study) -> pd.DataFrame:
    """What a doubling of the images is worth, how far classes differ at equal quantity, and who explains how much."""
    import pandas as pd

    rows = {}
    for method, runs in rotations(study).items():
        fit = fit_line(runs.accuracy, runs.counts)
        alone = [single_order_slope(a, n) for a, n in zip(runs.accuracy.T, runs.counts.T, strict=True)]
        rows[method] = {
            "rotations": len(runs.shifts),
            "top-1": round(fit.mean, 1),
            "points a doubling": f"{fit.slope:.1f} [{fit.low:.1f}, {fit.high:.1f}]",
            "each order alone": f"{min(alone):.1f} to {max(alone):.1f}",
            "sd of class effects": round(fit.effect_sd, 1),
            "noise removed": round(fit.true_sd, 1),
            **{f"{name} (%)": round(100 * share) for name, share in fit.shares.items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def crossed_change(study: Study) -> pd.DataFrame:
    """Each method against cosine cross-entropy, cell by cell, on the rotations that all methods share."""
    import pandas as pd

    runs = shared(study)
    base = runs[BASELINE]
    before = fit_line(base.accuracy, base.counts)
    rows = {}
    for method, these in list(runs.items())[1:]:
        change = fit_line(these.accuracy - base.accuracy, base.counts)
        after = fit_line(these.accuracy, these.counts)
        rows[method] = {
            "rotations": len(base.shifts),
            "top-1": f"{change.mean:+.1f}",
            "points a doubling": f"{change.slope:+.1f} [{change.low:+.1f}, {change.high:+.1f}]",
            "sd of class effects": f"{after.effect_sd - before.effect_sd:+.1f}",
            "correlation of class effects": round(float(np.corrcoef(before.effects, after.effects)[0, 1]), 2),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"against {BASELINE}")


def crossed_checks(study: Study) -> pd.DataFrame:
    """Does the straight line in a bounded percentage mislead? A square added, and the fit on log odds instead."""
    import pandas as pd

    rows = {}
    for method, runs in rotations(study).items():
        line = fit_line(runs.accuracy, runs.counts)
        hits = runs.accuracy  # of 100 test images a class
        odds = fit_line(np.log((hits + 0.5) / (100.5 - hits)), runs.counts)
        x = np.log2(runs.counts)
        terms = np.stack([x, x**2], 2)
        within = (terms - terms.mean(1, keepdims=True)).reshape(-1, 2)
        target = (hits - hits.mean(1, keepdims=True)).ravel()
        bend, *_ = np.linalg.lstsq(within, target, rcond=None)
        square = 1 - ((target - within @ bend) ** 2).sum() / (target**2).sum()
        straight = 1 - line.shares["residual"] * hits.var() * hits.size / (target**2).sum()
        rows[method] = {
            "R² in classes: line": round(float(straight), 2),
            "line and square": round(float(square), 2),
            **{f"slope at {n} images": round(float(bend[0] + 2 * bend[1] * np.log2(n)), 1) for n in (10, 50, 250)},
            "log odds: quantity (%)": round(100 * odds.shares["quantity"]),
            "log odds: class (%)": round(100 * odds.shares["class"]),
            "rank correlation of effects": round(_rank_correlation(line.effects, odds.effects), 2),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def crossed_halves(study: Study) -> pd.DataFrame:
    """What each loss changes for hard and easy classes of each shot group, over all rotations.

    Hard is the half of the classes with the smaller effect, in the mean over the methods. A cell's interval (95 %) is
    clustered by class.
    """
    import pandas as pd

    runs = shared(study)
    difficulty = _mean_effects(runs)
    hard = difficulty < np.median(difficulty)
    base = runs[BASELINE]
    rows = {}
    for group, inside in _shot_masks(base.counts).items():
        for kind, half in (("hard", hard), ("easy", ~hard)):
            mask = inside & half[:, None]
            if not mask.any():
                continue
            row: dict[str, Any] = {BASELINE: f"{base.accuracy[mask].mean():.1f}"}
            for method, these in list(runs.items())[1:]:
                row[method] = _clustered(these.accuracy - base.accuracy, mask)
            rows[(group, kind)] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["group", "classes"])
    return table


def crossed_extremes(study: Study, number: int = 4) -> pd.DataFrame:
    """The easiest and the hardest classes by their mean effect, and what the canonical order alone says of them."""
    import pandas as pd

    runs = shared(study)
    difficulty = _mean_effects(runs)
    order = np.argsort(-difficulty, kind="stable")
    canonical = study.select(BASELINE, seed=0)[0]
    accuracy = np.array(canonical.last["per_class"])
    rank = np.argsort(np.argsort(-accuracy, kind="stable"), kind="stable") + 1
    rows = {}
    for place, c in [*enumerate(order[:number], 1), *enumerate(order[-number:], len(order) - number + 1)]:
        effects = {m: f"{fit_line(r.accuracy, r.counts).effects[c]:+.0f}" for m, r in runs.items()}
        rows[CIFAR100_CLASSES[c]] = {
            "rank": place,
            **effects,
            "images, canonical": int(canonical.class_counts[c]),
            "accuracy, canonical": f"{accuracy[c]:.0f} %",
            "rank by it": int(rank[c]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("class")


def crossed_classes(study: Study, methods: tuple[str, ...] = (BASELINE, "balanced softmax")) -> Figure:
    """Accuracy against training images for four classes: easiest, hardest, and the canonical order's two showpieces."""
    import matplotlib.pyplot as plt

    runs = rotations(study, *methods)
    chosen = showpieces(study)
    fig, axes = plt.subplots(1, len(methods), figsize=(7.4, 3.6), sharey=True, squeeze=False)
    for ax, method in zip(axes[0], methods, strict=True):
        these = runs[method]
        fit, x = fit_line(these.accuracy, these.counts), np.array([5.0, 500.0])
        middle = np.log2(these.counts).mean()
        ax.plot(x, fit.mean + fit.slope * (np.log2(x) - middle), "k--", lw=1, label="mean class, fitted")
        for (role, c), colour, marker in zip(chosen.items(), plots.PALETTE, "os^D", strict=False):
            order = np.argsort(these.counts[c])
            name = f"{CIFAR100_CLASSES[c].replace('_', ' ')} ({role})"
            ax.plot(these.counts[c][order], these.accuracy[c][order], f"{marker}-", color=colour, ms=5, label=name)
        ax.set(xscale="log", xlabel="training images", title=method, ylim=(-3, 103))
        ax.set_xticks([5, 20, 100, 500], ["5", "20", "100", "500"])
        ax.minorticks_off()
    axes[0][0].set_ylabel("test accuracy (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8.5)
    return fig


def showpieces(study: Study) -> dict[str, int]:
    """Four classes by role: easiest and hardest by effect, then head yet hard and tail yet easy in canonical order."""
    runs = rotations(study, BASELINE)[BASELINE]
    effects = fit_line(runs.accuracy, runs.counts).effects
    canonical = study.select(BASELINE, seed=0)[0]
    accuracy = np.array(canonical.last["per_class"])
    masks = _shot_masks(np.array(canonical.class_counts, dtype=float))
    head, tail = np.flatnonzero(masks["many"]), np.flatnonzero(masks["few"])
    chosen: dict[str, int] = {}
    for role, order in (
        ("easiest", np.argsort(-effects, kind="stable")),
        ("hardest", np.argsort(effects, kind="stable")),
        ("head yet hard", head[np.argsort(accuracy[head], kind="stable")]),
        ("tail yet easy", tail[np.argsort(-accuracy[tail], kind="stable")]),
    ):
        chosen[role] = next(int(c) for c in order if c not in chosen.values())
    return chosen


def crossed_effects(study: Study, named: int = 3) -> Figure:
    """Class effects under every loss against those under cosine cross-entropy: is a hard class hard for all?"""
    import matplotlib.pyplot as plt

    runs = shared(study)
    fits = {method: fit_line(these.accuracy, these.counts) for method, these in runs.items()}
    base, others = fits[BASELINE], list(fits)[1:]
    fig, axes = plt.subplots(1, len(others), figsize=(3.7 * len(others), 3.7), sharey=True, squeeze=False)
    reach = 1.1 * max(float(np.abs(fit.effects).max()) for fit in fits.values())
    order = np.argsort(base.effects, kind="stable")
    for ax, method in zip(axes[0], others, strict=True):
        effects = fits[method].effects
        colour, marker = plots.METHOD_COLOURS.get(method), plots.METHOD_MARKERS.get(method, "o")
        ax.plot([-reach, reach], [-reach, reach], "k:", lw=1)
        ax.plot(base.effects, effects, marker, color=colour, ms=4, alpha=0.8)
        for classes, x, top in ((order[-named:], -0.2, 0.92), (order[:named], 0.2, -0.92 + 0.13 * (named - 1))):
            for place, c in enumerate(sorted(classes, key=lambda c: -effects[c])):  # named in a free corner
                ax.annotate(
                    CIFAR100_CLASSES[c].replace("_", " "),
                    (base.effects[c], effects[c]),
                    xytext=(x * reach, (top - 0.13 * place) * reach),
                    ha="right" if x < 0 else "left",
                    va="center",
                    fontsize=8.5,
                    arrowprops={"arrowstyle": "-", "lw": 0.6, "shrinkB": 2},
                )
        correlation = np.corrcoef(base.effects, effects)[0, 1]
        ax.set(title=f"{method}: correlation {correlation:.2f}", xlabel=f"class effect, {BASELINE}")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes[0][0].set_ylabel("class effect (points)")
    return fig


def _mean_effects(runs: dict[str, Rotations]) -> Array:
    """Class effects in the mean over the methods: no method decides by itself which class is hard."""
    effects: Array = np.mean([fit_line(these.accuracy, these.counts).effects for these in runs.values()], axis=0)
    return effects


def _shot_masks(counts: Array) -> dict[str, NDArray[np.bool_]]:
    masks = shot_groups(counts.astype(int).ravel().tolist())
    return {group: masks[group].numpy().reshape(counts.shape) for group in GROUPS}


def _clustered(values: Array, mask: NDArray[np.bool_]) -> str:
    """Mean of the masked values with its interval; the rows (classes) are the independent units."""
    from scipy import stats

    mean, total = float(values[mask].mean()), int(mask.sum())
    scores = np.where(mask, values - mean, 0.0).sum(1)[mask.any(1)]
    if len(scores) < 2:
        return f"{mean:+.1f} (one class)"
    error = (len(scores) / (len(scores) - 1) * float((scores**2).sum())) ** 0.5 / total
    half = float(stats.t.ppf(0.975, len(scores) - 1)) * error
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def _rank_correlation(a: Array, b: Array) -> float:
    from scipy import stats

    return float(stats.spearmanr(a, b).statistic)


TABLES = (crossed_fit, crossed_change, crossed_checks, crossed_halves, crossed_extremes)
FIGURES = (crossed_classes, crossed_effects)
