"""A report for one's own run or scores: classes, groups, confusions, calibration, and which adjustment would pay.

Everything is computed from test scores, and nothing is trained. `lt_core.report.own_page` makes a page of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from lt_core import metrics, posthoc
from lt_core.report.analysis import reliability_curve
from lt_core.training.evaluation import SWEEP, accuracies

LEVEL = 0.95
PAIRS = 12  # confusions that are shown
BINS = 15
LEAST = 10  # images of a bin that is drawn


@dataclass(frozen=True)
class Adjustment:
    """What is done to the scores: nothing, the log prior subtracted, or re-balanced over the set; and how strongly."""

    name: str = "none"
    tau: float = 0.0

    def __str__(self) -> str:
        words = {"none": "as they are", "adjust": "prior taken off", "rebalance": "re-balanced"}
        return words[self.name] + (f", τ = {self.tau:g}" if self.name != "none" else "")

    def __call__(self, scores: Tensor, class_counts: Sequence[int] | None) -> Tensor:
        """The scores (N, C) after it; re-balancing looks at all N rows."""
        if self.name == "adjust":
            assert class_counts is not None
            return posthoc.adjust_logits(scores, class_counts, self.tau)
        return posthoc.rebalance_logits(scores, self.tau) if self.name == "rebalance" else scores


AS_IT_IS = Adjustment()


def choices(class_counts: Sequence[int] | None) -> list[Adjustment]:
    """What the scores can be adjusted by; without counts there is no prior to take off."""
    names = ("rebalance",) if class_counts is None else ("adjust", "rebalance")
    return [AS_IT_IS, *(Adjustment(name, tau) for name in names for tau in SWEEP)]


@dataclass(frozen=True)
class Advice:
    """Which adjustment was best on each half of the scores, and what it gained on the other half.

    Args:
        chosen: on the first half, on the second half.
        gain: of balanced accuracy in points, each image judged by the adjustment that the other half chose.
        margin: half the width of its interval at `LEVEL`; None where no class has two images.
        top1_gain: the same gain of top-1 accuracy, without an interval.
    """

    chosen: tuple[Adjustment, Adjustment]
    gain: float
    margin: float | None
    top1_gain: float

    @property
    def verdict(self) -> str:
        """What the interval allows to say."""
        if self.chosen == (AS_IT_IS, AS_IT_IS):
            return "Leave the scores as they are: on neither half was an adjustment better."
        if self.margin is None:
            return "There is no interval, since no class has two test images."
        if self.gain - self.margin > 0:
            return "It pays: the whole interval is above zero."
        if self.gain + self.margin < 0:
            return "It does not pay: the whole interval is below zero."
        return "Not resolved: the interval holds zero."


def halves(labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of two halves, each with half of every class's images; the odd ones go to both in turn.

    Example:
        >>> first, second = halves(torch.tensor([0, 0, 1, 1, 1, 2]))
        >>> sorted(first.tolist() + second.tolist()), abs(len(first) - len(second))
        ([0, 1, 2, 3, 4, 5], 0)
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    return by_class[0::2], by_class[1::2]


def balanced_accuracy(predictions: Tensor, labels: Tensor, num_classes: int) -> float:
    """Percent: the mean over the classes that have an image."""
    return 100 * (1 - metrics.balanced_error(predictions, labels, num_classes))


def advise(log_probabilities: Tensor, labels: Tensor, class_counts: Sequence[int] | None, seed: int = 0) -> Advice:
    r"""Choose an adjustment on one half of the scores and judge it on the other, both ways round.

    A gain is :math:`\frac1C \sum_c \bar d_c`, where :math:`d \in \{-1, 0, 1\}` says whether an image became right or
    wrong and :math:`\bar d_c` is the mean over class c. Its variance is :math:`\frac{1}{C^2} \sum_c s_c^2 / n_c`; a
    class with one image has the mean of the other classes' :math:`s_c^2`. The choice itself is taken as given, which
    makes the interval a little too narrow.

    Args:
        log_probabilities: (N, C) float64.
        labels: (N,).
        class_counts: the training images of the C classes, or None.
        seed: of the halves.
    """
    C = log_probabilities.shape[1]
    change = torch.zeros(len(labels), dtype=torch.float64)
    parts = halves(labels, seed)
    chosen = []
    for here, there in (parts, parts[::-1]):
        best = max(
            choices(class_counts),  # the first of equals: nothing, or the weaker one
            key=lambda choice: balanced_accuracy(
                choice(log_probabilities[here], class_counts).argmax(1), labels[here], C
            ),
        )
        chosen.append(best)
        before = log_probabilities[there].argmax(1) == labels[there]
        after = best(log_probabilities[there], class_counts).argmax(1) == labels[there]
        change[there] = after.double() - before.double()
    gain, margin = class_mean(change, labels, C)
    return Advice((chosen[0], chosen[1]), gain, margin, 100 * change.mean().item())


def class_mean(values: Tensor, labels: Tensor, num_classes: int) -> tuple[float, float | None]:
    """Mean over the classes of the mean over a class's images, in points, and half the width of its interval."""
    n = torch.bincount(labels, minlength=num_classes).double()
    seen = n > 0
    mean = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, values)[seen] / n[seen]
    square = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, values**2)[seen] / n[seen]
    n = n[seen]
    several = n > 1
    if not several.any():
        return 100 * mean.mean().item(), None
    variance = (square - mean**2).clamp(min=0)[several] * (n / (n - 1))[several]
    spread = torch.full_like(n, variance.mean().item())
    spread[several] = variance
    error = math.sqrt((spread / n).sum().item()) / len(n)
    return 100 * mean.mean().item(), 100 * NormalDist().inv_cdf(0.5 + LEVEL / 2) * error


