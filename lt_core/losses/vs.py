r"""The vector-scaling loss: a factor and an offset for each logit (chapter 05)."""

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
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, upcast


def vs_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    gamma: float = 0.3,
    tau: float = 1.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on logits divided by a temperature of their class and raised by the log of its prior.

    .. math::
        \tilde z_j = \frac{z_j}{\Delta_j} + \tau \log \pi_j, \qquad
        \Delta_j = \left(\frac{\max_k n_k}{n_j}\right)^\gamma, \qquad
        \ell = w_y \operatorname{CE}(\tilde z, y), \qquad
        \frac{\partial \ell}{\partial z_j} = \frac{w_y}{\Delta_j}\,(\tilde p_j - 1[j = y])

    :math:`\gamma = 0` is `logit_adjusted_loss`, :math:`\tau = 0` the class-dependent temperatures (CDT), and both 0
    cross-entropy. The raw logits are used at test time. Adding :math:`t \Delta_j` to every :math:`z_j` changes no value
    and no gradient of this loss, but may change the largest logit.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        gamma: exponent of the temperatures, at least 0.
        tau: strength of the prior, at least 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Kini et al., "Label-Imbalanced and Group-Sensitive Classification under Overparameterization", NeurIPS 2021,
        with the temperatures and defaults of the released code; :math:`\tau = 0` is Ye et al., "Identifying and
        Compensating for Feature Deviation in Imbalanced Deep Learning", arXiv:2001.01385.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.tensor([[0.0, 8.0]]), torch.tensor([1])
        >>> round(lt.losses.vs_loss(logits, targets, [16, 1], gamma=0.5, tau=0.0).item(), 4)  # log(1 + e^-2)
        0.1269
    """
    adjustment, temperatures = _class_constants(class_counts, gamma, tau)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight, len(adjustment))
    check_logits(logits, targets, len(adjustment))
    scores = upcast(logits)
    divisors, offsets = (constant(c, scores.dtype, scores.device) for c in (temperatures, adjustment))
    return cross_entropy(scores / divisors + offsets, targets, weights, reduction)


class VSLoss(Loss):
    r"""Module form of `vs_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        gamma: exponent of the temperatures, at least 0.
        tau: strength of the prior, at least 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        temperatures: buffer (C,), float64: :math:`\Delta_j`, at least 1, what the logits are divided by.
        adjustment: buffer (C,), float64: :math:`\tau \log \pi_j`.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.VSLoss([500, 50, 5]).temperatures
        tensor([1.0000, 1.9953, 3.9811], dtype=torch.float64)
    """

    adjustment: Tensor
    temperatures: Tensor

    def __init__(
        self,
        class_counts: Counts,
        gamma: float = 0.3,
        tau: float = 1.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        adjustment, temperatures = _class_constants(class_counts, gamma, tau)
        super().__init__(len(adjustment), weight, reduction)
        self.gamma, self.tau = check_number("gamma", gamma), check_number("tau", tau)
        self.register_buffer("adjustment", constant(adjustment, torch.float64), persistent=False)
        self.register_buffer("temperatures", constant(temperatures, torch.float64), persistent=False)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        scores = upcast(logits)
        adjusted = scores / self.temperatures.to(scores) + self.adjustment.to(scores)
        return cross_entropy(adjusted, targets, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, gamma={self.gamma}, tau={self.tau}, {super().extra_repr()}"


def _class_constants(class_counts: Counts, gamma: float, tau: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets tau log pi and temperatures, (C,) each."""
    counts = float_counts(class_counts)
    temperatures = (counts.max() / counts) ** check_number("gamma", gamma, low=0.0)
    return log_shares(counts, tau), temperatures
