"""Tables and figures of chapter 10: one ingredient of the recipe changed at a time, the noise of the seeds, the epoch.

Every change is measured against the recipe of the study, so that in a study of ``plain`` a row adds an ingredient and
in one of ``strong`` it takes one away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lt_core import plots
from lt_core.report.statistics import mean_sd, paired_difference
from lt_core.report.study import METHODS, MissingRuns, Run, Study, seeds

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

    Raises:
        MissingRuns: the base is missing, or no run changes an ingredient.
    """
    found = {BASE: study.select(method, imbalance_factor=imbalance_factor)}
    changed = {describe(run.changes): run.changes for run in study if run.changes and run.method == method}
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
    """The standard deviation of a result over seeds.

    Args:
        sd: in points.
        degrees: of freedom, that is runs less groups.
        runs: of the base, whose mean a change is compared with.
    """

    sd: float
    degrees: int
    runs: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the true standard deviation, for normal results."""
        from scipy import stats

        low, high = (self.sd * (self.degrees / stats.chi2.ppf(q, self.degrees)) ** 0.5 for q in (0.975, 0.025))
        return float(low), float(high)

    def needed(self, runs: int = 1) -> float:
        """How far the mean of so many new runs falls from the base's mean in 95 % of cases, if nothing has changed."""
        from scipy import stats

        return float(stats.t.ppf(0.975, self.degrees) * self.sd * (1 / runs + 1 / self.runs) ** 0.5)


def own_noise(runs: Sequence[Run], key: str = "top1") -> Noise:
    """The noise of one group of runs that differ in the seed.

    Raises:
        MissingRuns: there is one run only.
    """
    if len(runs) < 2:
        raise MissingRuns(f"no second seed of {runs[0].folder.name}: its spread cannot be measured")
    return Noise(float(np.std([run.last[key] for run in runs], ddof=1)), len(runs) - 1, len(runs))


def pooled_noise(groups: Mapping[str, Sequence[Run]], base: str, key: str = "top1") -> Noise:
    """The noise of all groups together, if it is the same in all of them.

    Args:
        groups: runs that differ in the seed, by method.
        base: the group whose mean a change is compared with.
        key: of the result.

    Raises:
        MissingRuns: no group has two runs.
    """
    several = [[run.last[key] for run in runs] for runs in groups.values() if len(runs) > 1]
    degrees = sum(len(values) - 1 for values in several)
    if not degrees:
        raise MissingRuns(f"no second seed of any of {', '.join(groups)}: the spread cannot be measured")
    squares = sum((len(values) - 1) * np.var(values, ddof=1) for values in several)
    return Noise(float((squares / degrees) ** 0.5), degrees, len(groups[base]))


def _main_methods(study: Study, imbalance_factor: float) -> dict[str, list[Run]]:
    found = study.by_method(imbalance_factor=imbalance_factor)
    return {name: found[name] for name in METHODS if name in found}


