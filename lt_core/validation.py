"""Argument checks shared by the losses, the post-hoc adjustments and the metrics.

A check on *shapes* and *types* always runs. A check on *values* (labels in range, no NaN, cosines within
[-1, 1]) needs the tensor's content, so it runs eagerly and is skipped while `torch.compile` traces: there it
would break the graph and make the device wait for the host.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")
_trusted = False


@contextmanager
def trusted_values() -> Iterator[None]:
    """Skip the checks on values inside this block, for a caller that has checked them once.

    The training engine uses it: it checks labels and counts when it loads them and the finiteness of the loss once an
    epoch, so that no step waits for the host.
    """
    global _trusted
    before, _trusted = _trusted, True
    try:
        yield
    finally:
        _trusted = before


def checks_values() -> bool:
    """Whether checks on values run now: not inside `trusted_values`, and not while `torch.compile` traces."""
    return not (_trusted or torch.compiler.is_compiling())


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(repr(a) for a in allowed)}")


def check_number(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> None:
    """Raise unless ``value`` is a finite number in [low, high], or in (low, high] with ``open_low``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}; a number is needed")
    inside = (value > low if open_low else value >= low) and value <= high
    if not math.isfinite(value) or not inside:
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} is {value!r}; allowed is a finite number in {bracket}{low}, {high}]")


def check_whole(name: str, value: int, low: int, high: int | None = None) -> None:
    """Raise unless ``value`` is a whole number in [low, high]; ``high=None`` is no upper bound."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}; a whole number is needed")
    if value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} is {value!r}; allowed is a whole number {allowed}")


def as_counts(class_counts: Sequence[int] | Tensor, name: str = "class_counts") -> Tensor:
    """Class counts as a float64 tensor of shape (C,); C >= 2 positive whole numbers or an error."""
    try:
        counts = torch.as_tensor(class_counts)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} is {class_counts!r}; a sequence of whole numbers is needed") from None
    if counts.ndim != 1 or counts.numel() < 2:
        raise ValueError(f"{name} has shape {tuple(counts.shape)}; at least two counts in one row are needed")
    if counts.dtype == torch.bool or counts.is_complex():
        raise TypeError(f"{name} holds {counts.dtype}; whole numbers are needed")
    counts = counts.detach().to("cpu", torch.float64)
    wrong = ~(torch.isfinite(counts) & (counts >= 1) & (counts == counts.floor()))
    if wrong.any():
        c = int(wrong.nonzero()[0])
        raise ValueError(f"{name}[{c}] is {counts[c].item():g}; a count is a whole number, at least 1")
    return counts


def check_scores(scores: Tensor, name: str = "logits") -> None:
    """Raise unless ``scores`` is a floating-point tensor of shape (N, C) without NaN."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"{name} is {kind}; a floating-point tensor of shape (N, C) is needed")
    if scores.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(scores.shape)}; (N, C) is needed")
    if checks_values() and bool(torch.isnan(scores).any()):
        raise ValueError(f"{name} holds NaN; every value must be a number")


def check_targets(targets: Tensor, num_samples: int, num_classes: int, name: str = "targets") -> None:
    """Raise unless ``targets`` is an int64 tensor of shape (N,) with labels in [0, C)."""
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise TypeError(f"{name} is {kind}; an int64 tensor of shape (N,) is needed")
    if targets.shape != (num_samples,):
        raise ValueError(f"{name} has shape {tuple(targets.shape)}; ({num_samples},) is needed")
    if not checks_values() or num_samples == 0:
        return
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} holds the label {wrong}; labels are in [0, {num_classes})")


def check_logits(
    logits: Tensor, targets: Tensor, num_classes: int | None = None, name: str = "logits"
) -> None:
    """Raise unless ``logits`` (N, C) and ``targets`` (N,) fit each other and ``num_classes``, if given."""
    check_scores(logits, name)
    if logits.shape[1] < 2:
        raise ValueError(f"{name} has shape {tuple(logits.shape)}; at least two classes (columns) are needed")
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(f"{name} has {logits.shape[1]} columns; {num_classes} classes were declared")
    check_targets(targets, logits.shape[0], logits.shape[1])


def check_cosines(
    cosines: Tensor, targets: Tensor, num_classes: int | None = None, name: str = "cosines"
) -> None:
    """`check_logits`, and every value in [-1, 1] up to 32 roundings of the dtype."""
    check_logits(cosines, targets, num_classes, name)
    if not checks_values() or cosines.numel() == 0:
        return
    largest = cosines.detach().abs().max().item()
    if largest > 1 + 32 * torch.finfo(cosines.dtype).eps:
        raise ValueError(f"{name} reach {largest:.6g}; a cosine lies in [-1, 1] (use a cosine classifier)")


def check_probabilities(probabilities: Tensor, name: str = "probabilities") -> None:
    """Raise unless ``probabilities`` is floating point (N, C) in [0, 1] with rows that sum to 1.

    A row's sum may be off by 1e-4 or, in half precision, by 8 roundings of the dtype.
    """
    check_scores(probabilities, name)
    if probabilities.shape[0] < 1 or probabilities.shape[1] < 2:
        raise ValueError(f"{name} has shape {tuple(probabilities.shape)}; (N, C) with N >= 1 and C >= 2 is needed")
    tolerance = max(1e-4, 8 * torch.finfo(probabilities.dtype).eps)
    low, high = probabilities.min().item(), probabilities.max().item()
    if low < 0 or high > 1 + tolerance:
        raise ValueError(f"{name} holds {low if low < 0 else high:.6g}; a probability lies in [0, 1]")
    errors = (probabilities.double().sum(dim=1) - 1).abs()
    if errors.max().item() > tolerance:
        row = int(errors.argmax())
        total = probabilities[row].double().sum().item()
        raise ValueError(f"{name}[{row}] sums to {total:.6g}; every row must sum to 1 (not logits)")
