"""Argument checks shared by the losses, the post-hoc adjustments and the metrics.

A check on *shapes* and *types* always runs. A check on *values* (labels in range, no NaN, cosines within
[-1, 1]) needs the tensor's content, so it runs eagerly and is skipped while `torch.compile` traces, where it
would break the graph and make the device wait for the host, and inside `torch.func` transforms, where there is
no content to look at.

Checks of options return the plain Python value: NumPy's, PyTorch's and pandas' numbers are accepted, and what is kept
is a Python number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")
IGNORED = -100  # the label that PyTorch's losses ignore
HALF = (torch.float16, torch.bfloat16)
LARGEST_COSINE = 1.01  # a product of half-precision unit vectors, cast up, may reach this
_trusted = False
Choice = TypeVar("Choice")


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
    """Whether checks on values run now: not in `trusted_values`, under `torch.compile` or in a function transform."""
    return not (_trusted or torch.compiler.is_compiling() or in_transform())


def in_transform() -> bool:
    """Whether the caller runs inside `torch.func.grad`, `vmap` or another function transform."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def upcast(scores: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return scores.float() if scores.dtype in HALF else scores


def has_float64(device: torch.device) -> bool:
    """Whether tensors on ``device`` may be float64: not on Apple's GPUs."""
    return device.type != "mps"


def short(value: object, limit: int = 120) -> str:
    """``repr(value)``, cut in the middle where it is long: a message about 8,142 classes stays a line."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 25]} ... {text[-20:]}"


def check_choice(name: str, value: object, allowed: Sequence[Choice]) -> Choice:
    """The one of ``allowed`` that equals ``value``; ValueError where there is none."""
    try:
        return allowed[list(allowed).index(value)]  # type: ignore[arg-type]
    except (ValueError, TypeError, RuntimeError):  # the last two: an array, whose comparison has no one answer
        choices = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{name} is {short(value)}; allowed are {choices}") from None


def check_flag(name: str, value: object) -> bool:
    """``value`` as True or False; TypeError unless it is a truth value of Python, NumPy or PyTorch."""
    value = _item(value)
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {short(value)}; allowed are true and false")
    return value


def check_number(
    name: str, value: float | Tensor, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> float:
    """``value`` as a Python int or float; it must be finite and in [low, high], or in (low, high] with ``open_low``.

    Accepted are numbers of Python, NumPy and pandas and arrays and tensors of one element; truth values are not.
    """
    number = _item(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name} is {short(value)} of type {type(value).__name__}; a number is needed")
    number = int(number) if isinstance(number, int) else float(number)
    inside = (number > low if open_low else number >= low) and number <= high
    try:
        finite = math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        finite = False
    if not finite or not inside:
        raise ValueError(f"{name} is {short(number)}; allowed is a finite number{_interval(low, high, open_low)}")
    return number


def _interval(low: float, high: float, open_low: bool) -> str:
    """ " in [0, 1]", " of at least 1", " above 0" and so on; "" where there is no bound."""
    if math.isfinite(low) and math.isfinite(high):
        return f" in {'(' if open_low else '['}{low:g}, {high:g}]"
    if math.isfinite(low):
        return f" above {low:g}" if open_low else f" of at least {low:g}"
    return f" of at most {high:g}" if math.isfinite(high) else ""


def check_whole(name: str, value: int | Tensor, low: int, high: int | None = None) -> int:
    """``value`` as a Python int; it must be a whole number in [low, high]; ``high=None`` is no upper bound."""
    number = _item(value)
    try:
        whole = operator.index(number)
    except TypeError:
        whole = None
    if whole is None or isinstance(number, bool):
        raise TypeError(f"{name} is {short(value)} of type {type(value).__name__}; a whole number is needed")
    if whole < low or (high is not None and whole > high):
        allowed = f"of at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} is {whole!r}; allowed is a whole number {allowed}")
    return whole


def _item(value: Any) -> Any:
    """The Python value of a NumPy or pandas scalar and of an array or tensor of one element; others as they are."""
    if isinstance(value, (int, float)) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (ValueError, RuntimeError, TypeError):  # more elements than one
        return value


def plain(name: str, value: Any) -> Any:
    """``value`` as plain Python, fit for JSON and YAML.

    Args:
        name: what messages call it.
        value: None, a truth value, a finite number, text, or lists, tuples, arrays, tensors, Series and mappings of
            such. A Series, and a mapping whose keys are numbers, is a list with labels: see `by_label`.

    Returns:
        None, bool, int, float, str, a list, or a dict with text for keys.

    Raises:
        TypeError: something else, such as a function or a set.
        ValueError: a number that is not finite, or labels that are not 0 ... C - 1.

    Example:
        >>> import numpy as np
        >>> plain("options", {"weight": np.array([1.0, 2.0]), "detach": np.bool_(True)})
        {'weight': [1.0, 2.0], 'detach': True}
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): plain(f"{name}[{key!r}]", entry) for key, entry in value.items()}
    value = by_label(name, value)
    if not isinstance(value, (list, tuple)) and hasattr(value, "tolist"):
        value = value.tolist()  # of a NumPy scalar and a 0-d tensor it is the number
    if isinstance(value, (list, tuple)):
        return [plain(f"{name}[{i}]", entry) for i, entry in enumerate(value)]
    if value is None or isinstance(value, (bool, str)):
        return value
    return check_number(name, value)


