r"""Softmax cross-entropy and class weights from the effective number of samples (chapters 02 and 03)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lt_core.losses._common import (
    Counts,
    Loss,
    Weight,
    constant,
    cross_entropy,
    dense,
    float_counts,
)
from lt_core.validation import check_logits, check_number, check_soft, is_soft, upcast


class CrossEntropyLoss(Loss):
    r"""Softmax cross-entropy, `torch.nn.CrossEntropyLoss` with the input checks of the other losses.

    .. math::
        \ell = -w_y \log p_y, \qquad p = \operatorname{softmax}(z), \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\,(p_j - 1[j = y])

    Args:
        weight: class weights (C,), at least 0; None for 1 each. A weighted mean is divided by the sum of the
            samples' weights.
        reduction: "mean", "sum" or "none".

    Shape:
        logits (N, C) float, targets (N,) int64 in [0, C), or -100 for a sample to leave out; a scalar, or (N,) with
        ``reduction="none"``. Or logits (N, C, d1, ...) with targets (N, d1, ...); or soft targets (N, C), the shares of
        the classes in an image.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad weight or reduction.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Example:
        >>> import torch, lt_core as lt
        >>> loss = lt.losses.CrossEntropyLoss()
        >>> round(loss(torch.zeros(1, 4), torch.tensor([2])).item(), 4)  # log 4
        1.3863
    """

    def __init__(self, weight: Weight = None, reduction: str = "mean") -> None:
        super().__init__(None, weight, reduction)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check = check_soft if is_soft(targets) else check_logits
        check(logits, targets, self.known_classes())
        return cross_entropy(upcast(logits), targets, self.weight, self.reduction)


def class_balanced_weights(class_counts: Counts, beta: float = 0.9999, dtype: torch.dtype | None = None) -> Tensor:
    r"""Class weights from the effective number of samples, normalised to sum to the number of classes.

    .. math::
        w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}, \qquad \sum_c w_c = C

    :math:`\beta = 0` gives ones; as :math:`\beta \to 1` the weights approach :math:`1/n_c`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        beta: in [0, 1).
        dtype: of the result; PyTorch's default dtype where None.

    Returns:
        Weights (C,) on the CPU.

    Raises:
        ValueError: counts that are not positive whole numbers, beta outside [0, 1).
        TypeError: counts or beta that are not numbers.

    Source:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, Proposition 1 and
        section 4; the normalisation is that of the released code.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.class_balanced_weights([500, 50, 5], beta=0.99)
        tensor([0.1261, 0.3172, 2.5566])
    """
    counts = float_counts(class_counts)
    beta = check_number("beta", beta, low=0.0, high=1.0)
    if beta == 1.0:
        raise ValueError("beta is 1; allowed is a number in [0, 1) (the limit at 1 is a weight of 1/n_c)")
    # 1 - beta^n without cancellation for beta near 1; the constant 1 - beta drops out of the normalisation.
    log_beta = math.log1p(beta - 1.0) if beta - 1.0 > -1.0 else -math.inf
    inverse = -1.0 / np.expm1(counts * log_beta)
    return constant(inverse * (len(counts) / inverse.sum()), dtype)
