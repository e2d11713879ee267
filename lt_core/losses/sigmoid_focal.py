r"""Class-balanced focal loss: a yes-or-no question for each class, weighted by the image's class (chapter 03)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_core.losses._common import Counts, Loss, Weight, as_index, as_weight, dense, reduce_losses, target_mask
from lt_core.losses.cross_entropy import class_balanced_weights
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, upcast


def class_balanced_focal_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    gamma: float = 1.0,
    beta: float = 0.9999,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Binary focal losses of all classes, summed, times the class-balanced weight of the image's class.

    .. math::
        \ell = -w_y v_y \sum_j (1 - p_j)^\gamma \log p_j, \qquad
        p_j = \sigma(s_j), \qquad s_j = \begin{cases} z_j & j = y \\ -z_j & j \neq y \end{cases}

    with :math:`v` from `class_balanced_weights` and :math:`w` the argument ``weight``. The classes do not compete: the
    gradient on :math:`z_j` does not depend on another class's logit,

    .. math::
        \frac{\partial \ell}{\partial s_j} =
        -w_y v_y (1 - p_j)^\gamma \bigl(1 - p_j - \gamma\, p_j \log p_j\bigr),

    and the loss stands outside the softmax family. Both logarithms are taken of the logit, so that value and gradient
    stay finite where the released formula, with :math:`\log(1 + e^{-z})`, overflows.

    At the start every class but one should say no: with logits near 0 the C - 1 others outweigh the image's own class.
    The released code therefore starts the last bias at :math:`-\log(C - 1)`; the strategy "sigmoid_start" does.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        gamma: at least 0; 0 is a sum of binary cross-entropies.
        beta: in [0, 1), of the class-balanced weights; 0 makes them 1.
        weight: further class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' ``weight``, or by N: not by the class-balanced weights),
            "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, section 4.3, and the released
        code, which divides by the number of images.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(1, 3), torch.tensor([0])
        >>> loss = lt.losses.class_balanced_focal_loss(logits, targets, [5, 5, 5], gamma=0.0)
        >>> round(loss.item(), 4)  # 3 log 2
        2.0794
    """
    gamma = check_number("gamma", gamma, low=0.0)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    balanced = class_balanced_weights(class_counts, beta, upcast(logits).dtype if torch.is_tensor(logits) else None)
    weights = as_weight(weight, len(balanced))
    check_logits(logits, targets, len(balanced))
    return _focal(upcast(logits), targets, balanced.to(logits.device), gamma, weights, reduction)


class ClassBalancedFocalLoss(Loss):
    """Module form of `class_balanced_focal_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        gamma: at least 0; 0 is a sum of binary cross-entropies.
        beta: in [0, 1), of the class-balanced weights.
        weight: further class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        balanced: buffer (C,), the class-balanced weights.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.ClassBalancedFocalLoss([500, 5])
        ClassBalancedFocalLoss(num_classes=2, gamma=1.0, beta=0.9999, weight=None, reduction='mean')
    """

    balanced: Tensor

    def __init__(
        self,
        class_counts: Counts,
        gamma: float = 1.0,
        beta: float = 0.9999,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        balanced = class_balanced_weights(class_counts, beta, torch.float64)
        super().__init__(len(balanced), weight, reduction)
        self.gamma, self.beta = check_number("gamma", gamma, low=0.0), check_number("beta", beta)
        self.register_buffer("balanced", balanced, persistent=False)

    @dense
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        scores = upcast(logits)
        return _focal(scores, targets, self.balanced.to(scores), self.gamma, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, gamma={self.gamma}, beta={self.beta}, {super().extra_repr()}"


def _focal(
    scores: Tensor, targets: Tensor, balanced: Tensor, gamma: float, weight: Tensor | None, reduction: str
) -> Tensor:
    signed = torch.where(target_mask(targets, scores.shape[1]), scores, -scores)
    signed = signed.clamp(max=torch.finfo(scores.dtype).max / 8)  # a class that is masked by -inf makes no NaN
    log_p, log_rest = F.logsigmoid(signed), F.logsigmoid(-signed)  # log p_j and log(1 - p_j)
    losses = -(torch.exp(gamma * log_rest) * log_p).sum(dim=1)
    return reduce_losses(balanced[as_index(targets)] * losses, targets, weight, reduction)
