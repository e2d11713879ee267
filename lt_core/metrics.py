r"""Accuracy by class and by class frequency, and calibration (chapter 01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.validation import check_counts, check_number, check_probabilities, check_targets, check_whole, upcast

Counts = Sequence[int] | Mapping[int, int] | Tensor  # or a pandas Series; see `lt_core.validation.check_counts`


def shot_groups(class_counts: Counts, many: float = 100, few: float = 20) -> dict[str, Tensor]:
    """Which classes are many-, medium- and few-shot, by their number of training images.

    Args:
        class_counts: the training set's C counts, whole numbers, at least 1 each; a mapping from the label and a pandas
            Series are aligned by their labels.
        many: a class with more images is many-shot.
        few: a class with fewer images is few-shot; at most ``many``.

    Returns:
        "many" (n > many), "medium" (few <= n <= many) and "few" (n < few): boolean masks (C,) on the CPU, of
        which exactly one holds for each class.

    Raises:
        ValueError: a bad count, few above many.
        TypeError: counts or borders that are not numbers.

    Example:
        >>> import lt_core as lt
        >>> groups = lt.metrics.shot_groups([101, 100, 20, 19])
        >>> groups["many"], groups["few"]
        (tensor([ True, False, False, False]), tensor([False, False, False,  True]))
    """
    counts = torch.tensor(check_counts(class_counts), device="cpu")
    many, few = check_number("many", many, low=0.0), check_number("few", few, low=0.0)
    if few > many:
        raise ValueError(f"few is {few} and many is {many}; few must not be above many")
    return {"many": counts > many, "medium": (counts >= few) & (counts <= many), "few": counts < few}


def per_class_accuracy(predictions: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """The share of each class's samples that is predicted correctly (its recall).

    Args:
        predictions: predicted labels (N,) int64 in [0, num_classes).
        targets: labels (N,) int64 in [0, num_classes).
        num_classes: C, at least 2.

    Returns:
        Accuracies (C,) in [0, 1], float64 on the CPU; NaN for a class without a sample.

    Raises:
        ValueError: a wrong shape, no samples, a label outside [0, num_classes).
        TypeError: labels that are not int64, a ``num_classes`` that is not a whole number.

    Example:
        >>> import torch, lt_core as lt
        >>> predictions, targets = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
        >>> lt.metrics.per_class_accuracy(predictions, targets, num_classes=3)
        tensor([0.5000, 1.0000,    nan], dtype=torch.float64)
    """
    return torch.from_numpy(_per_class_accuracy(predictions, targets, num_classes))


def _per_class_accuracy(predictions: Tensor, targets: Tensor, num_classes: int) -> NDArray[np.float64]:
    num_classes = check_whole("num_classes", num_classes, low=2)
    samples = len(targets) if isinstance(targets, Tensor) and targets.ndim == 1 else 0
    check_targets(targets, samples, num_classes)
    check_targets(predictions, samples, num_classes, name="predictions")
    if samples == 0:
        raise ValueError("targets is empty; at least one sample is needed")
    total = torch.bincount(targets, minlength=num_classes)
    correct = torch.bincount(targets[predictions == targets], minlength=num_classes)
    # Float64 in NumPy: the labels' device may have none.
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is documented
        return correct.cpu().numpy() / total.cpu().numpy()


def shot_accuracy(
    predictions: Tensor,
    targets: Tensor,
    class_counts: Counts,
    many: float = 100,
    few: float = 20,
) -> dict[str, float | None]:
    """Mean per-class accuracy over all classes and over each group of `shot_groups`.

    Args:
        predictions: predicted labels (N,) int64 in [0, C).
        targets: labels (N,) int64 in [0, C).
        class_counts: the *training* set's C counts, whole numbers, at least 1 each.
        many: a class with more training images is many-shot.
        few: a class with fewer training images is few-shot.

    Returns:
        "all", "many", "medium" and "few": accuracies in [0, 1]. Classes without a sample in ``targets`` are left out;
        a group that has no class left is None.

    Raises:
        ValueError: a wrong shape, no samples, a label outside [0, C), a bad count or border.
        TypeError: labels that are not int64, counts or borders that are not numbers.

    Example:
        >>> import torch, lt_core as lt
        >>> predictions, targets = torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1])
        >>> lt.metrics.shot_accuracy(predictions, targets, class_counts=[500, 5])
        {'all': 0.75, 'many': 1.0, 'medium': None, 'few': 0.5}
    """
    groups = shot_groups(class_counts, many, few)
    accuracies = _per_class_accuracy(predictions, targets, len(groups["many"]))
    seen = ~np.isnan(accuracies)
    masks = {"all": seen, **{name: mask.numpy() for name, mask in groups.items()}}
    result: dict[str, float | None] = {}
    for name, mask in masks.items():
        chosen = accuracies[mask & seen]
        result[name] = float(chosen.mean()) if len(chosen) else None
    return result


def balanced_error(predictions: Tensor, targets: Tensor, num_classes: int) -> float:
    r"""One minus the mean per-class accuracy, over the classes that have a sample.

    .. math:: \mathrm{BER} = \frac{1}{C} \sum_c P(\hat y \neq c \mid y = c)

    Args:
        predictions: predicted labels (N,) int64 in [0, num_classes).
        targets: labels (N,) int64 in [0, num_classes).
        num_classes: C, at least 2.

    Returns:
        The error, in [0, 1].

    Raises:
        ValueError: a wrong shape, no samples, a label outside [0, num_classes).
        TypeError: labels that are not int64, a ``num_classes`` that is not a whole number.

    Source:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, Eq. 2.

    Example:
        >>> import torch, lt_core as lt
        >>> predictions, targets = torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1])
        >>> lt.metrics.balanced_error(predictions, targets, num_classes=2)
        0.5
    """
    return 1.0 - float(np.nanmean(_per_class_accuracy(predictions, targets, num_classes)))


def column_mean_slope(probabilities: Tensor, class_counts: Counts) -> float | None:
    r"""How steeply a model's mean predicted probabilities follow the training counts: at 0 they are level.

    It is no measure of the prior that a model keeps: exact posteriors of classes that do not overlap have slope 0. The
    least-squares slope over the classes of the log of the mean probability on the log of the count:

    .. math::
        \bar p_j = \frac1N \sum_i p_{ij}, \qquad
        \mathrm{slope} = \frac{\operatorname{cov}_j(\log \bar p_j, \log n_j)}{\operatorname{var}_j(\log n_j)}

    Args:
        probabilities: (N, C) floating point in [0, 1], rows summing to 1, over a balanced test set.
        class_counts: the training set's C counts, at least 1 each.

    Returns:
        The slope; None where all counts are equal, or where a column is 0 throughout.

    Raises:
        ValueError: a wrong shape, no samples, values outside [0, 1], rows that do not sum to 1, a bad count.
        TypeError: probabilities that are not floating point, counts that are not numbers.

    Source:
        Chapter 13, which shows what it mixes: the prior, the overlap of the classes, and confidence.

    Example:
        >>> import torch, lt_core as lt
        >>> round(lt.metrics.column_mean_slope(torch.tensor([[0.9, 0.1]]), [9, 1]), 4)
        1.0
    """
    check_probabilities(probabilities)
    counts = check_counts(class_counts)
    if probabilities.shape[1] != len(counts):
        raise ValueError(f"probabilities has {probabilities.shape[1]} columns; class_counts has {len(counts)} classes")
    # Float64 in NumPy: the probabilities' device may have none.
    means = upcast(probabilities.detach()).cpu().numpy().mean(axis=0, dtype=np.float64)
    log_count = np.log(counts)
    spread = log_count - log_count.mean()
    if not means.all() or min(counts) == max(counts):
        return None
    return float(spread @ np.log(means) / (spread @ spread))


def expected_calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    r"""Mean gap between confidence and accuracy, over bins of equal width in the confidence.

    .. math::
        \mathrm{ECE} = \sum_b \frac{|B_b|}{N} \bigl|\operatorname{acc}(B_b) - \operatorname{conf}(B_b)\bigr|

    Args:
        probabilities: (N, C) floating point in [0, 1], rows summing to 1.
        targets: labels (N,) int64 in [0, C).
        bins: number of bins, at least 1.

    Returns:
        The error, in [0, 1].

    Raises:
        ValueError: a wrong shape, no samples, values outside [0, 1], rows that do not sum to 1, a label
            outside [0, C), ``bins`` below 1.
        TypeError: probabilities that are not floating point, labels that are not int64, ``bins`` that is not a whole
            number.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 5; computed by torchmetrics.

    Example:
        >>> import torch, lt_core as lt
        >>> probabilities, targets = torch.tensor([[0.8, 0.2], [0.8, 0.2]]), torch.tensor([0, 1])
        >>> round(lt.metrics.expected_calibration_error(probabilities, targets), 4)
        0.3
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    bins = check_whole("bins", bins, low=1)
    check_probabilities(probabilities)
    check_targets(targets, *probabilities.shape)
    values = upcast(probabilities).clamp(max=1.0)  # above 1, by a rounding, torchmetrics takes all of them for logits
    error = multiclass_calibration_error(values, targets, values.shape[1], n_bins=bins, norm="l1")
    return error.item()
