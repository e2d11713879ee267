"""Tables and figures of chapter 10: one ingredient of the recipe changed at a time, the noise of the seeds, the epoch.

Every change is compared with the recipe of the study, so that in a study of ``plain`` a row adds an ingredient and
in one of ``strong`` it takes one away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lt_core import plots
from lt_core.report.statistics import Analysis, analyse, bonferroni_quantile, mean_sd
from lt_core.report.study import METHODS, MissingRuns, Run, Study, same_seeds, seeds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BASE = "as the recipe"
COLUMNS = {"top1": "top-1", "many": "many", "medium": "medium", "few": "few"}
# How a changed ingredient is called, in the order of the tables, and some of its values.
NAMES = {
    "augmentation": "augmentation",
    "schedule": "schedule",
    "weight_decay": "weight decay",
    "batch_size": "batch",
    "learning_rate": "learning rate",
    "classifier_init": "initial classifier",
    "epochs": "epochs",
    "backbone": "network",
}
VALUES = {
    "none": "none",
    "crop_flip": "crop, flip",
    "autoaugment": "AutoAugment, Cutout",
    "step": "steps",
    "cosine": "half cosine",
    "annealing": "half cosine",
    "kaiming": "Kaiming",
    "default": "PyTorch's",
    "resnet8": "ResNet-8",
    "resnet32": "ResNet-32",
}


def describe(changes: Mapping[str, Any]) -> str:
    """Changed ingredients in words.

    Example:
        >>> describe({"batch_size": 64, "weight_decay": 5e-4})
        'weight decay 0.0005, batch 64'
    """
    words = {key: VALUES.get(value) or f"{value:g}" for key, value in changes.items()}
    return ", ".join(f"{name} {words[key]}" for key, name in NAMES.items() if key in words) or BASE


def variants(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> dict[str, list[Run]]:
    """The runs of a method by what they have otherwise than the recipe: the base, then one ingredient, then more.

    A run of another network or length belongs to another study and is no ingredient.

    Raises:
        MissingRuns: the base is missing, or no run changes an ingredient.
    """
    found = {BASE: study.select(method, imbalance_factor=imbalance_factor)}
    runs = [
        run for run in study if run.changes and run.method == method and not {"backbone", "epochs"} & set(run.changes)
    ]
    changed = {describe(run.changes): run.changes for run in runs}
    for name in sorted(changed, key=lambda name: _place(changed[name])):
        try:
            found[name] = study.select(method, changes=changed[name], imbalance_factor=imbalance_factor)
        except MissingRuns:  # the change is recorded for another imbalance factor, subset or class order
            continue
    if len(found) == 1:
        raise MissingRuns(
            f"no {study.recipe} run of {method} with another ingredient (imbalance_factor {imbalance_factor})"
        )
    return found


def _place(changes: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a change stands in the table."""
    places = [place for place, key in enumerate(NAMES) if key in changes]
    return len(places), places, describe(changes)


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a result from run to run, and how well it is known.

    Args:
        sd: estimated, in points.
        degrees: of freedom.
    """

    sd: float
    degrees: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the true standard deviation, for normal results."""
        from scipy import stats

        low, high = (self.sd * (self.degrees / stats.chi2.ppf(q, self.degrees)) ** 0.5 for q in (0.975, 0.025))
        return float(low), float(high)

    def needed(self, shared: int = 1, comparisons: int = 1) -> float:
        """How far two means over the same seeds lie apart in 95 % of cases where nothing has changed.

        Args:
            shared: how many seeds both have; 1 compares two single runs.
            comparisons: how many such differences stay inside together in 95 % of cases (Bonferroni).
        """
        return bonferroni_quantile(comparisons, self.degrees) * self.sd * (2 / shared) ** 0.5


def run_noise(study: Study, imbalance_factor: float = 100) -> Noise:
    """The noise of top-1 in all main methods together: what method and seed leave over, if it is the same in all.

    Raises:
        MissingRuns: fewer than two methods share fewer than two seeds.
    """
    return _noise(_several_seeds(study, imbalance_factor))


def _noise(table: Analysis) -> Noise:
    assert table.sd is not None  # `_several_seeds` gives no table without degrees of freedom
    return Noise(table.sd, table.degrees)