def by_label(name: str, values: Any) -> Any:
    """Values that carry labels, as a list in the order of the labels; values without labels as they are.

    A mapping and a pandas Series carry labels. They must be 0 ... C - 1, each once: the order of the entries (that of
    `value_counts`, say) is not the order of the classes.
    """
    if isinstance(values, Mapping):
        labels, entries = list(values), list(values.values())
    elif hasattr(values, "tolist") and hasattr(values, "index") and not callable(values.index):
        labels, entries = values.index.tolist(), values.tolist()
    else:
        return values
    entry_of = dict(zip(labels, entries, strict=True))
    if len(entry_of) != len(labels) or set(entry_of) != set(range(len(labels))):
        raise ValueError(
            f"{name} has the labels {short(labels)}; needed are 0 to {len(labels) - 1}, each once"
            " (or values without labels, in the order of the classes)"
        )
    return [entry_of[label] for label in range(len(labels))]


def check_counts(class_counts: Any, name: str = "class_counts") -> list[int]:
    """Class counts as C >= 2 positive Python ints, in the order of the labels.

    Args:
        class_counts: a sequence, array, tensor or Series of whole numbers, or a mapping from label to count. Labels, of
            a mapping or of a Series' index, must be a permutation of 0 ... C - 1; the counts are aligned by them.
        name: what messages call it.
    """
    given = by_label(name, class_counts)
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = [_item(count) for count in given]
    try:
        counts = np.asarray(given)
    except ValueError:  # rows of unequal lengths
        raise ValueError(f"{name} is {short(class_counts)}; at least two counts in one row are needed") from None
    if counts.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {short(class_counts)}; a sequence of whole numbers is needed")
    if counts.ndim != 1 or counts.size < 2:
        raise ValueError(f"{name} has shape {counts.shape}; at least two counts in one row are needed")
    wrong = ~(np.isfinite(counts) & (counts >= 1) & (counts == np.floor(counts)))
    if wrong.any():
        c = int(wrong.argmax())
        raise ValueError(f"{name}[{c}] is {counts[c]:g}; a count is a whole number, at least 1")
    return [int(count) for count in counts]


def as_counts(class_counts: Any, name: str = "class_counts") -> Tensor:
    """`check_counts` as a float64 tensor (C,) on the CPU."""
    return torch.tensor(check_counts(class_counts, name), dtype=torch.float64, device="cpu")


