"""The crossed study of chapter 12: the same classes at several frequencies, so that rare and hard come apart.

A rotation by r places gives place c of the profile to the class (c + r) mod 100; the canonical order is the rotation by
none. Every method that has at least two rotations is fitted. The statistics are in `lt_core.report.class_lines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lt_core import plots
from lt_core.data import CIFAR100_CLASSES
from lt_core.metrics import shot_groups
from lt_core.records import GROUPS
from lt_core.report.class_lines import (
    Fit,
    ceiling,
    fit_line,
    half_width,
    log_odds,
    off_the_curve,
    partial_correlation,
    run_variance,
    single_order_slope,
    without_run_noise,
)
from lt_core.report.study import MissingRuns, Run, Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
BASELINE = "cross-entropy (cosine)"


@dataclass(frozen=True)
class Rotations:
    """Accuracy in percent and training images of every class (a row) in every rotation (a column).

    ``name`` is the method's with its classifier.
    """

    name: str
    shifts: tuple[int, ...]
    accuracy: Array
    counts: Array

    def at(self, shifts: tuple[int, ...]) -> Rotations:
        """These rotations only."""
        columns = [self.shifts.index(shift) for shift in shifts]
        return Rotations(self.name, shifts, self.accuracy[:, columns], self.counts[:, columns])


def named(run: Run) -> str:
    """A run's method with its classifier, such as ``ALA (cosine)``."""
    return run.method if run.method.endswith("(cosine)") else f"{run.method} ({run.config.classifier})"