def _several_seeds(study: Study, imbalance_factor: float) -> Analysis:
    """Top-1 of the main methods that have several seeds, at the seeds that all of them have."""
    groups = {name: runs for name, runs in _main_methods(study, imbalance_factor).items() if len(runs) > 1}
    kept = same_seeds(groups)[0] if groups else {}
    if len(kept) < 2 or len(next(iter(kept.values()))) < 2:
        raise MissingRuns(
            f"no two main methods of {study.recipe} with two common seeds (imbalance_factor {imbalance_factor}): "
            "the noise from run to run cannot be measured"
        )
    return analyse({name: {seed: run.last["top1"] for seed, run in seeds(runs).items()} for name, runs in kept.items()})


def _main_methods(study: Study, imbalance_factor: float) -> dict[str, list[Run]]:
    found = study.by_method(imbalance_factor=imbalance_factor)
    return {name: found[name] for name in METHODS if name in found}


def seed_noise(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Top-1 of every method at every seed, its standard deviation, and that of all methods together."""
    import pandas as pd

    table = _several_seeds(study, imbalance_factor)
    groups = _main_methods(study, imbalance_factor)
    rows: dict[str, dict[str, str]] = {}
    for name, values in zip(table.methods, table.values, strict=True):
        own = Noise(float(values.std(ddof=1)), len(table.seeds) - 1)
        rows[name] = {"classifier": str(groups[name][0].config.classifier)}
        rows[name] |= {f"seed {seed}": f"{value:.1f}" for seed, value in zip(table.seeds, values, strict=True)}
        rows[name] |= _spread(own)
    empty = dict.fromkeys(("classifier", *(f"seed {seed}" for seed in table.seeds)), "–")
    rows["all, method and seed removed"] = empty | _spread(_noise(table))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"recipe {study.recipe}")


def _spread(noise: Noise) -> dict[str, str]:
    low, high = noise.interval
    return {
        "SD": f"{noise.sd:.2f}",
        "degrees of freedom": str(noise.degrees),
        "95 % interval of the SD": f"{low:.2f} to {high:.2f}",
    }


def change_from_base(runs: Sequence[Run], base: Sequence[Run]) -> tuple[float, int]:
    """The mean difference of top-1 over the seeds that both have, and how many these are.

    Raises:
        MissingRuns: they share no seed.
    """
    ours, theirs = ({seed: run.last["top1"] for seed, run in seeds(group).items()} for group in (runs, base))
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise MissingRuns(f"{runs[0].folder.name} and {base[0].folder.name} share no seed")
    return float(np.mean([ours[seed] - theirs[seed] for seed in shared])), len(shared)


def noise_alone(runs: Sequence[Run], base: Sequence[Run], noise: Noise, comparisons: int) -> float:
    """What a change has to exceed: by the common noise, and by that of the two groups where theirs is larger."""
    _, shared = change_from_base(runs, base)
    several = [[run.last["top1"] for run in group] for group in (runs, base)]
    sd = noise.sd
    if len(runs) > 1 < len(base):
        sd = max(sd, float(np.mean([np.var(values, ddof=1) for values in several])) ** 0.5)
    return replace(noise, sd=sd).needed(shared, comparisons)


def ingredients(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> pd.DataFrame:
    """Each change of the recipe: last epoch, distance from the base's runs of the same seeds, and that of noise alone.

    "noise alone" is where the differences of all rows together lie in 95 % of cases if no change did anything; a
    single run has a number and this width, and no verdict. "train" is the training accuracy of the last epoch, on the
    images as they are augmented. Only top-1 has its standard deviation: with all of them the table leaves the page.
    """
    import pandas as pd

    found = variants(study, method, imbalance_factor)
    base, noise = found[BASE], run_noise(study, imbalance_factor)
    rows = {}
    for name, runs in found.items():
        row: dict[str, Any] = {"seeds": ", ".join(str(seed) for seed in sorted(seeds(runs)))}
        row |= {title: mean_sd([run.last[key] for run in runs]) for key, title in COLUMNS.items()}
        row["train"] = mean_sd([float(run.record["epochs"][-1]["train_top1"]) for run in runs])
        row |= {title: row[title].partition(" ±")[0] for title in ("many", "medium", "few", "train")}
        row["minus base"] = f"{change_from_base(runs, base)[0]:+.1f}" if name != BASE else "–"
        row["noise alone"] = f"± {noise_alone(runs, base, noise, len(found) - 1):.1f}" if name != BASE else "–"
        rows[name] = row
    title = f"recipe {study.recipe}, {method}, {base[0].config.classifier} classifier"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(title)


# What each change of the loss is compared with: the run that lacks it, on the same classifier.
LOSSES = {
    "balanced softmax": "cross-entropy",
    "GALA": "cross-entropy",
    "LDAM-DRW": "cross-entropy (cosine)",
    "ALA": "cross-entropy (cosine)",
}


def moves(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> Figure:
    """What a changed ingredient and what a changed loss do to top-1: a dot a seed, minus the run without the change.

    The grey band is where one such difference lies in 95 % of cases if nothing but noise is at work.
    """
    import matplotlib.pyplot as plt

    found = variants(study, method, imbalance_factor)
    base = found.pop(BASE)
    groups = _main_methods(study, imbalance_factor)
    rows = [(name, runs, base, plots.INK, "D") for name, runs in found.items()]
    if (cosine := f"{method} (cosine)") in groups:
        rows.append(("classifier cosine", groups[cosine], base, plots.INK, "D"))
    losses = {name: against for name, against in LOSSES.items() if name in groups and against in groups}
    rows += [
        (name, groups[name], groups[against], plots.METHOD_COLOURS[name], plots.METHOD_MARKERS[name])
        for name, against in losses.items()
    ]
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 0.8 + 0.3 * len(rows)))
    needed = run_noise(study, imbalance_factor).needed()
    ax.axvspan(-needed, needed, color=plots.GREY, alpha=0.2, lw=0)
    ax.axvline(0, color=plots.INK, lw=0.8)
    for place, (_, runs, without, colour, marker) in enumerate(rows):
        ours, theirs = seeds(runs), seeds(without)
        values = [ours[seed].last["top1"] - theirs[seed].last["top1"] for seed in sorted(set(ours) & set(theirs))]
        ax.plot(values, [place] * len(values), marker, color=colour, ms=6)
    border = len(rows) - len(losses)
    ax.axhline(border - 0.5, color=plots.INK, lw=0.8, ls=":")
    across = ax.get_yaxis_transform()
    ax.text(0.99, 0, "the recipe changes", transform=across, ha="right", va="center")
    ax.text(0.01, len(rows) - 1, "the loss changes", transform=across, va="center")
    short = [name.removeprefix("augmentation ") if "," in name else name for name, *_ in rows]  # says what it is
    labels = [name if name not in losses else f"{name}, {groups[name][0].config.classifier}" for name in short]
    ax.set(yticks=range(len(rows)), yticklabels=labels, ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel("change of top-1 (points)")
    return fig


def augmentation_curves(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> Figure:
    """Training and test accuracy by epoch under every recorded augmentation, one seed each.

    Training accuracy is measured on the augmented images while the weights still move.
    """
    found = variants(study, method, imbalance_factor)
    firsts = [group[0] for group in found.values()]
    runs = {str(run.config.augmentation): run for run in firsts if set(run.changes) <= {"augmentation"}}
    if len(runs) < 2:
        raise MissingRuns(f"no {study.recipe} run of {method} with another augmentation")
    styles = {
        "none": (":s", plots.PALETTE[0]),
        "crop_flip": ("-o", plots.GREY),
        "autoaugment": ("--D", plots.PALETTE[1]),
    }
    fig, axes = plots.panels(2, 2.9, sharex=True)
    for name, (style, colour) in styles.items():
        if name not in runs:
            continue
        for ax, key in zip(axes, ("train_top1", "top1"), strict=True):
            rows = runs[name].tested if key == "top1" else runs[name].record["epochs"]
            ax.plot(
                [row["epoch"] for row in rows], [row[key] for row in rows], style,
                markevery=max(1, len(rows) // 6), ms=5, color=colour, label=VALUES[name],
            )  # fmt: skip
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(runs))
    for ax, title in zip(axes, ("training, as augmented", "test"), strict=True):
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("top-1 (%)")
    return fig


def selection(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Best epoch on test and last epoch, in top-1, for every method and for other schedules.

    "largest gap" is best minus last of the run where it is largest. "epoch to epoch" is the standard deviation of one
    epoch's top-1, from the differences of neighbouring recorded epochs, in the middle (50 to 80 %) and at the end (the
    last fifth) of the run; mean over the runs. A row without ± is one run.
    """
    import pandas as pd

    groups: dict[str, list[Run]] = dict(_main_methods(study, imbalance_factor))
    if not groups:
        raise MissingRuns(f"no {study.recipe} run of a main method (imbalance_factor {imbalance_factor})")
    try:
        changed = variants(study, METHODS[0], imbalance_factor)
    except MissingRuns:
        changed = {}
    schedules = {name: runs for name, runs in changed.items() if set(runs[0].changes) == {"schedule"}}
    groups |= {f"{METHODS[0]}, {name}": runs for name, runs in schedules.items()}
    rows = {}
    for name, runs in groups.items():
        rows[name] = {
            "classifier": str(runs[0].config.classifier),
            "last": mean_sd([run.last["top1"] for run in runs]),
            "best (sees the test set)": mean_sd([run.best["top1"] for run in runs]),
            "largest gap": f"{max(run.best['top1'] - run.last['top1'] for run in runs):.2f}",
            "epoch to epoch, middle": _jump(runs, 0.5, 0.8),
            "epoch to epoch, end": _jump(runs, 0.8, 1.0),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"recipe {study.recipe}")


def _jump(runs: Sequence[Run], start: float, end: float) -> str:
    """The standard deviation of one epoch's top-1 between two fractions of the run, from neighbours' differences."""
    values = []
    for run in runs:
        epochs = int(run.config.epochs or 0)
        top1 = [row["top1"] for row in run.tested if start * epochs < row["epoch"] <= end * epochs]
        if len(top1) > 2:
            values.append(float(np.std(np.diff(top1), ddof=1)) / 2**0.5)
    return f"{np.mean(values):.2f}" if values else "–"


RECIPE, LOSS, BOTH = "recipe", "loss", "both"  # what changes between the two numbers of a pair


@dataclass(frozen=True)
class Pair:
    """Two published top-1 accuracies on CIFAR100-LT, and what changed between them.

    Args:
        block: `RECIPE`, `LOSS` or `BOTH`.
        what: what changed.
        where: the method or the recipe that both have.
        imbalance_factor: of both.
        before, after: percent, as printed; an error rate is taken from 100.
        source: repository (`published` has its owner) and the place in it, short: a wide table leaves the page.
    """

    block: str
    what: str
    where: str
    imbalance_factor: int
    before: float
    after: float
    source: str


NCL = "NCL, issue 2"
TRICKS = "BagofTricks-LT"  # cross-entropy: the README's "baselines using our codes"; the gallery's row is of other code
BALMS = "BALMS"
PAIRS = (
    Pair(RECIPE, "crop and flip → RandAugment", "NCL, one network of three; 400 epochs", 100, 47.93, 53.31, NCL),
    Pair(RECIPE, "crop and flip → RandAugment", "NCL, ensemble of three; 400 epochs", 100, 49.22, 54.42, NCL),
    Pair(RECIPE, "200 → 400 epochs, and mixup", "cross-entropy; crop, flip", 100, 37.73, 40.82, TRICKS),
    Pair(RECIPE, "200 → 400 epochs", "ProCo; AutoAugment, Cutout", 100, 52.8, 54.2, "ProCo, README"),
    Pair(
        RECIPE, "another repository; weight decay 2e-4 → 5e-4", "balanced softmax; 200 epochs; crop, flip", 100,
        42.99, 46.47, "BagofTricks-LT; OpenLT",
    ),
    Pair(LOSS, "cross-entropy → balanced softmax", "200 epochs; crop, flip", 100, 37.73, 42.99, TRICKS),
    Pair(LOSS, "cross-entropy → LDAM-DRW", "200 epochs; crop, flip", 100, 37.73, 42.47, TRICKS),
    Pair(
        LOSS, "cross-entropy → logit-adjusted", "1419 epochs; other blocks; pad 2, flip", 100, 39.87, 44.06,
        "google-research",
    ),
    Pair(
        LOSS, "cross-entropy → balanced softmax", "13,000 steps of 512; AutoAugment, Cutout", 200, 41.2, 46.7, BALMS
    ),
    Pair(
        BOTH, "GCL → GALA, re-balanced", "mixup → AutoAugment, Cutout; two stages → one?", 200, 44.88, 48.5,
        "GALA's abstract",
    ),
)  # fmt: skip


def published_pairs(study: Study) -> pd.DataFrame:
    """Published accuracies in pairs: what a change of the recipe was worth, and what a change of the loss.

    The same for every study, whose results are never in it.
    """
    import pandas as pd

    del study
    rows = []
    for pair in sorted(PAIRS, key=lambda pair: (RECIPE, LOSS, BOTH).index(pair.block)):
        rows.append(
            {
                "changes": pair.what,
                "method or recipe of both": pair.where,
                "IF": pair.imbalance_factor,
                "before": f"{pair.before:.2f}",
                "after": f"{pair.after:.2f}",
                "gain": f"{pair.after - pair.before:+.1f}",
                "source": pair.source,
            }
        )
    index = pd.Index(sorted((pair.block for pair in PAIRS), key=(RECIPE, LOSS, BOTH).index), name="changed")
    return pd.DataFrame(rows, index=index)


TABLES = (seed_noise, ingredients, selection, published_pairs)
FIGURES = (moves, augmentation_curves)
