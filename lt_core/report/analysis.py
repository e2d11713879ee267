"""What the recorded predictions say (chapter 13): the prior that is left, calibration, and where the errors go."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lt_core import plots, records
from lt_core.metrics import shot_groups
from lt_core.posthoc import adjust_logits
from lt_core.report.crossed import named
from lt_core.report.statistics import mean_sd
from lt_core.report.study import METHODS, MissingRuns, Run, Study, book_file
from lt_core.training.evaluation import corrects_counts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BALANCED = "balanced softmax"
SHARED = "pairs shared with balanced softmax (%)"
SHUFFLES = 5  # of the errors, for what two methods share by lot


def cifar100_test_labels() -> tuple[Tensor, Tensor]:
    """Labels of CIFAR-100's official test images, in their order, and the superclass of each label.

    They are facts about the data set, read from its official file ``test`` once; a test compares them with it.

    Returns:
        Labels (10000,) int64 in [0, 100), and superclasses (100,) int64 in [0, 20).

    Raises:
        MissingRuns: the working directory is in no clone of the book, which holds the file.
        lt_core.records.RecordError: the file cannot be read.
    """
    path = book_file("results/cifar100_test_labels.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file["labels"]).long(), torch.from_numpy(file["superclass"]).long()
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
        raise records.RecordError(f"{path} cannot be read: {error}") from None


def with_arrays(study: Study, file: str) -> dict[str, Run]:
    """The run of seed 0 of each method that has ``probabilities.npz`` or ``pushes.npz`` beside its record.

    Raises:
        MissingRuns: there is none.
    """
    found = {run.method: run for run in study.select(seed=0) if (run.folder / file).exists()}
    if not found:
        raise MissingRuns(f"no {study.recipe} run of any method with {file}")
    return found


def main_methods(study: Study) -> dict[str, list[Run]]:
    """The six methods that the chapters compare, if a study has them all: other records change none of its tables.

    A study that lacks one of the six is shown whole, each method in its place.

    Raises:
        MissingRuns: there is no run.
    """
    found = study.by_method()
    return {method: found[method] for method in METHODS} if found.keys() >= set(METHODS) else found


def corrects(run: Run) -> bool:
    """Whether the training has corrected for the class counts already, by its loss, weights, sampler or procedure."""
    return bool(corrects_counts(run.config))


def prior_and_calibration(study: Study) -> pd.DataFrame:
    """Slope of the column means, accuracy and calibration error, as trained and after a post-hoc step.

    The gain of re-balancing is against the same network, seed by seed. Its interval (95 %, for all rows together by
    Bonferroni) has the standard deviation of the gains pooled over the methods, or the method's own if that is larger.
    A dagger marks what takes the prior off a loss that has corrected for it already.
    """
    import pandas as pd

    groups = main_methods(study)
    gains = {}
    for method, runs in groups.items():
        gains[method] = [run.record["posthoc"]["rebalance"]["top1"] - run.last["top1"] for run in runs]
    halves = joint_half_widths(gains)
    rows = {}
    for method, runs in groups.items():
        mean, half = float(np.mean(gains[method])), halves[method]
        twice = "†" if corrects(runs[0]) else ""
        adjusted = [run.record["posthoc"]["adjust"] for run in runs]
        interval = "" if half is None else f" [{mean - half:.1f}, {mean + half:.1f}]"
        rows[named(runs[0])] = {
            ("", "κ"): mean_sd([run.last["column_slope"] for run in runs], 2),
            ("top-1 (%)", "as trained"): mean_sd([run.last["top1"] for run in runs]),
            ("top-1 (%)", "adjusted"): mean_sd([after["top1"] for after in adjusted]) + twice,
            ("top-1 (%)", "gain of re-balancing"): f"{mean:+.1f}{interval}",
            ("ECE (points)", "as trained"): mean_sd([run.last["ece"] for run in runs]),
            ("ECE (points)", "adjusted"): mean_sd([after["ece"] for after in adjusted]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def joint_half_widths(values: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """Half a 95 % interval of each row's mean, all rows together (Bonferroni); None for all where one has one value.

    The standard deviation is the one pooled over the rows, or a row's own if that is larger.
    """
    from scipy import stats

    if any(len(row) < 2 for row in values.values()):
        return dict.fromkeys(values)
    own = {name: float(np.var(row, ddof=1)) for name, row in values.items()}
    freedom = {name: len(row) - 1 for name, row in values.items()}
    total = sum(freedom.values())
    pooled = sum(own[name] * freedom[name] for name in values) / total
    quantile = float(stats.t.ppf(1 - 0.025 / len(values), total))
    return {name: quantile * (max(pooled, own[name]) / len(row)) ** 0.5 for name, row in values.items()}


def slopes(study: Study) -> pd.DataFrame:
    """Slope of the log column mean on log n after each treatment; at 0 the column means are level.

    "twice" marks the failure of taking the prior off a loss that has corrected for it already.
    """
    return _treatments(study, "column_slope", 2)


def calibration(study: Study) -> pd.DataFrame:
    """Expected calibration error in points after each treatment; re-balanced rows are renormalised for it."""
    return _treatments(study, "ece", 1)


def reliability(study: Study, bins: int = 10) -> Figure:
    """Accuracy against confidence in bins of the confidence; right, the log prior taken off where it is still in."""
    runs, (labels, _) = with_arrays(study, records.PROBABILITIES), cifar100_test_labels()
    shown = [runs[method] for method in main_methods(study) if method in runs]
    fig, axes = plots.panels(2, 3.7, sharey=True)
    for ax, title in zip(axes, ("as trained", "adjusted, τ = 1"), strict=True):
        ax.plot([0, 1], [0, 1], ":", color=plots.INK, lw=1)
        for run in shown:
            probabilities = run.probabilities()
            if ax is axes[1]:
                if corrects(run):
                    continue
                probabilities = adjust_logits(probabilities.log(), run.class_counts).softmax(1)
            confidence, accuracy = reliability_curve(probabilities, labels, bins)
            colour, marker = plots.METHOD_COLOURS.get(run.method), plots.METHOD_MARKERS.get(run.method, "o")
            ax.plot(confidence, accuracy, marker=marker, ms=5, lw=1.4, color=colour, label=named(run))
        ax.set(title=title, xlabel="confidence", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes[0].set_ylabel("accuracy")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def reliability_curve(
    probabilities: Tensor, labels: Tensor, bins: int, least: int = 1
) -> tuple[list[float], list[float]]:
    """Mean confidence and accuracy of each bin of the confidence that holds ``least`` samples; bins of equal width."""
    confidence, predictions = probabilities.max(1)
    place = (confidence * bins).long().clamp(max=bins - 1)
    filled = [place == b for b in range(bins) if int((place == b).sum()) >= least]
    hits = (predictions == labels).double()
    return [float(confidence[b].mean()) for b in filled], [float(hits[b].mean()) for b in filled]


def superclasses(study: Study) -> pd.DataFrame:
    """Where the errors go, in percent: into the image's superclass, upwards, and into the same pairs of classes.

    The last two columns are the `shared_pairs` with balanced softmax, and what chance would give: the mean over
    shuffles of the other method's wrong answers among its wrongly answered images.
    """
    import pandas as pd

    labels, superclass = cifar100_test_labels()
    runs = with_arrays(study, records.PROBABILITIES)
    if BALANCED not in runs:
        raise MissingRuns(f"no {study.recipe} run of {BALANCED} with {records.PROBABILITIES}")
    counts = torch.tensor(runs[BALANCED].class_counts)
    masks = shot_groups(counts)
    answers = {named(run): run.probabilities().argmax(1) for run in runs.values()}
    if (plain := runs.get(METHODS[0])) is not None:
        adjusted = adjust_logits(plain.probabilities().log(), plain.class_counts).argmax(1)
        answers[f"{METHODS[0]}, adjusted"] = adjusted
    ours = answers[named(runs[BALANCED])]
    rows: dict[str, dict[tuple[str, str], Any]] = {}
    for name, predictions in answers.items():
        row = _error_shares(predictions, labels, superclass, counts, masks)
        same = predictions is ours
        row[(SHARED, "found")] = "" if same else f"{100 * shared_pairs(ours, predictions, labels):.0f}"
        row[(SHARED, "by lot")] = "" if same else f"{100 * _shared_by_lot(ours, predictions, labels):.0f}"
        rows[name] = row
    images, others = torch.arange(100).repeat_interleave(100), torch.arange(100).repeat(100)
    rows["any other class, evenly"] = _error_shares(others, images, superclass, counts, masks)
    return pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("method")


def shared_pairs(ours: Tensor, theirs: Tensor, labels: Tensor) -> float:
    """Share of the errors that two methods have in common, as shares of unordered pairs of classes, in [0, 1].

    Example:
        >>> labels = torch.tensor([0, 0, 1, 2])
        >>> shared_pairs(torch.tensor([1, 1, 0, 0]), torch.tensor([0, 1, 1, 0]), labels)
        0.75
    """
    classes = int(max(labels.max(), ours.max(), theirs.max())) + 1
    shares = []
    for answers in (ours, theirs):
        wrong = answers != labels
        low, high = torch.minimum(answers, labels)[wrong], torch.maximum(answers, labels)[wrong]
        pairs = torch.bincount(low * classes + high, minlength=classes**2).double()
        shares.append(pairs / pairs.sum())
    return float(torch.minimum(*shares).sum())


def _shared_by_lot(ours: Tensor, theirs: Tensor, labels: Tensor) -> float:
    """`shared_pairs` after shuffling their wrong answers among their wrongly answered images; mean over shuffles.

    How often each class is missed and wrongly named stays, who is taken for whom does not.
    """
    generator = torch.Generator().manual_seed(0)
    wrong, shares = (theirs != labels).nonzero()[:, 0], []
    for _ in range(SHUFFLES):
        drawn = theirs.clone()
        drawn[wrong] = theirs[wrong[torch.randperm(len(wrong), generator=generator)]]
        shares.append(shared_pairs(ours, drawn, labels))
    return float(np.mean(shares))


def _treatments(study: Study, key: str, digits: int) -> pd.DataFrame:
    """A number of the last epoch as trained, adjusted and re-balanced, mean ± sd over seeds."""
    import pandas as pd

    rows = {}
    for runs in main_methods(study).values():
        adjusted = mean_sd([run.record["posthoc"]["adjust"][key] for run in runs], digits)
        rows[named(runs[0])] = {
            "seeds": len(runs),
            "as trained": mean_sd([run.last[key] for run in runs], digits),
            "adjusted, τ = 1": adjusted + (" (twice)" if corrects(runs[0]) else ""),
            "re-balanced, τ = 1 (sees the test set)": mean_sd(
                [run.record["posthoc"]["rebalance"][key] for run in runs], digits
            ),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _error_shares(
    answers: Tensor, labels: Tensor, superclass: Tensor, counts: Tensor, masks: dict[str, Tensor]
) -> dict[tuple[str, str], Any]:
    """Percent of each group's errors that stay in the superclass, and that go to a more frequent class."""
    near, up = superclass[answers] == superclass[labels], counts[answers] > counts[labels]
    wrong = answers != labels
    return {
        (title, group): round(100 * float(kind[wrong & mask[labels]].double().mean()))
        for title, kind in (("in the superclass (%)", near), ("to a more frequent class (%)", up))
        for group, mask in masks.items()
    }


TABLES = (prior_and_calibration, superclasses, slopes, calibration)
FIGURES = (reliability,)