@dataclass(frozen=True)
class ClassRow:
    """A class's line; accuracies in percent. ``low`` and ``high`` end Wilson's interval at `LEVEL`."""

    name: str
    group: str
    train: int | None
    images: int
    accuracy: float | None
    low: float | None
    high: float | None
    predicted: int


def class_rows(
    predictions: Tensor, labels: Tensor, class_names: Sequence[str], class_counts: Sequence[int] | None
) -> list[ClassRow]:
    """Every class in the order of the labels."""
    from scipy.stats import binomtest

    C = len(class_names)
    groups = [""] * C
    if class_counts is not None:
        for group, mask in metrics.shot_groups(class_counts).items():
            for c in mask.nonzero().flatten().tolist():
                groups[c] = group
    images = torch.bincount(labels, minlength=C).tolist()
    right = torch.bincount(labels[predictions == labels], minlength=C).tolist()
    predicted = torch.bincount(predictions, minlength=C).tolist()
    rows = []
    for c, name in enumerate(class_names):
        train = None if class_counts is None else int(class_counts[c])
        accuracy = low = high = None
        if images[c]:
            interval = binomtest(right[c], images[c]).proportion_ci(LEVEL, method="wilson")
            accuracy, low, high = 100 * right[c] / images[c], 100 * interval.low, 100 * interval.high
        rows.append(ClassRow(name, groups[c], train, images[c], accuracy, low, high, predicted[c]))
    return rows


@dataclass(frozen=True)
class Confusion:
    """Images of class ``label`` that are taken for ``other``: their indices, and their percentage of the class."""

    label: int
    other: int
    images: list[int]
    share: float


def worst_confusions(predictions: Tensor, labels: Tensor, num_classes: int, limit: int = PAIRS) -> list[Confusion]:
    """The pairs with the most images, then the largest share of their class."""
    pairs = labels * num_classes + predictions
    wrong = predictions != labels
    found, counts = pairs[wrong].unique(return_counts=True)
    size = torch.bincount(labels, minlength=num_classes)
    share = 100 * counts / size[found // num_classes]
    order = sorted(range(len(found)), key=lambda i: (-counts[i].item(), -share[i].item(), found[i].item()))
    return [
        Confusion(
            int(found[i]) // num_classes,
            int(found[i]) % num_classes,
            (pairs == found[i]).nonzero().flatten().tolist(),
            share[i].item(),
        )
        for i in order[:limit]
    ]


@dataclass(frozen=True)
class Result:
    """One treatment of the scores: accuracies in percent, calibration error in percent, mean log loss in nats."""

    adjustment: Adjustment
    top1: float
    balanced: float
    groups: dict[str, float | None]
    ece: float
    log_loss: float
    curve: tuple[list[float], list[float]]  # of `lt_core.report.analysis.reliability_curve`


def result(
    adjustment: Adjustment, log_probabilities: Tensor, labels: Tensor, class_counts: Sequence[int] | None
) -> Result:
    """The scores after an adjustment of strength 1, or of the strength that was chosen, on all images."""
    C = log_probabilities.shape[1]
    adjusted = adjustment(log_probabilities, class_counts).log_softmax(1)
    predictions = adjusted.argmax(1)
    groups: dict[str, float | None] = {}
    if class_counts is not None:
        groups = accuracies(predictions, labels, class_counts)
        del groups["top1"]
    probabilities = adjusted.exp()
    return Result(
        adjustment,
        100 * (predictions == labels).double().mean().item(),
        balanced_accuracy(predictions, labels, C),
        groups,
        100 * metrics.expected_calibration_error(probabilities, labels),
        -adjusted.gather(1, labels[:, None]).mean().item(),
        reliability_curve(probabilities, labels, BINS, LEAST),
    )
