r"""Focal loss for softmax classifiers (chapter 03)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_core.losses._common import Loss, Weight, as_index, as_weight, dense, reduce_losses, target_mask
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, upcast


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 2.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy scaled down on samples that are already classified well.

    .. math::
        \ell = -w_y (1 - p_y)^\gamma \log p_y, \qquad p = \operatorname{softmax}(z)

    Its gradient is that of cross-entropy times a factor of the sample,

    .. math::
        \frac{\partial \ell}{\partial z_j} = w_y\,\rho\,(p_j - 1[j = y]), \qquad
        \rho = (1 - p_y)^\gamma - \gamma\, p_y (1 - p_y)^{\gamma - 1} \log p_y .

    The weight stands outside the factor :math:`(1 - p_y)^\gamma`, which sees the unweighted probability. Both
    logarithms come from the target's logit minus the log-sum-exp of the others, so value and gradient stay
    finite for :math:`\gamma < 1` where :math:`p_y` rounds to 1.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        gamma: at least 0; 0 is cross-entropy.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad gamma, weight or
            reduction.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 4, in its softmax form.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0])
        >>> lt.losses.focal_loss(logits, targets, reduction="none")
        tensor([0.0018, 0.1733])
    """
    gamma = check_number("gamma", gamma, low=0.0)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight)
    check_logits(logits, targets, None if weights is None else len(weights))
    return _focal(logits, targets, gamma, weights, reduction)


class FocalLoss(Loss):
    """Module form of `focal_loss`.

    Args:
        gamma: at least 0; 0 is cross-entropy.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import lt_core as lt
        >>> lt.losses.FocalLoss(gamma=1.0)
        FocalLoss(gamma=1.0, weight=None, reduction='mean')
    """

    def __init__(self, gamma: float = 2.0, weight: Weight = None, reduction: str = "mean") -> None:
        super().__init__(None, weight, reduction)
        self.gamma = check_number("gamma", gamma, low=0.0)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.known_classes())
        return _focal(logits, targets, self.gamma, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, {super().extra_repr()}"


def _focal(logits: Tensor, targets: Tensor, gamma: float, weight: Tensor | None, reduction: str) -> Tensor:
    scores = upcast(logits)
    far = torch.finfo(scores.dtype).max / 8  # bounds, so that a class that is masked by -inf makes no NaN
    others = scores.masked_fill(target_mask(targets, scores.shape[1]), -torch.inf).clamp(min=-far)
    gap = scores.gather(1, as_index(targets)[:, None]).squeeze(1) - torch.logsumexp(others, dim=1)
    gap = gap.clamp(max=far)
    log_p, log_rest = F.logsigmoid(gap), F.logsigmoid(-gap)  # log p_y and log(1 - p_y)
    return reduce_losses(-torch.exp(gamma * log_rest) * log_p, targets, weight, reduction)
