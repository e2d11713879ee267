r"""Label-aware smoothing: the label is smoothed, the more so the larger its class (chapter 14)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.losses._common import (
    Counts,
    Loss,
    Weight,
    as_index,
    as_weight,
    constant,
    dense,
    float_counts,
    reduce_losses,
)
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, upcast


def label_aware_smoothing_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    head: float = 0.4,
    tail: float = 0.1,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy with a smoothed label, smoothed more for larger classes.

    .. math::
        \ell = -w_y \Bigl( (1 - \epsilon_y) \log p_y + \frac{\epsilon_y}{C} \sum_j \log p_j \Bigr), \qquad
        p = \operatorname{softmax}(z)

    .. math::
        \epsilon_c = \epsilon_{\text{tail}} + (\epsilon_{\text{head}} - \epsilon_{\text{tail}})
        \sin\Bigl( \frac{\pi}{2}\, \frac{n_c - \min_k n_k}{\max_k n_k - \min_k n_k} \Bigr), \qquad
        \frac{\partial \ell}{\partial z_j} = w_y \Bigl( p_j - (1 - \epsilon_y)\,1[j = y] - \frac{\epsilon_y}{C} \Bigr)

    The sine is in the count, not in its logarithm: on CIFAR100-LT at a ratio of 100 the 50th class, of 51 images, has
    0.14 already. Where all counts are equal, all classes have the tail's value.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        head: :math:`\epsilon` of the largest class, in [0, 1].
        tail: :math:`\epsilon` of the rarest class, in [0, 1].
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Zhong et al., "Improving Calibration for Long-Tailed Recognition", CVPR 2021, Eq. 4-5, the concave form; the
        defaults are those of the released configuration for CIFAR100-LT at a ratio of 100.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> lt.losses.label_aware_smoothing_loss(logits, targets, [500, 5], reduction="none")
        tensor([0.5269, 0.2269])
    """
    smoothing = _smoothing(class_counts, head, tail)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight, len(smoothing))
    check_logits(logits, targets, len(smoothing))
    scores = upcast(logits)
    return _label_aware(scores, targets, constant(smoothing, scores.dtype, scores.device), weights, reduction)


class LabelAwareSmoothingLoss(Loss):
    r"""Module form of `label_aware_smoothing_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        head: :math:`\epsilon` of the largest class, in [0, 1].
        tail: :math:`\epsilon` of the rarest class, in [0, 1].
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        smoothing: buffer (C,), float64: :math:`\epsilon` of each class.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.LabelAwareSmoothingLoss([500, 50, 5]).smoothing
        tensor([0.4000, 0.1427, 0.1000], dtype=torch.float64)
    """

    smoothing: Tensor

    def __init__(
        self,
        class_counts: Counts,
        head: float = 0.4,
        tail: float = 0.1,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        smoothing = _smoothing(class_counts, head, tail)
        super().__init__(len(smoothing), weight, reduction)
        self.head, self.tail = _shares(head, tail)
        self.register_buffer("smoothing", constant(smoothing, torch.float64), persistent=False)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        scores = upcast(logits)
        return _label_aware(scores, targets, self.smoothing.to(scores), self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, head={self.head}, tail={self.tail}, {super().extra_repr()}"


def _shares(head: float, tail: float) -> tuple[float, float]:
    return check_number("head", head, low=0.0, high=1.0), check_number("tail", tail, low=0.0, high=1.0)


def _smoothing(class_counts: Counts, head: float, tail: float) -> NDArray[np.float64]:
    """The share of each class's label that is spread over all classes, (C,)."""
    counts, (head, tail) = float_counts(class_counts), _shares(head, tail)
    places = (counts - counts.min()) / ((counts.max() - counts.min()) or 1.0)
    return tail + (head - tail) * np.sin(0.5 * np.pi * places)


def _label_aware(scores: Tensor, targets: Tensor, smoothing: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    log_p, index = torch.log_softmax(scores, dim=1), as_index(targets)
    share, own = smoothing[index], log_p.gather(1, index[:, None]).squeeze(1)
    return reduce_losses(-(1 - share) * own - share * log_p.mean(1), targets, weight, reduction)
