r"""The template of the margin losses on cosines (chapters 05 and 06)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from lt_core.losses._common import Loss, cross_entropy, subtract_at_target, upcast
from lt_core.validation import check_cosines, check_number


class CosineMarginLoss(Loss, ABC):
    r"""Cross-entropy on scaled cosines with a margin taken off the target's cosine.

    .. math::
        \ell = w_y \operatorname{CE}\bigl(s\,(\cos\theta_j - m_y 1[j = y])_j,\; y\bigr), \qquad
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y])

    where :math:`\tilde p` is the softmax of the adjusted scores and the margin is taken as a constant. A
    subclass says what the margin is, by overriding `margin`, and nothing else.

    Args:
        num_classes: C.
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
        weight: Sequence[float] | Tensor | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(num_classes, weight, reduction)
        check_number("scale", scale, low=0.0, open_low=True)
        self.scale = scale

    @abstractmethod
    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        """Margins (N,) for the samples, given the cosines (N, C), float32 or wider, and the labels (N,)."""

    def forward(self, cosines: Tensor, targets: Tensor) -> Tensor:
        check_cosines(cosines, targets, self.num_classes)
        cosines = upcast(cosines)
        margins = self.margin(cosines, targets)
        if margins.shape != targets.shape:
            raise ValueError(f"margin returned shape {tuple(margins.shape)}; {tuple(targets.shape)} is needed")
        return margin_cross_entropy(cosines, targets, margins, self.scale, self.weight, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, scale={self.scale}, {super().extra_repr()}"


def target_cosines(cosines: Tensor, targets: Tensor) -> Tensor:
    """The cosine (N,) of each sample with its own class."""
    return cosines.gather(1, targets[:, None]).squeeze(1)


def margin_cross_entropy(
    cosines: Tensor, targets: Tensor, margins: Tensor, scale: float, weight: Tensor | None, reduction: str
) -> Tensor:
    """The template's computation, unchecked; ``cosines`` (N, C) in float32 or wider, ``margins`` (N,)."""
    return cross_entropy(scale * subtract_at_target(cosines, targets, margins), targets, weight, reduction)
