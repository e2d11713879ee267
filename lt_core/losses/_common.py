"""What every loss shares: half precision is widened, class weights are checked, values are reduced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.validation import REDUCTIONS, check_choice, checks_values

HALF = (torch.float16, torch.bfloat16)


def upcast(scores: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return scores.float() if scores.dtype in HALF else scores


def as_weight(weight: Sequence[float] | Tensor | None, num_classes: int | None = None) -> Tensor | None:
    """A copy of the class weights, float32 or wider, of shape (C,); finite, not negative, not all zero."""
    if weight is None:
        return None
    try:
        values = torch.as_tensor(weight).detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"weight is {weight!r}; None or a tensor of shape (C,) is needed") from None
    if values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"weight holds {values.dtype}; numbers are needed")
    if values.ndim != 1 or (num_classes is not None and len(values) != num_classes):
        allowed = "(C,)" if num_classes is None else f"({num_classes},)"
        raise ValueError(f"weight has shape {tuple(values.shape)}; {allowed} is needed")
    if checks_values():
        if not bool((torch.isfinite(values) & (values >= 0)).all()):
            raise ValueError(f"weight is {values.tolist()}; every class weight must be finite and at least 0")
        if not bool((values > 0).any()):
            raise ValueError("weight is zero for every class; at least one class needs a positive weight")
    return values.to(torch.promote_types(values.dtype, torch.float32)).clone()


def reduce_losses(losses: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    r"""Reduce values (N,) as `torch.nn.functional.cross_entropy` does.

    A weighted mean is :math:`\sum_i w_{y_i}\ell_i / \sum_i w_{y_i}`: divided by the sum of the weights, not
    by N.
    """
    weights = None if weight is None else weight.to(losses)[targets]
    if weights is not None:
        losses = weights * losses
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if weights is None else losses.sum() / weights.sum()


def cross_entropy(scores: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Softmax cross-entropy of adjusted scores (float32 or wider); ``weight`` may have any dtype."""
    if weight is not None:
        weight = weight.to(scores)
    return F.cross_entropy(scores, targets, weight=weight, reduction=reduction)


def subtract_at_target(scores: Tensor, targets: Tensor, amounts: Tensor) -> Tensor:
    """``scores`` (N, C) with ``amounts`` (N,) taken off the targets; no scatter, so it is deterministic."""
    return scores - torch.where(target_mask(targets, scores.shape[1]), amounts[:, None], 0.0)


def target_mask(targets: Tensor, num_classes: int) -> Tensor:
    """Boolean (N, C): True where the column is the row's target."""
    return targets[:, None] == torch.arange(num_classes, device=targets.device)


class Loss(nn.Module):
    """Base of the losses: class weights as the buffer ``weight``, a ``reduction``, and buffers never in half.

    ``weight`` may be changed in place between epochs (``loss.weight.copy_(new)``): deferred re-weighting does
    so. Constants computed from the class counts are float64 and are cast to the scores' dtype where they are
    used.
    """

    weight: Tensor | None

    def __init__(
        self, num_classes: int | None, weight: Sequence[float] | Tensor | None, reduction: str
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        self.num_classes = num_classes
        self.reduction = reduction
        self.register_buffer("weight", as_weight(weight, num_classes))

    def known_classes(self) -> int | None:
        """Number of classes, as declared or from the length of ``weight``; None where neither was given."""
        if self.num_classes is None and self.weight is not None:
            return len(self.weight)
        return self.num_classes

    def extra_repr(self) -> str:
        weighted = "None" if self.weight is None else f"({len(self.weight)},)"
        return f"weight={weighted}, reduction={self.reduction!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # `model.half()` would round log priors and accumulated gradients to three digits.
        before: dict[str, Any] = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            if buffer is not None and buffer.dtype in HALF:
                self._buffers[name] = before[name].to(buffer.device)
        return self