def seed_noise(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> pd.DataFrame:
    """The standard deviation of top-1 over seeds, how well it is known, and what one changed run has to exceed."""
    import pandas as pd

    groups = _main_methods(study, imbalance_factor)
    base = study.select(method, imbalance_factor=imbalance_factor)
    several = {name: runs for name, runs in groups.items() if len(runs) > 1}
    noises = [(method, own_noise(base))]
    noises.append((f"{len(several)} methods, pooled", pooled_noise({**groups, method: base}, method)))
    rows = {}
    for name, noise in noises:
        low, high = noise.interval
        rows[name] = {
            "degrees of freedom": noise.degrees,
            "standard deviation": f"{noise.sd:.2f}",
            "95 % interval": f"{low:.2f} to {high:.2f}",
            "one run has to exceed": f"{noise.needed():.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seeds of")


def ingredients(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> pd.DataFrame:
    """Each change of the recipe: last epoch, distance from the base, and whether the seeds could have done it.

    A single run is compared with the mean of the base, and has to exceed `Noise.needed`: by the seeds of the base
    alone, and by those of all methods, pooled. Several runs are paired with the base's of the same seeds, and the
    bound by the own seeds is that of the paired interval. "train" is the training accuracy of the last epoch, on the
    images as they are augmented.
    """
    import pandas as pd

    found = variants(study, method, imbalance_factor)
    base = found[BASE]
    own = own_noise(base)
    pooled = pooled_noise({**_main_methods(study, imbalance_factor), method: base}, method)
    rows = {}
    for name, runs in found.items():
        row: dict[str, Any] = {"runs": "one run" if len(runs) == 1 else f"{len(runs)} runs"}
        row |= {title: mean_sd([run.last[key] for run in runs]) for key, title in COLUMNS.items()}
        row["train"] = mean_sd([float(run.record["epochs"][-1]["train_top1"]) for run in runs])
        change, bound = _change(runs, base, own)
        row["minus base"] = f"{change:+.1f}"
        row["beyond own seeds"] = _beyond(change, bound)
        row["beyond pooled seeds"] = _beyond(change, pooled.needed(len(runs)))
        if name == BASE:
            row |= dict.fromkeys(("minus base", "beyond own seeds", "beyond pooled seeds"), "–")
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"recipe {study.recipe}, {method}")


def _change(runs: Sequence[Run], base: Sequence[Run], own: Noise) -> tuple[float, float]:
    """The change of top-1, and what it has to exceed by the seeds of the runs and of the base."""
    ours, theirs = ({seed: run.last["top1"] for seed, run in seeds(group).items()} for group in (runs, base))
    if len(set(ours) & set(theirs)) > 1:
        paired = paired_difference(ours, theirs)
        assert paired.high is not None  # there are two pairs
        return paired.mean, paired.high - paired.mean
    return _mean(runs, "top1") - _mean(base, "top1"), own.needed(len(runs))


def _beyond(change: float, bound: float) -> str:
    return f"{'yes' if abs(change) > bound else 'no'} (±{bound:.1f})"


def _mean(runs: Sequence[Run], key: str) -> float:
    return float(np.mean([run.last[key] for run in runs]))


def ingredient_effects(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> Figure:
    """The same as dots: what each change adds to top-1 and to each group.

    One run has to leave the grey band (pooled seeds) or the dashed lines (the base's own seeds).
    """
    import matplotlib.pyplot as plt

    found = variants(study, method, imbalance_factor)
    base, groups = found[BASE], {**_main_methods(study, imbalance_factor), method: found[BASE]}
    keys = [key for key in COLUMNS if base[0].last[key] is not None]
    height = 1.5 + 0.3 * len(found)
    fig, axes = plt.subplots(1, len(keys), figsize=(7.6, height), sharey=True, squeeze=False)
    for ax, key in zip(axes[0], keys, strict=True):
        centre = _mean(base, key)
        own, pooled = own_noise(base, key).needed(), pooled_noise(groups, method, key).needed()
        ax.axvspan(-pooled, pooled, color=plots.GREY, alpha=0.25, lw=0, label="pooled seeds")
        for edge in (-own, own):
            ax.axvline(edge, color=plots.GREY, lw=1, ls="--", label="own seeds" if edge > 0 else None)
        ax.axvline(0, color="black", lw=0.8)
        for row, runs in enumerate(found.values()):
            values = [run.last[key] - centre for run in runs]
            style = ("o", plots.GREY) if row == 0 else ("D", plots.BLUE)
            ax.plot(values, [row] * len(values), style[0], color=style[1], ms=6)
        ax.set(title=COLUMNS[key], xlabel="points")
        ax.margins(x=0.1)
    axes[0][0].set(yticks=range(len(found)), yticklabels=list(found), ylim=(len(found) - 0.5, -0.5))
    handles, labels = axes[0][0].get_legend_handles_labels()
    title = "one run has to leave the band, and the dashed lines"
    fig.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, title=title)
    return fig


def augmentation_curves(study: Study, method: str = "cross-entropy", imbalance_factor: float = 100) -> Figure:
    """Training and test accuracy by epoch under every recorded augmentation, one seed each.

    Training accuracy is measured on the augmented images while the weights still move.
    """
    import matplotlib.pyplot as plt

    found = variants(study, method, imbalance_factor)
    firsts = [group[0] for group in found.values()]
    runs = {str(run.config.augmentation): run for run in firsts if set(run.changes) <= {"augmentation"}}
    if len(runs) < 2:
        raise MissingRuns(f"no {study.recipe} run of {method} with another augmentation")
    styles = {"none": (plots.ORANGE, ":s"), "crop_flip": (plots.GREY, "-o"), "autoaugment": (plots.BLUE, "--D")}
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), sharex=True)
    for name, (colour, style) in styles.items():
        if name not in runs:
            continue
        for ax, key in zip(axes, ("train_top1", "top1"), strict=True):
            rows = runs[name].tested if key == "top1" else runs[name].record["epochs"]
            ax.plot(
                [row["epoch"] for row in rows], [row[key] for row in rows], style,
                markevery=max(1, len(rows) // 6), ms=5, color=colour, label=VALUES[name],
            )  # fmt: skip
    for ax, title in zip(axes, ("training images, as augmented", "test images"), strict=True):
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("top-1 (%)")
    axes[0].legend(loc="lower right", fontsize=9)
    return fig


def selection(study: Study, imbalance_factor: float = 100) -> pd.DataFrame:
    """Best epoch on test minus last epoch, in points of top-1, for every method and every changed ingredient.

    "epoch to epoch" is the standard deviation of one epoch's top-1, from the differences of neighbouring recorded
    epochs, in the middle (50 to 80 %) and at the end (the last fifth) of the run; mean over the runs.
    """
    import pandas as pd

    groups: dict[str, list[Run]] = dict(_main_methods(study, imbalance_factor))
    if not groups:
        raise MissingRuns(f"no {study.recipe} run of a main method (imbalance_factor {imbalance_factor})")
    try:
        changed = variants(study, METHODS[0], imbalance_factor)
    except MissingRuns:
        changed = {}
    groups |= {f"{METHODS[0]}, {name}": runs for name, runs in changed.items() if name != BASE}
    rows = {}
    for name, runs in groups.items():
        gaps = [run.best["top1"] - run.last["top1"] for run in runs]
        rows[name] = {
            "runs": len(runs),
            "last": mean_sd([run.last["top1"] for run in runs]),
            "best (sees the test set)": mean_sd([run.best["top1"] for run in runs]),
            "best minus last": mean_sd(gaps, 2),
            "largest": f"{max(gaps):.2f}",
            "epoch to epoch, middle": _jump(runs, 0.5, 0.8),
            "epoch to epoch, end": _jump(runs, 0.8, 1.0),
            "best epochs": ", ".join(str(run.best["epoch"]) for run in runs),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _jump(runs: Sequence[Run], start: float, end: float) -> str:
    """The standard deviation of one epoch's top-1 between two fractions of the run, from neighbours' differences."""
    values = []
    for run in runs:
        epochs = int(run.config.epochs or 0)
        top1 = [row["top1"] for row in run.tested if start * epochs < row["epoch"] <= end * epochs]
        if len(top1) > 2:
            values.append(float(np.std(np.diff(top1), ddof=1)) / 2**0.5)
    return f"{np.mean(values):.2f}" if values else "–"


RECIPE, LOSS, BOTH = "the recipe changes, the loss stays", "the loss changes, the recipe stays", "both change"


@dataclass(frozen=True)
class Pair:
    """Two published top-1 accuracies on CIFAR100-LT, and what changed between them.

    Args:
        block: `RECIPE`, `LOSS` or `BOTH`.
        what: what changed.
        where: the method or the recipe that both have.
        imbalance_factor: of both.
        before, after: percent, as printed; an error rate is taken from 100.
        source: repository on GitHub, and the place in it; a notebook cuts a text off after 50 characters.
    """

    block: str
    what: str
    where: str
    imbalance_factor: int
    before: float
    after: float
    source: str


NCL = "Bazinga699/NCL, issue 2"
TRICKS = "zhangyongshun/BagofTricks-LT, trick_gallery.md"
BALMS = "jiawei-ren/BalancedMetaSoftmax-Classification"
PAIRS = (
    Pair(RECIPE, "crop and flip → RandAugment", "NCL, one network of three; 400 epochs", 100, 47.93, 53.31, NCL),
    Pair(RECIPE, "crop and flip → RandAugment", "NCL, ensemble of three; 400 epochs", 100, 49.22, 54.42, NCL),
    Pair(RECIPE, "200 → 400 epochs, and mixup", "cross-entropy; crop, flip", 100, 38.32, 40.82, TRICKS),
    Pair(RECIPE, "200 → 400 epochs", "ProCo; AutoAugment, Cutout", 100, 52.8, 54.2, "LeapLabTHU/ProCo, README"),
    Pair(
        RECIPE, "another repository; weight decay 2e-4 → 5e-4", "balanced softmax; 200 epochs; crop, flip", 100,
        42.99, 46.47, "BagofTricks-LT, trick_gallery.md; OpenLT, README",
    ),
    Pair(LOSS, "cross-entropy → balanced softmax", "200 epochs; crop, flip", 100, 38.32, 42.99, TRICKS),
    Pair(LOSS, "cross-entropy → LDAM-DRW", "200 epochs; crop, flip", 100, 38.32, 42.47, TRICKS),
    Pair(
        LOSS, "cross-entropy → logit-adjusted", "1419 epochs; other blocks; pad 2, flip", 100, 39.87, 44.06,
        "google-research/google-research, logit_adjustment",
    ),
    Pair(
        LOSS, "cross-entropy → balanced softmax", "13,000 steps of 512; AutoAugment, Cutout", 200, 41.2, 46.7, BALMS
    ),
    Pair(
        BOTH, "GCL → GALA, re-balanced", "mixup → AutoAugment, Cutout; two stages → one", 200, 44.88, 48.5,
        "GALA's abstract: 48.5, by 3.62 above GCL",
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
                "difference": f"{pair.after - pair.before:+.1f}",
                "source": pair.source,
            }
        )
    index = pd.Index(sorted((pair.block for pair in PAIRS), key=(RECIPE, LOSS, BOTH).index), name="published")
    return pd.DataFrame(rows, index=index)


TABLES = (seed_noise, ingredients, selection, published_pairs)
FIGURES = (ingredient_effects, augmentation_curves)
