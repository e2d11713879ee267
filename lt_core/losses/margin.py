r"""The template of the margin losses on cosines (chapters 05 and 06)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lt_core.losses._common import Loss, Weight, as_index, as_weight, cross_entropy, dense, subtract_at_target
from lt_core.validation import REDUCTIONS, check_choice, check_cosines, check_number, upcast


class CosineMarginLoss(Loss, ABC):
    r"""Cross-entropy on scaled cosines with a margin taken off the target's cosine.

    .. math::
        \ell = w_y \operatorname{CE}\bigl(s\,(\cos\theta_j - m_y 1[j = y])_j,\; y\bigr), \qquad
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y])

    where :math:`\tilde p` is the softmax of the adjusted scores and the margin is taken as a constant. A
    subclass says what the margin is, by overriding `margin`, and nothing else.

    Args:
        num_classes: C, the number of classes.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import torch
        >>> from lt_core.losses import CosineMarginLoss
        >>> class Constant(CosineMarginLoss):
        ...     def margin(self, cosines, targets):
        ...         return torch.full_like(cosines[:, 0], 0.35)
        >>> loss = Constant(num_classes=2, scale=10.0)
        >>> round(loss(torch.tensor([[0.35, 0.0]]), torch.tensor([0])).item(), 4)  # log 2
        0.6931
    """

    def __init__(
        self,
        num_classes: int,
        scale: float = 30.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(num_classes, weight, reduction)
        self.scale = check_number("scale", scale, low=0.0, open_low=True)

    @abstractmethod
    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        """Margins (N,) for the samples, given the cosines (N, C), float32 or wider, and the labels (N,) in [0, C).

        A sample to be ignored comes with the label 0; its margin is not used.
        """

    @dense
    def forward(self, cosines: Tensor, targets: Tensor) -> Tensor:
        check_cosines(cosines, targets, self.num_classes)
        cosines = as_cosines(cosines)
        margins = self.margin(cosines, as_index(targets))
        if margins.shape != targets.shape:
            raise ValueError(f"margin returned shape {tuple(margins.shape)}; {tuple(targets.shape)} is needed")
        return margin_cross_entropy(cosines, targets, margins, self.scale, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, scale={self.scale}, {super().extra_repr()}"


def as_cosines(cosines: Tensor) -> Tensor:
    """Cosines in float32 or wider, clamped to [-1, 1]: a value outside has no gradient, one at the border has its own.

    Not `torch.clamp`, whose gradient at the border differs between versions of PyTorch.
    """
    wide = upcast(cosines)
    return torch.where(wide.abs() > 1.0, wide.detach().sign(), wide)


def checked(
    cosines: Tensor, targets: Tensor, num_classes: int | None, scale: float, weight: Weight, reduction: str
) -> tuple[Tensor, float, Tensor | None, str]:
    """What all functional losses on cosines are given, checked: the cosines in float32 or wider, and the options.

    ``num_classes`` is C where the loss has counts; None takes it from the cosines.
    """
    scale = check_number("scale", scale, low=0.0, open_low=True)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight) if num_classes is None else as_weight(weight, num_classes)
    classes = len(weights) if num_classes is None and weights is not None else num_classes
    check_cosines(cosines, targets, classes)
    return as_cosines(cosines), scale, weights, reduction


def target_cosines(cosines: Tensor, targets: Tensor) -> Tensor:
    """The cosine (N,) of each sample with its own class; ``targets`` in [0, C)."""
    return cosines.gather(1, targets[:, None]).squeeze(1)


def margin_cross_entropy(
    cosines: Tensor, targets: Tensor, margins: Tensor, scale: float, weight: Tensor | None, reduction: str
) -> Tensor:
    """The template's computation, unchecked; ``cosines`` (N, C) in float32 or wider, ``margins`` (N,)."""
    return cross_entropy(scale * subtract_at_target(cosines, targets, margins), targets, weight, reduction)
