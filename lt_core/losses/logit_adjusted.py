r"""The logit-adjusted loss and balanced softmax (chapter 04)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.losses._common import (
    Counts,
    Loss,
    Weight,
    as_weight,
    constant,
    cross_entropy,
    dense,
    float_counts,
    log_shares,
)
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, check_soft, is_soft, upcast


def logit_adjusted_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    tau: float = 1.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on logits raised by the log of the class prior.

    .. math::
        \ell = w_y \operatorname{CE}(z + \tau \log \pi,\; y), \qquad \pi_c = \frac{n_c}{\sum_k n_k}, \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\,(\tilde p_j - 1[j = y]), \quad
        \tilde p = \operatorname{softmax}(z + \tau \log \pi)

    The raw logits are used at test time.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        tau: strength of the adjustment, at least 0; 0 is cross-entropy.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, Eq. 10.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(1, 2), torch.tensor([1])
        >>> round(lt.losses.logit_adjusted_loss(logits, targets, [3, 1]).item(), 4)  # log 4
        1.3863
    """
    adjustment = log_shares(float_counts(class_counts), tau)
    return _adjusted(logits, targets, adjustment, weight, reduction)


class LogitAdjustedLoss(Loss):
    """Module form of `logit_adjusted_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        tau: strength of the adjustment, at least 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Shape:
        as `CrossEntropyLoss`, soft targets included.

    Example:
        >>> import torch, lt_core as lt
        >>> loss = lt.losses.LogitAdjustedLoss([3, 1])
        >>> round(loss(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # log 4/3
        0.2877
    """

    adjustment: Tensor

    def __init__(
        self,
        class_counts: Counts,
        tau: float = 1.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        adjustment = log_shares(float_counts(class_counts), tau)
        super().__init__(len(adjustment), weight, reduction)
        self.tau = check_number("tau", tau)
        self.register_buffer("adjustment", constant(adjustment, torch.float64), persistent=False)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check = check_soft if is_soft(targets) else check_logits
        check(logits, targets, self.num_classes)
        scores = upcast(logits)
        return cross_entropy(scores + self.adjustment.to(scores), targets, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, tau={self.tau}, {super().extra_repr()}"


def balanced_softmax_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy of a softmax in which every class counts as often as it has training images.

    .. math::
        \ell = -w_y \log \tilde p_y, \qquad \tilde p_j = \frac{n_j e^{z_j}}{\sum_k n_k e^{z_k}}, \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\,(\tilde p_j - 1[j = y])

    A common factor of the counts cancels, so this is `logit_adjusted_loss` at :math:`\tau = 1`.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020, Theorem 1.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(1, 2), torch.tensor([1])
        >>> round(lt.losses.balanced_softmax_loss(logits, targets, [3, 1]).item(), 4)  # log 4
        1.3863
    """
    return _adjusted(logits, targets, np.log(float_counts(class_counts)), weight, reduction)


class BalancedSoftmaxLoss(Loss):
    """Module form of `balanced_softmax_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Shape:
        as `CrossEntropyLoss`, soft targets included.

    Example:
        >>> import torch, lt_core as lt
        >>> loss = lt.losses.BalancedSoftmaxLoss([3, 1])
        >>> round(loss(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # log 4/3
        0.2877
    """

    adjustment: Tensor

    def __init__(
        self,
        class_counts: Counts,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        adjustment = np.log(float_counts(class_counts))
        super().__init__(len(adjustment), weight, reduction)
        self.register_buffer("adjustment", constant(adjustment, torch.float64), persistent=False)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check = check_soft if is_soft(targets) else check_logits
        check(logits, targets, self.num_classes)
        scores = upcast(logits)
        return cross_entropy(scores + self.adjustment.to(scores), targets, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, {super().extra_repr()}"


def _adjusted(
    logits: Tensor,
    targets: Tensor,
    adjustment: NDArray[np.float64],
    weight: Weight,
    reduction: str,
) -> Tensor:
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight, len(adjustment))
    check_logits(logits, targets, len(adjustment))
    scores = upcast(logits)
    return cross_entropy(scores + constant(adjustment, scores.dtype, scores.device), targets, weights, reduction)
