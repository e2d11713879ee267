r"""Label-distribution-aware margins (chapter 05)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.losses._common import Counts, Weight, as_index, constant, float_counts
from lt_core.losses.margin import CosineMarginLoss, checked, margin_cross_entropy
from lt_core.validation import check_number


def ldam_margins(class_counts: Counts, max_margin: float = 0.5, dtype: torch.dtype | None = None) -> Tensor:
    r"""Margins that fall with the fourth root of the class count; the rarest class has ``max_margin``.

    .. math:: \Delta_c = m_{\max} \left(\frac{\min_k n_k}{n_c}\right)^{1/4}

    Args:
        class_counts: C whole numbers, at least 1 each.
        max_margin: the rarest class's margin, on the scale of a cosine; at least 0.
        dtype: of the result; PyTorch's default dtype where None.

    Returns:
        Margins (C,) on the CPU.

    Raises:
        ValueError: counts that are not positive whole numbers, a negative ``max_margin``.
        TypeError: counts or ``max_margin`` that are not numbers.

    Source:
        Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019,
        section 3.2, with the released code's normalisation by the largest margin.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.ldam_margins([500, 5])
        tensor([0.1581, 0.5000])
    """
    return constant(margins_of(float_counts(class_counts), max_margin), dtype)


def margins_of(counts: NDArray[np.float64], max_margin: float) -> NDArray[np.float64]:
    """`ldam_margins` of checked counts, in float64."""
    return check_number("max_margin", max_margin, low=0.0) * (counts.min() / counts) ** 0.25


def ldam_loss(
    cosines: Tensor,
    targets: Tensor,
    class_counts: Counts,
    max_margin: float = 0.5,
    scale: float = 30.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on scaled cosines, with the class's margin taken off the target.

    .. math::
        \ell = w_y \operatorname{CE}\bigl(s\,(\cos\theta_j - \Delta_y 1[j = y])_j,\; y\bigr), \qquad
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y])

    with :math:`\Delta` from `ldam_margins` and :math:`\tilde p` the softmax of the adjusted scores. Deferred
    re-weighting is a schedule of ``weight``: ones at first, `class_balanced_weights` in the last part of
    training.

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        max_margin: the rarest class's margin, at least 0.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Cao et al., NeurIPS 2019, section 3.2, and the released code.

    Example:
        >>> import torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.5, 0.5]]), torch.tensor([1])
        >>> round(lt.losses.ldam_loss(cosines, targets, [500, 5]).item(), 4)  # close to 30 * 0.5
        15.0
    """
    margins = margins_of(float_counts(class_counts), max_margin)
    cosines, scale, weights, reduction = checked(cosines, targets, len(margins), scale, weight, reduction)
    of_samples = constant(margins, cosines.dtype, cosines.device)[as_index(targets)]
    return margin_cross_entropy(cosines, targets, of_samples, scale, weights, reduction)


class LDAMLoss(CosineMarginLoss):
    """Module form of `ldam_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        max_margin: the rarest class's margin, at least 0.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        margins: buffer (C,), float64: each class's margin.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.LDAMLoss([500, 5]).margins
        tensor([0.1581, 0.5000], dtype=torch.float64)
    """

    margins: Tensor

    def __init__(
        self,
        class_counts: Counts,
        max_margin: float = 0.5,
        scale: float = 30.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        margins = ldam_margins(class_counts, max_margin, torch.float64)
        super().__init__(len(margins), scale, weight, reduction)
        self.max_margin = check_number("max_margin", max_margin)
        self.register_buffer("margins", margins, persistent=False)

    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        return self.margins.to(cosines)[targets]

    def extra_repr(self) -> str:
        return f"max_margin={self.max_margin}, {super().extra_repr()}"
