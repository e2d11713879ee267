"""What every loss shares: class weights are checked, values are reduced, samples with the label -100 are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.validation import (
    HALF,
    IGNORED,
    REDUCTIONS,
    by_label,
    check_choice,
    check_counts,
    check_number,
    checks_values,
    has_float64,
    is_soft,
    short,
)

Counts = Sequence[int] | Mapping[int, int] | Tensor  # or a pandas Series; see `lt_core.validation.check_counts`
Weight = Sequence[float] | Mapping[int, float] | Tensor | None


def float_counts(class_counts: Counts) -> NDArray[np.float64]:
    """Class counts (C,), checked, for arithmetic in float64.

    In NumPy, so that nothing is asked of a device without float64.
    """
    return np.asarray(check_counts(class_counts), dtype=np.float64)


def log_shares(counts: NDArray[np.float64], tau: float = 1.0) -> NDArray[np.float64]:
    """tau times the log of each class's share, (C,), of checked counts; ``tau`` at least 0."""
    return check_number("tau", tau, low=0.0) * np.log(counts / counts.sum())


def constant(values: NDArray[np.float64], dtype: torch.dtype | None, device: torch.device | str = "cpu") -> Tensor:
    """Values computed from the class counts as a tensor; of PyTorch's default dtype where ``dtype`` is None."""
    return torch.tensor(values.tolist(), dtype=dtype or torch.get_default_dtype(), device=device)


def as_weight(weight: Weight, num_classes: int | None = None) -> Tensor | None:
    """A copy of the class weights, float32 or wider, of shape (C,); finite, not negative, not all zero.

    A Series and a mapping are aligned by their labels.
    """
    if weight is None:
        return None
    try:
        values = torch.as_tensor(by_label("weight", weight)).detach()
    except (TypeError, RuntimeError):
        raise TypeError(f"weight is {short(weight)}; None or a tensor of shape (C,) is needed") from None
    if values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"weight holds {values.dtype}; numbers are needed")
    if values.ndim != 1 or (num_classes is not None and len(values) != num_classes):
        allowed = "(C,)" if num_classes is None else f"({num_classes},)"
        raise ValueError(f"weight has shape {tuple(values.shape)}; {allowed} is needed")
    if checks_values():
        wrong = ~(torch.isfinite(values) & (values >= 0))
        if bool(wrong.any()):
            c = int(wrong.int().argmax())
            raise ValueError(f"weight[{c}] is {values[c].item():g}; every class weight must be finite and at least 0")
        if not bool((values > 0).any()):
            raise ValueError("weight is zero for every class; at least one class needs a positive weight")
    return values.to(torch.promote_types(values.dtype, torch.float32)).clone()


def is_kept(targets: Tensor) -> Tensor:
    """Boolean (N,): False where the label is -100, which is ignored."""
    return targets != IGNORED


def as_index(targets: Tensor) -> Tensor:
    """Labels (N,) that may index a tensor of C entries: 0 in the place of -100; the caller leaves those samples out."""
    return torch.where(is_kept(targets), targets, 0)


def reduce_losses(losses: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    r"""Reduce values (N,) as `torch.nn.functional.cross_entropy` does.

    A weighted mean is :math:`\sum_i w_{y_i}\ell_i / \sum_i w_{y_i}`: divided by the sum of the weights, not
    by N. A sample with the label -100 counts as nothing: its value is 0, and it is in no sum. A mean over no sample is
    NaN.
    """
    kept = is_kept(targets)
    weights = kept.to(losses) if weight is None else torch.where(kept, weight.to(losses)[as_index(targets)], 0.0)
    losses = torch.where(kept, weights * losses, 0.0)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / weights.sum()


def cross_entropy(scores: Tensor, targets: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Softmax cross-entropy of adjusted scores (float32 or wider); ``weight`` may have any dtype.

    Targets are labels (N,), or shares (N, C) of the classes, as mixed or smoothed images have them; a mean is then over
    the images, whatever their weights, as in `torch.nn.functional.cross_entropy`.
    """
    if weight is not None:
        weight = weight.to(scores)
    if is_soft(targets):
        targets = targets.to(scores)
    return F.cross_entropy(scores, targets, weight=weight, reduction=reduction, ignore_index=IGNORED)


def dense(forward: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """Let a loss that treats every row for itself take (N, C, d1, ...) with labels (N, d1, ...), as PyTorch's do.

    With ``reduction="none"`` the result has the labels' shape.
    """

    @wraps(forward)
    def any_shape(self: Any, scores: Tensor, targets: Tensor) -> Tensor:
        if not isinstance(scores, Tensor) or not isinstance(targets, Tensor) or scores.ndim <= 2:
            return forward(self, scores, targets)
        rows = scores.movedim(1, -1)
        if targets.shape != rows.shape[:-1]:
            raise ValueError(f"targets has shape {tuple(targets.shape)}; {tuple(rows.shape[:-1])} is needed")
        losses = forward(self, rows.flatten(0, -2), targets.flatten())
        return losses.view(targets.shape) if self.reduction == "none" else losses

    return any_shape


def subtract_at_target(scores: Tensor, targets: Tensor, amounts: Tensor) -> Tensor:
    """``scores`` (N, C) with ``amounts`` (N,) taken off the targets; no scatter, so it is deterministic."""
    return scores - torch.where(target_mask(targets, scores.shape[1]), amounts[:, None], 0.0)


def target_mask(targets: Tensor, num_classes: int) -> Tensor:
    """Boolean (N, C): True where the column is the row's target; a row with the label -100 has none."""
    return targets[:, None] == torch.arange(num_classes, device=targets.device)


class Loss(nn.Module):
    """Base of the losses: class weights as the buffer ``weight``, a ``reduction``, and buffers never in half.

    ``weight`` may be changed in place between epochs (``loss.weight.copy_(new)``): deferred re-weighting does
    so. Constants computed from the class counts are float64 and are cast to the scores' dtype where they are
    used; on a device without float64 they are float32.
    """

    weight: Tensor | None

    def __init__(self, num_classes: int | None, weight: Weight, reduction: str) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
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
        # Where this goes is only known by trying: `fn` is what `.to`, `.cuda` or `.half` do to one tensor.
        if not has_float64(fn(torch.empty(0)).device):
            for name, buffer in self._buffers.items():
                if buffer is not None and buffer.dtype == torch.float64:
                    self._buffers[name] = buffer.float()
        # `model.half()` would round log priors and accumulated gradients to three digits.
        before: dict[str, Any] = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            if buffer is not None and buffer.dtype in HALF:
                self._buffers[name] = before[name].to(buffer.device)
        return self