def check_scores(scores: Tensor, name: str = "logits") -> None:
    """Raise unless ``scores`` is a floating-point tensor of shape (N, C) without NaN."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"{name} is {kind}; a floating-point tensor of shape (N, C) is needed")
    if scores.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(scores.shape)}; (N, C) is needed")
    if checks_values() and bool(torch.isnan(scores).any()):
        raise ValueError(f"{name} holds NaN; every value must be a number")


def check_targets(
    targets: Tensor, num_samples: int, num_classes: int, name: str = "targets", ignored: bool = False
) -> None:
    """Raise unless ``targets`` is an int64 tensor of shape (N,) with labels in [0, C).

    With ``ignored`` the label -100 is allowed too: the losses on scores ignore it as PyTorch's do. Data sets, metrics
    and the loss of centres refuse it.
    """
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        soft = ""
        if is_soft(targets):
            soft = ": one label an image (of a mixture, take the loss of each label times its share)"
        raise TypeError(f"{name} is {kind}; an int64 tensor of shape (N,) is needed{soft}")
    if targets.shape != (num_samples,):
        raise ValueError(f"{name} has shape {tuple(targets.shape)}; ({num_samples},) is needed")
    if not checks_values() or num_samples == 0:
        return
    wrong = (targets < 0) | (targets >= num_classes)
    if ignored:
        wrong &= targets != IGNORED
    if bool(wrong.any()):
        label = int(targets[wrong][0])
        also = f", or {IGNORED} for a sample to ignore" if ignored else ""
        if label == IGNORED:
            also = "; that label is not ignored here: leave these samples out"
        raise ValueError(f"{name} holds the label {label}; labels are in [0, {num_classes}){also}")


def is_soft(targets: object) -> bool:
    """Whether targets are shares of the classes, with a column for each, and not labels."""
    return isinstance(targets, Tensor) and targets.is_floating_point() and targets.ndim > 1


def check_soft(logits: Tensor, targets: Tensor, num_classes: int | None = None, name: str = "logits") -> None:
    """Raise unless ``targets`` are shares (N, C), in [0, 1] with rows that sum to 1 within 1e-3, and fit the logits."""
    check_columns(logits, num_classes, name)
    if targets.shape != logits.shape:
        raise ValueError(f"targets has shape {tuple(targets.shape)}; {tuple(logits.shape)} is needed")
    if not checks_values() or targets.numel() == 0:
        return
    sums = upcast(targets).sum(1)
    if not bool((targets >= 0).all()) or not bool(((sums - 1).abs() <= 1e-3).all()):
        raise ValueError("targets are no shares; each row must be at least 0 and sum to 1")


def check_columns(logits: Tensor, num_classes: int | None, name: str) -> None:
    """Raise unless ``logits`` are scores (N, C) of at least two classes, and of ``num_classes``, if given."""
    check_scores(logits, name)
    if logits.shape[1] < 2:
        raise ValueError(f"{name} has shape {tuple(logits.shape)}; at least two classes (columns) are needed")
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(f"{name} has {logits.shape[1]} columns; {num_classes} classes were declared")


def check_logits(logits: Tensor, targets: Tensor, num_classes: int | None = None, name: str = "logits") -> None:
    """Raise unless ``logits`` (N, C) and ``targets`` (N,) fit each other and ``num_classes``, if given.

    Labels are in [0, C), or -100.
    """
    check_columns(logits, num_classes, name)
    check_targets(targets, logits.shape[0], logits.shape[1], ignored=True)


def check_cosines(cosines: Tensor, targets: Tensor, num_classes: int | None = None, name: str = "cosines") -> None:
    """`check_logits`, and every value in [-1.01, 1.01]; the losses clamp them to [-1, 1]."""
    check_logits(cosines, targets, num_classes, name)
    if not checks_values() or cosines.numel() == 0:
        return
    largest = cosines.detach().abs().max().item()
    if largest > LARGEST_COSINE:
        raise ValueError(
            f"{name} reach {largest:.6g}; a cosine lies in [-1, 1]. Either these are logits (use a cosine classifier),"
            " or products in half precision that are further off than rounding (normalise and multiply in float32)"
        )


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
    sums = upcast(probabilities).sum(dim=1)
    errors = (sums - 1).abs()
    if errors.max().item() > tolerance:
        row = int(errors.argmax())
        raise ValueError(f"{name}[{row}] sums to {sums[row].item():.6g}; every row must sum to 1 (not logits)")