def two_lines(name: str) -> str:
    """A method's name with its classifier below it: two panels abreast have no room for one line."""
    return name.replace(" (", "\n(")


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
    found: dict[str, dict[int, Run]] = {}
    for run in study.select(*methods, class_order="any", seed=0):
        shift = rotation(run.config.class_order)
        if shift is not None:
            found.setdefault(run.method, {})[shift] = run
    enough = {method: dict(sorted(runs.items())) for method, runs in found.items() if len(runs) > 1}
    missing = [method for method in methods if method not in enough]
    if missing or not enough:
        raise MissingRuns(f"no {study.recipe} run of {', '.join(missing) or 'any method'} in a second rotation")
    return {
        method: Rotations(
            named(next(iter(runs.values()))),
            tuple(runs),
            np.stack([np.array(run.last["per_class"]) for run in runs.values()], 1),
            np.stack([np.array(run.class_counts, dtype=float) for run in runs.values()], 1),
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


def crossed_fit(study: Study) -> pd.DataFrame:
    """What a doubling of the images is worth, how far classes differ at equal count, and who explains how much.

    Over each method's `rotations`, which need not be the same for all.
    """
    import pandas as pd

    rows = {}
    for method, runs in rotations(study).items():
        fit = fit_line(runs.accuracy, runs.counts)
        alone = [single_order_slope(a, n) for a, n in zip(runs.accuracy.T, runs.counts.T, strict=True)]
        noise = _run_variance(study, method)
        left = None if noise is None else without_run_noise(fit.effect_sd**2, noise, len(runs.shifts)) ** 0.5
        rows[runs.name] = {
            ("points a doubling", "all orders"): f"{fit.slope:.1f} [{fit.low:.1f}, {fit.high:.1f}]",
            ("points a doubling", "each alone"): f"{min(alone):.1f} to {max(alone):.1f}",
            ("SD of class effects", "found"): f"{fit.effect_sd:.1f}",
            ("SD of class effects", "without runs"): "–" if left is None else f"{left:.1f}",
            **{("share of variance (%)", name): round(100 * share) for name, share in fit.shares.items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def crossed_change(study: Study) -> pd.DataFrame:
    """Each method against cosine cross-entropy, cell by cell, on the rotations that all methods share.

    The ceiling is the correlation that equal class effects would show under the methods' run-to-run noise.
    """
    import pandas as pd

    runs = shared(study)
    base = runs[BASELINE]
    before = fit_line(base.accuracy, base.counts)
    rows = {}
    for method, these in list(runs.items())[1:]:
        change = fit_line(these.accuracy - base.accuracy, base.counts)
        after = fit_line(these.accuracy, these.counts)
        rows[these.name] = {
            ("", "orders"): len(base.shifts),
            ("change", "top-1"): f"{change.mean:+.1f}",
            ("change", "points a doubling"): f"{change.slope:+.1f} [{change.low:+.1f}, {change.high:+.1f}]",
            ("change", "SD of class effects"): f"{after.effect_sd - before.effect_sd:+.1f}",
            ("correlation of effects", "found"): f"{np.corrcoef(before.effects, after.effects)[0, 1]:.2f}",
            ("correlation of effects", "ceiling"): _ceiling(study, method, before, after),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"against {BASELINE}")


def crossed_checks(study: Study) -> pd.DataFrame:
    """Does the straight line in a bounded percentage mislead? A square added, and the fit on log odds instead.

    The last columns are of the class effects on log odds, on the rotations that all methods share: their spread, and
    their correlation with cosine cross-entropy's beside its ceiling.
    """
    import pandas as pd

    common = {method: _on_scale(runs, "log odds") for method, runs in shared(study).items()}
    base = fit_line(common[BASELINE].accuracy, common[BASELINE].counts)
    rows = {}
    for method, runs in rotations(study).items():
        odds = fit_line(_on_scale(runs, "log odds").accuracy, runs.counts)
        bend, straight, square = _bend(runs.accuracy, runs.counts)
        these = fit_line(common[method].accuracy, common[method].counts)
        with_base: dict[tuple[str, str], Any] = {("effects on log odds", "SD"): round(these.effect_sd, 2)}
        if method != BASELINE:
            r = np.corrcoef(base.effects, these.effects)[0, 1]
            with_base[("effects on log odds", "r")] = f"{r:.2f}"
            with_base[("effects on log odds", "ceiling")] = _ceiling(study, method, base, these, scale="log odds")
        rows[runs.name] = {
            ("", "cells at zero (%)"): round(100 * float((runs.accuracy == 0).mean())),
            ("R² within classes", "line"): round(straight, 2),
            ("R² within classes", "square"): round(square, 2),
            **{("slope at … images", f"{n}"): round(bend[0] + 2 * bend[1] * np.log2(n), 1) for n in (10, 50, 250)},
            ("on log odds", "count (%)"): round(100 * odds.shares["count"]),
            ("on log odds", "class (%)"): round(100 * odds.shares["class"]),
            **with_base,
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("method")


def crossed_halves(study: Study, judge: str = "other orders", scale: str = "points") -> pd.DataFrame:
    """What each loss changes for the harder and the easier half of each shot group, over all rotations.

    A class is judged in each order by the accuracies of the *other* orders, less a curve in the count, mean over the
    methods: the cell that a difference explains has no say in it. With ``judge="same cells"`` it is judged by its
    class effect, which has. Changes are in points, or with ``scale="log odds"`` of the mean log odds of a class's
    cells. An interval (95 %) is clustered by class.

    Raises:
        ValueError: another judge or scale.
    """
    import pandas as pd

    runs = shared(study)
    if judge not in JUDGES:
        raise ValueError(f"judge is {judge!r}; it must be one of {', '.join(JUDGES)}")
    ease = np.mean([JUDGES[judge](these) for these in runs.values()], axis=0)
    base = runs[BASELINE]
    measured = {method: _on_scale(these, scale).accuracy for method, these in runs.items()}
    digits = 1 if scale == "points" else 2
    rows = {}
    for group, inside in _shot_masks(base.counts).items():
        if not inside.any():
            continue
        middle = np.nanmedian(np.where(inside, ease, np.nan), axis=0)
        for kind, half in (("harder", ease < middle), ("easier", ease >= middle)):
            mask = inside & half
            row: dict[tuple[str, str], Any] = {("accuracy (%)", BASELINE): f"{base.accuracy[mask].mean():.1f}"}
            for method, these in list(runs.items())[1:]:
                change = measured[method] - measured[BASELINE]
                row[(f"change ({scale})", these.name)] = _clustered(change, mask, digits)
            rows[(group, kind)] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["group", "half"])
    return table


def difficulty_signals(study: Study) -> pd.DataFrame:
    """Do DF and log theta, measured on training images in canonical order, follow the count or the class effect?

    Correlations over the classes; the class effect is cosine cross-entropy's of the crossed study, large for easy. The
    last columns are in logits: by how much the adjusting term of a class is larger if it is one standard deviation
    harder, among the classes of its shot group, at the same count.
    """
    import pandas as pd

    runs = rotations(study, BASELINE)[BASELINE]
    effects = fit_line(runs.accuracy, runs.counts).effects
    rows = {}
    for name, method, key in (("DF", "ALA", "DF"), ("log θ", "GALA", "log_theta")):
        group = study.select(method)
        signal = np.mean([run.record["adjustment_per_class"][key] for run in group], axis=0)
        masks = _shot_masks(np.array(group[0].class_counts, dtype=float))
        count = np.log2(group[0].class_counts)
        row = {
            ("all classes", "log n"): np.corrcoef(signal, count)[0, 1],
            ("all classes", "effect"): np.corrcoef(signal, effects)[0, 1],
            ("effect at equal log n", "all"): partial_correlation(signal, effects, count),
        }
        for shot, mask in masks.items():
            row[("effect at equal log n", shot)] = partial_correlation(signal[mask], effects[mask], count[mask])
        for place, (shot, mask) in enumerate(masks.items()):
            harder = _harder(signal[mask], effects[mask], count[mask])
            row[("logits, 1 SD harder", shot)] = _logits(group, key, place) * harder
        rows[f"{name}: {named(group[0])}"] = {column: round(float(value), 2) for column, value in row.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("signal")


def crossed_extremes(study: Study, number: int = 4) -> pd.DataFrame:
    """The easiest and the hardest classes by their mean effect, and what the canonical order alone says of them."""
    import pandas as pd

    runs = shared(study)
    fits = {method: fit_line(these.accuracy, these.counts) for method, these in runs.items()}
    difficulty = np.mean([fit.effects for fit in fits.values()], axis=0)
    order = np.argsort(-difficulty, kind="stable")
    canonical = study.select(BASELINE, seed=0)[0]
    accuracy = np.array(canonical.last["per_class"])
    rank = np.argsort(np.argsort(-accuracy, kind="stable"), kind="stable") + 1
    rows = {}
    for place, c in [*enumerate(order[:number], 1), *enumerate(order[-number:], len(order) - number + 1)]:
        rows[CIFAR100_CLASSES[c]] = {
            "rank": place,
            **{runs[method].name: f"{fit.effects[c]:+.0f}" for method, fit in fits.items()},
            "images, canonical": int(canonical.class_counts[c]),
            "accuracy, canonical": f"{accuracy[c]:.0f} %",
            "rank by it": int(rank[c]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("class")


def crossed_classes(study: Study, fifth: int = 0, methods: tuple[str, ...] = (BASELINE, "balanced softmax")) -> Figure:
    """Accuracy against training images, a line a class; one fifth of the classes stands out.

    Args:
        study: has the methods in at least two rotations.
        fifth: 0 for the hardest twenty classes by cosine cross-entropy's effect, to 4 for the easiest.
        methods: a panel each.
    """
    runs = rotations(study, *methods)
    base = rotations(study, BASELINE)[BASELINE]
    order = np.argsort(fit_line(base.accuracy, base.counts).effects, kind="stable")
    chosen = set(order[20 * fifth : 20 * fifth + 20].tolist())
    fig, axes = plots.panels(len(methods), 3.0, sharey=True)
    for ax, these in zip(axes, runs.values(), strict=True):
        fit, x = fit_line(these.accuracy, these.counts), np.array([5.0, 500.0])
        for c in [*(c for c in order if c not in chosen), *chosen]:
            turn = np.argsort(these.counts[c])
            colour, width, alpha = (plots.BROWN, 1.3, 1.0) if c in chosen else (plots.GREY, 0.6, 0.4)
            ax.plot(these.counts[c][turn], these.accuracy[c][turn], color=colour, lw=width, alpha=alpha)
        ax.plot(x, fit.mean + fit.slope * (np.log2(x) - np.log2(these.counts).mean()), "--", color=plots.INK, lw=1.4)
        ax.set(xscale="log", xlabel="training images", title=two_lines(these.name), ylim=(-3, 103))
        ax.set_xticks([5, 20, 100, 500], ["5", "20", "100", "500"])
        ax.minorticks_off()
    axes[0].set_ylabel("test accuracy (%)")
    return fig


def crossed_effects(study: Study, named_classes: int = 3) -> Figure:
    """Class effects under every loss against those under cosine cross-entropy: is a hard class hard for all?"""
    runs = shared(study)
    fits = {method: fit_line(these.accuracy, these.counts) for method, these in runs.items()}
    base, others = fits[BASELINE], list(fits)[1:]
    fig, axes = plots.panels(len(others), 3.1, sharex=True, sharey=True)
    reach = 1.1 * max(float(np.abs(fit.effects).max()) for fit in fits.values())
    order = np.argsort(base.effects, kind="stable")
    first, last = order[:named_classes], order[-named_classes:]
    for ax, method in zip(axes, others, strict=True):
        effects = fits[method].effects
        colour, marker = plots.METHOD_COLOURS.get(method), plots.METHOD_MARKERS.get(method, "o")
        ax.plot([-reach, reach], [-reach, reach], ":", color=plots.INK, lw=1)
        ax.plot(base.effects, effects, marker, color=colour, ms=4, alpha=0.8)
        for classes, x, top in ((last, -0.2, 0.92), (first, 0.2, -0.92 + 0.13 * (named_classes - 1))):
            for place, c in enumerate(sorted(classes, key=lambda c: -effects[c])):  # named in a free corner
                ax.annotate(
                    CIFAR100_CLASSES[c].replace("_", " "),
                    (base.effects[c], effects[c]),
                    xytext=(x * reach, (top - 0.13 * place) * reach),
                    ha="right" if x < 0 else "left",
                    va="center",
                    fontsize=plots.SMALLEST,
                    arrowprops={"arrowstyle": "-", "lw": 0.6, "shrinkB": 2},
                )
        correlation = np.corrcoef(base.effects, effects)[0, 1]
        ax.set(title=f"{runs[method].name}\ncorrelation {correlation:.2f}", xlim=(-reach, reach), ylim=(-reach, reach))
    fig.supxlabel(f"class effect under {BASELINE} (points)", fontsize=10)
    axes[0].set_ylabel("class effect (points)")
    return fig


def _on_scale(runs: Rotations, scale: str) -> Rotations:
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; it must be one of {', '.join(SCALES)}")
    return replace(runs, accuracy=SCALES[scale](runs.accuracy))


def _run_variance(study: Study, method: str, scale: str = "points") -> float | None:
    """Run-to-run variance of a class's accuracy over the seeds of the canonical order; None for a single seed."""
    runs = study.select(method)
    return run_variance(SCALES[scale](np.array([run.last["per_class"] for run in runs]))) if len(runs) > 1 else None


def _ceiling(study: Study, method: str, before: Fit, after: Fit, scale: str = "points") -> str:
    noises = [_run_variance(study, name, scale) for name in (BASELINE, method)]
    if noises[0] is None or noises[1] is None:
        return "–"
    orders = len(shared(study)[BASELINE].shifts)
    return f"{ceiling((before.effect_sd**2, after.effect_sd**2), (noises[0], noises[1]), orders):.2f}"


def _bend(accuracy: Array, counts: Array) -> tuple[Array, float, float]:
    """Coefficients of log2 n and its square within classes, and R² within classes of the line and of both."""
    x = np.log2(counts)
    terms = np.stack([x, x**2], 2)
    within = (terms - terms.mean(1, keepdims=True)).reshape(-1, 2)
    target = (accuracy - accuracy.mean(1, keepdims=True)).ravel()

    def explained(columns: Array) -> tuple[Array, float]:
        coefficients, *_ = np.linalg.lstsq(columns, target, rcond=None)
        return coefficients, 1 - float(((target - columns @ coefficients) ** 2).sum() / (target**2).sum())

    bend, square = explained(within)
    return bend, explained(within[:, :1])[1], square


def _by_other_orders(runs: Rotations) -> Array:
    """Ease (C, O) of a class in each order: its mean height over the count's curve in all the other orders."""
    above = np.stack([off_the_curve(a, n) for a, n in zip(runs.accuracy.T, runs.counts.T, strict=True)], 1)
    ease: Array = (above.sum(1, keepdims=True) - above) / (above.shape[1] - 1)
    return ease


def _by_effect(runs: Rotations) -> Array:
    """Ease (C, O) of a class: its effect, the same in every order."""
    return np.repeat(fit_line(runs.accuracy, runs.counts).effects[:, None], len(runs.shifts), axis=1)


def _harder(signal: Array, effects: Array, count: Array) -> float:
    """By how much the signal rises with one standard deviation less of the effect, at equal count."""
    left = effects - np.polyval(np.polyfit(count, effects, 1), count)
    rest = signal - np.polyval(np.polyfit(count, signal, 1), count)
    return -float((rest * left).sum() / (left**2).sum()) * float(left.std())


def _logits(group: list[Run], key: str, place: int) -> float:
    """Adjusting term of a class per unit of the signal: A = s QF DF on the target, A = -lambda log theta.

    ``place`` is that of its shot group in a record.
    """
    options = group[0].config.loss_options
    if key == "log_theta":
        return -float(options.get("lambda_pos", 1.0))
    factors = [run.record["adjustment"][-1]["QF"][place] for run in group]
    return float(options.get("scale", 30.0)) * float(np.mean(factors))


def _shot_masks(counts: Array) -> dict[str, NDArray[np.bool_]]:
    masks = shot_groups(counts.astype(int).ravel().tolist())
    return {group: masks[group].numpy().reshape(counts.shape) for group in GROUPS}


def _clustered(values: Array, mask: NDArray[np.bool_], digits: int = 1) -> str:
    """Mean of the masked values with its interval; the rows (classes) are the independent units."""
    mean = float(values[mask].mean())
    scores = np.where(mask, values - mean, 0.0).sum(1)[mask.any(1)]
    if len(scores) < 2:
        return f"{mean:+.{digits}f} (one class)"
    half = half_width(scores, float(mask.sum()))
    return f"{mean:+.{digits}f} [{mean - half:+.{digits}f}, {mean + half:+.{digits}f}]"


def _hits_to_log_odds(accuracy: Array) -> Array:
    return log_odds(accuracy, images=100)


SCALES: dict[str, Callable[[Array], Array]] = {"points": np.asarray, "log odds": _hits_to_log_odds}
JUDGES = {"other orders": _by_other_orders, "same cells": _by_effect}
TABLES = (crossed_fit, crossed_change, crossed_halves, crossed_checks, difficulty_signals, crossed_extremes)
FIGURES = (crossed_classes, crossed_effects)
